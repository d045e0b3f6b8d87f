"""Where a result comes from: commit, machine, time. Standard library only."""

import datetime
import functools
import os
import subprocess
from pathlib import Path

from fire.machine import hardware

CHECKOUT = Path(__file__).parents[1]


@functools.cache
def git_state() -> tuple[str | None, bool | None]:
    """The commit of this program's checkout, and whether tracked files differ from it; None where it is no checkout."""
    top = _git("rev-parse", "--show-toplevel")
    if top is None or Path(top).resolve() != CHECKOUT.resolve():  # unpacked inside of another repository
        return None, None
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return _git("rev-parse", "HEAD"), None if changes is None else bool(changes)


def _git(*arguments: str) -> str | None:
    # Variables such as GIT_DIR, which hooks set, would name another repository.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(CHECKOUT), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def host() -> str:
    """The processor and the number of cores to use, which say more of a result than the machine's name does."""
    return f"{hardware.processor()}, {hardware.cores()} cores"


def now() -> str:
    """The time, ISO 8601 in UTC, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
