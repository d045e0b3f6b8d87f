"""python -m bench.search replay --table FILE | asks | kills [--out FILE]: how well and how safely a search works.

`replay` has searches choose from the networks of experiment=tabular, in a file of python -m analysis.tabular: nothing
is trained, and what each would have cost is counted in epochs x MACs. `asks` times proposals; `kills` kills a real
search ten times.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from hydra import compose
from hydra.core.global_hydra import GlobalHydra

from bench import kills, replay, tabular
from bench.measure import Row, markdown
from sweep import origin
from sweep.compose import presets
from sweep.points import Planner
from sweep.search.space import Space
from sweep.search.spec import AtMost


def space_of(experiment: str, at_most: AtMost | None = None, overrides: Sequence[str] = ()) -> Space:
    """The space of an experiment that searches; at_most: other bounds than the experiment's."""
    base = [f"experiment={experiment}", *overrides]
    with presets():
        cfg = compose("config", base, return_hydra_config=True)
        planner = Planner(GlobalHydra.instance().config_loader(), cfg)
        grid = {str(key): str(text).split(",") for key, text in cfg.hydra.sweeper.params.items()}
        return Space(planner, base, grid, at_most or AtMost(**cfg.search.at_most))


def drawn_table(path: Path) -> replay.Table:
    """The table of a file. Raises ValueError unless it holds the networks that were drawn, and no others."""
    table = replay.Table(space_of(tabular.DRAWN), tabular.load(path))
    with presets():
        listed = compose("config", [f"experiment={tabular.DRAWN}"]).search.first
    drawn = [{key: str(value) for key, value in entry.items()} for entry in listed]
    found = sum(table.space.overrides(point) in drawn for point in table.points)
    if not found == len(drawn) == len(table.points):
        rule = f"the {len(drawn)} networks of experiment={tabular.DRAWN}"
        raise ValueError(f"{path} must hold {rule}, got {found} of them and {len(table.points) - found} others")
    return table


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.search", description="How well and how safely it searches.")
    parser.add_argument("what", choices=["replay", "asks", "kills"])
    parser.add_argument("--table", type=Path, help="for replay: a file that python -m analysis.tabular wrote")
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--out", type=Path, help="where to write the rows (default: report/bench_search_WHAT.md)")
    chosen = parser.parse_args()
    if chosen.what == "replay" and chosen.table is None:
        parser.error("replay needs --table FILE")
    out = chosen.out or Path("report") / f"bench_search_{chosen.what}.md"
    out.parent.mkdir(parents=True, exist_ok=True)
    head = f"python -m bench.search {chosen.what}: {origin.host()}, commit {origin.git_state()[0]}"
    rows = []
    for row in _rows(chosen):
        rows.append(row)
        out.write_text(f"<!-- {head} -->\n{markdown(rows)}")
        print(row, flush=True)


def _rows(chosen: argparse.Namespace) -> Iterator[Row]:
    match chosen.what:
        case "replay":
            yield from replay.rows(drawn_table(chosen.table))
        case "asks":
            # Of the second space, most points share their networks.
            yield from replay.ask_rows([space_of("search"), space_of("search", AtMost(size_bytes=12e3))])
        case "kills":
            with tempfile.TemporaryDirectory() as folder:
                yield from kills.rows(Path(folder), chosen.data_dir)
        case _:
            raise AssertionError(chosen.what)


if __name__ == "__main__":
    main()
