"""python -m analysis RESULTS --out REPORT: every figure and table again, from the store alone.

python -m analysis map RESULTS: the expected accuracy of networks that were not trained, see analysis/maps.py.
"""

import sys
from pathlib import Path

from analysis import axes
from fire.machine.estimate import macs_per_cycle
from sweep.commands import exits

MAPS = "python -m analysis map RESULTS makes a map of the whole space: python -m analysis map --help."


def main() -> None:
    """Run the command."""
    exits.main("analysis", lambda: write(sys.argv[1:]))


def write(arguments: list[str]) -> None:
    """Write the report, or a map. Raises InputError or OSError where results or report cannot be used."""
    if arguments[:1] == ["map"]:
        from analysis import maps  # imports pandas and matplotlib

        maps.write(arguments[1:])
        return
    parser = exits.Parser(
        prog="python -m analysis", description="Figures, tables and a page from results.", epilog=MAPS
    )
    parser.add_argument("results", type=Path, help="a directory of results, such as results or docs/results")
    parser.add_argument("--out", type=Path, help="where to write (default: report)")
    parser.add_argument("--tensorboard", type=Path, metavar="DIR", help="write event files there; a report with --out")
    names = ", ".join(axes.NAMES)
    parser.add_argument("--x", metavar="COST", help=f"the horizontal axis of all figures over a cost: {names}")
    parser.add_argument("--core", help=f"for --x {axes.ESTIMATED}: {', '.join(macs_per_cycle())}")
    parser.add_argument("--clock", help=f"for --x {axes.ESTIMATED}, such as 80MHz")
    given = parser.parse_args(arguments)
    axis = axes.chosen(given.x, given.core, given.clock)

    import matplotlib as mpl  # these three take seconds, which --help need not wait for

    mpl.use("agg")
    from analysis import costs, event_files, report, results

    found = results.read(given.results)
    for damage in found.unreadable:
        print(f"analysis: {damage}", file=sys.stderr)
    if given.tensorboard is not None:
        written = event_files.write(found, given.tensorboard)
        print(f"event files of {written} runs: tensorboard --logdir {given.tensorboard}")
        if given.out is None:
            return
    costs.check(given.x, axis, found.runs)
    out = given.out or Path("report")
    page = report.write(found, out, axis)
    print(f"report: {page}; figures: {out / 'figures'}; tables: {out / 'tables'}")


if __name__ == "__main__":
    main()
