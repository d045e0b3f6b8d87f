"""What the tests of engines share: programs of workers, facts that two engines agree on, and ports that nobody uses."""

import contextlib
import dataclasses
import hashlib
import re
import socket
from pathlib import Path

from sweep.store import Store

# What a worker's process does, in the tests of remote workers.
PROGRAM = """
import pickle, sys
from sweep.engines.agent import serve
serve(pickle.load(sys.stdin.buffer))
"""
# The same, for a worker for which no lock is held, as on mounts where flock stays on the host.
BLIND = f"import fire.files; fire.files.holder = lambda path: None\n{PROGRAM}"
# The same, but the time of a worker that has an hour is over once it has a run, however slow the machine is.
EXPIRING = f"""
from sweep.engines.agent import _Agent
follow = _Agent._follow
def shortened(self, *given):
    self._leave_at -= 3600
    return follow(self, *given)
_Agent._follow = shortened
{PROGRAM}"""
HIDES = 'mount -t tmpfs none {folder} && exec "$@"'  # from the program, in a mount namespace of its own
# What differs between two trainings of the same run: when and how fast it ran.
OF_THE_TIME = {"start", "end", "train_seconds", "images_per_second", "latency_seconds", "git_commit", "git_dirty"}


def facts(results: Path) -> dict[str, dict[str, object]]:
    """By key: the record without times, the curve without seconds, and a digest of the weights."""
    found = {}
    for record in Store(results).records():
        folder = results / record.key
        fields = {name: value for name, value in vars(record).items() if name not in OF_THE_TIME}
        curve = [dataclasses.replace(row, train_seconds=0, seconds=0) for row in Store(results).curve(record.key)]
        weights = hashlib.sha256((folder / "weights.safetensors").read_bytes()).hexdigest()
        found[record.key] = {**fields, "curve": curve, "weights": weights, "files": files(folder)}
    return found


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def trained_twice(results: Path) -> list[tuple[str, int]]:
    """Epochs that were trained more than once, of runs whose logs say so; a killed run's last one may be."""
    twice = []
    for record in Store(results).records():
        epochs = [int(epoch) for epoch in re.findall(r" epoch (\d+): ", (results / record.key / "log").read_text())]
        twice += [(record.key, epoch) for epoch in sorted(set(epochs)) if epochs.count(epoch) > 1]
    return twice


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("", 0))
        return [each.getsockname()[1] for each in sockets]
