"""python -m analysis RESULTS --out REPORT: every figure and table again, from the store alone."""

import argparse
import sys
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")

from analysis import report, results
from fire.errors import InputError


def main() -> int:
    """Write the report; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m analysis", description="Figures, tables and a page from results.")
    parser.add_argument("results", type=Path, help="a directory of results, such as results or docs/results")
    parser.add_argument("--out", type=Path, default=Path("report"), help="where to write (default: report)")
    arguments = parser.parse_args()
    try:
        found = results.read(arguments.results)
        for damage in found.unreadable:
            print(f"analysis: {damage}", file=sys.stderr)
        page = report.write(found, arguments.out)
    except InputError as error:
        print(f"analysis: {error}", file=sys.stderr)
        return 2
    print(f"report: {page}; figures: {arguments.out / 'figures'}; tables: {arguments.out / 'tables'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
