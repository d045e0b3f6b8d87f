"""python -m bench.chaos.reading RESULTS: read results as a report does, and name the files that cannot be read."""

import sys

from analysis.results import read
from sweep.commands.exits import main

if __name__ == "__main__":
    main("reading", lambda: print(*read(sys.argv[1]).unreadable, sep="\n"))
