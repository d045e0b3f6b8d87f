"""python -m analysis map RESULTS [SETTING=VALUE ...]: the expected accuracy of every network of a space.

The map is fitted to the finished runs by sweep/map, and written to RESULTS/maps, where reports find it.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from analysis import export, style, tables
from analysis.figures import map as figure_of
from analysis.results import Results, read
from analysis.section import Section, Shown
from sweep.commands import exits
from sweep.map import stored
from sweep.map.making import make
from sweep.map.stored import Map, Network
from sweep.search.budget import MOST, add_bounds, bounds_of
from sweep.store import Store


def write(arguments: list[str]) -> None:
    """Make the map, draw it, print its lists. Raises InputError where there can be no map of the runs."""
    given = _parser().parse_intermixed_args(arguments)
    found = read(given.results)
    for damage in found.unreadable:  # before the map is made: there may be none without these runs
        print(f"analysis: {damage}", file=sys.stderr)
    made = make(Store(given.results).records(), given.words, bounds_of(given))

    with style.style():
        figure = figure_of.figure(made, found.runs, given.x, given.y)  # refuses x and y before anything is written
        path = stored.write(given.results, made)
        for _, title, networks in _lists(made):
            print(f"{title}:\n{export.readable(networks).to_string(index=False)}\n")
        print(*notes(made), sep="\n")
        written = f"map: {path}"
        if figure is not None:
            name = "-".join(filter(None, ("map", made.name, given.x, given.y)))
            style.save(figure, given.out / "figures", name)
            written += f"; figure: {given.out / 'figures' / name}.png"
    print(written)


def _parser() -> exits.Parser:
    parser = exits.Parser(
        prog="python -m analysis map",
        description="The expected validation accuracy of every network that the finished runs of one data set and one "
        "recipe span, with a 90 % band: heat maps, the ten networks expected best within bounds, and the runs that "
        "would narrow the band most.",
        epilog=MOST,
    )
    parser.add_argument("results", type=Path, help="a directory of results")
    parser.add_argument("words", nargs="*", metavar="SETTING=VALUE", help="choose runs: data=digits train.epochs=3")
    parser.add_argument("--x", help="a metaparameter that the runs vary (default: sr)")
    parser.add_argument("--y", help="another one (default: pct_3x3)")
    parser.add_argument("--out", type=Path, default=Path("report"), help="where to draw (default: report)")
    add_bounds(parser)
    return parser


def of(results: Results) -> Iterator[Section]:
    """A section of the report for each map of the results."""
    for made in results.maps:
        figure = figure_of.figure(made, results.runs)
        name = f"map-{made.name}"
        lists = _lists(made)
        yield Section(
            title=f"Map of the space: {made.name}",
            figures=() if figure is None else (Shown(name=name, text="Expected accuracy", figure=figure),),
            tables=tuple((f"{name}{ending}", networks) for ending, _, networks in lists),
            notes=(
                *([f"Tables, in order: {'; '.join(title for _, title, _ in lists)}."] if lists else []),
                *notes(made),
            ),
        )


def _lists(made: Map) -> list[tuple[str, str, pd.DataFrame]]:
    """The networks expected best, and those to train next: the end of a file's name, a title and the table."""
    bounds = ", ".join(f"{name}<={bound:.15g}" for name, bound in made.at_most.items())
    lists = [
        ("", f"Expected best{f' with {bounds}' if bounds else ''}", made.best),
        ("-next", "Their runs would narrow the band most", made.next),
    ]
    return [(ending, title, table(networks)) for ending, title, networks in lists if networks]


def table(networks: Sequence[Network]) -> pd.DataFrame:
    """A row for each network: its settings, its expected accuracy with the band, its costs, whether it was trained."""
    return pd.DataFrame(
        [
            {
                **network.settings,
                "validation_top1": network.top1,
                "validation_top1_low": network.low,
                "validation_top1_high": network.high,
                **{name: getattr(network, name) for name in ("parameters", "macs", "peak_ram_bytes", "flash_bytes")},
                "trained": "yes" if network.trained else "no",
                "key": network.key,
            }
            for network in networks
        ]
    )


def notes(made: Map) -> list[str]:
    """What the map was fitted to, how far it can be trusted, and what it says nothing about."""
    fixed = " ".join(f"{name}={tables.plain(value)}" for name, value in made.fixed.items())
    if made.coverage is None:
        checked = "Too few networks to hold some out: the band was not checked."
    else:
        tau = "" if made.tau is None else f" Kendall's tau between their order and the expected one is {made.tau:.2f}."
        checked = f"Of {made.held_out} networks held out in turn, {100 * made.coverage:.0f} % lay within the band.{tau}"
    return [
        f"Expected validation accuracies with a 90 % band, which is {100 * made.width:.2f} points wide on average over "
        f"{made.points:,} points; fitted to {made.fitted}. {checked}",
        *([f"Never varied, so the map says nothing about other values: {fixed}."] if fixed else []),
    ]
