"""python -m analysis RESULTS --out REPORT: every figure and table again, from the store alone."""

import sys
from pathlib import Path

from analysis import axes
from fire.machine.estimate import macs_per_cycle
from sweep.commands import exits


def main() -> None:
    """Run the command."""
    exits.main("analysis", lambda: write(sys.argv[1:]))


def write(arguments: list[str]) -> None:
    """Write the report. Raises InputError or OSError where results or report cannot be used."""
    parser = exits.Parser(prog="python -m analysis", description="Figures, tables and a page from results.")
    parser.add_argument("results", type=Path, help="a directory of results, such as results or docs/results")
    parser.add_argument("--out", type=Path, default=Path("report"), help="where to write (default: report)")
    names = ", ".join(axes.NAMES)
    parser.add_argument("--x", metavar="COST", help=f"the horizontal axis of all figures over a cost: {names}")
    parser.add_argument("--core", help=f"for --x {axes.ESTIMATED}: {', '.join(macs_per_cycle())}")
    parser.add_argument("--clock", help=f"for --x {axes.ESTIMATED}, such as 80MHz")
    given = parser.parse_args(arguments)
    axis = axes.chosen(given.x, given.core, given.clock)

    import matplotlib as mpl  # these three take seconds, which --help need not wait for

    mpl.use("agg")
    from analysis import costs, report, results

    found = results.read(given.results)
    for damage in found.unreadable:
        print(f"analysis: {damage}", file=sys.stderr)
    costs.check(given.x, axis, found.runs)
    page = report.write(found, given.out, axis)
    print(f"report: {page}; figures: {given.out / 'figures'}; tables: {given.out / 'tables'}")


if __name__ == "__main__":
    main()
