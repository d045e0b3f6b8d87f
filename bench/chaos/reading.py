"""python -m bench.chaos.reading RESULTS [page]: read results as a report does, and name the files that cannot be read.

With "page" as the page does: the runs under way, each with its epochs.
"""

import sys

from analysis.results import read
from sweep.commands.exits import main
from sweep.page.snapshot import Snapshot


def _lines(results: str, *page: str) -> list[str]:
    if not page:
        return [str(damage) for damage in read(results).unreadable]
    snapshot = Snapshot(results)
    snapshot.refresh()
    return [f"{run.key}: epoch {run.epoch} of {run.epochs}" for run in snapshot.news().running]


if __name__ == "__main__":
    main("reading", lambda: print(*_lines(*sys.argv[1:]), sep="\n"))
