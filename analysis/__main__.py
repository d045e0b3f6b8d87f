"""python -m analysis RESULTS --out REPORT: every figure and table again, from the store alone."""

import sys
from pathlib import Path

from sweep.commands import exits


def main() -> None:
    """Run the command."""
    exits.main("analysis", lambda: write(sys.argv[1:]))


def write(arguments: list[str]) -> None:
    """Write the report. Raises InputError or OSError where results or report cannot be used."""
    parser = exits.Parser(prog="python -m analysis", description="Figures, tables and a page from results.")
    parser.add_argument("results", type=Path, help="a directory of results, such as results or docs/results")
    parser.add_argument("--out", type=Path, default=Path("report"), help="where to write (default: report)")
    given = parser.parse_args(arguments)

    import matplotlib as mpl  # these three take seconds, which --help need not wait for

    mpl.use("agg")
    from analysis import report, results

    found = results.read(given.results)
    for damage in found.unreadable:
        print(f"analysis: {damage}", file=sys.stderr)
    page = report.write(found, given.out)
    print(f"report: {page}; figures: {given.out / 'figures'}; tables: {given.out / 'tables'}")


if __name__ == "__main__":
    main()
