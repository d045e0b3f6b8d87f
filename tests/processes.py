"""The processes that a test has started, in Linux's /proc, and what they have open."""

import os
import time
from collections.abc import Callable
from pathlib import Path


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> bool:
    """Whether the condition came to hold in time."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def session(leader: int) -> set[int]:
    """The living processes that the leader and its descendants are."""
    living = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, its_session = stat.read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_session) == leader and state != "Z":
            living.add(int(stat.parent.name))
    return living


def opened(pid: int) -> set[Path]:
    """The files that the process has open; it may close some while this looks. None of a process that hides them."""
    try:
        return {Path(os.path.realpath(link)) for link in Path(f"/proc/{pid}/fd").glob("*")}
    except PermissionError:  # such as a container's first process, which may share the session of the tests
        return set()


def holder(path: Path, among: set[int]) -> int:
    """The process that has the file open."""
    (found,) = (pid for pid in among if path.resolve() in opened(pid))
    return found
