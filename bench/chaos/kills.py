"""kill -9 of a worker, the launcher, the process that workers are forked from, or all of them, at random moments."""

import contextlib
import os
import signal
import time
from itertools import islice
from pathlib import Path

from bench.chaos.commands import Command, module, parent, run
from bench.chaos.results import records, untidy
from bench.chaos.scene import SEARCH, SWEEP, Scene, Subject, Trials, attempt, subject, until_begun

VICTIMS = ("worker", "launcher", "forkserver", "all")


def trials(scene: Scene, wanted: int) -> Trials:
    """Kills at moments of their own, three in four of them once a run has begun; about one in four hits a search."""
    return islice(_trials(scene), wanted)


def _trials(scene: Scene) -> Trials:
    sweep = subject(scene, "sweep", lambda results: ("sweep", *SWEEP, *scene.places(results)))
    search = subject(scene, "search", lambda results: ("sweep", *SEARCH, *scene.places(results)))
    spans = {each.name: each.seconds(scene.fresh()) for each in (sweep, search)}
    while True:
        each = scene.chance.choice((sweep, sweep, sweep, search))
        victim = scene.chance.choice(VICTIMS)
        begun = scene.chance.random() < 0.75
        pause = scene.chance.uniform(0, spans[each.name][begun])

        def trial(
            each: Subject = each, victim: str = victim, begun: bool = begun, pause: float = pause
        ) -> list[str] | None:
            return _trial(each, victim, begun, pause, scene.fresh())

        yield from attempt(
            f"{each.name}, {victim} {pause:.2f} s after {'the first run' if begun else 'it'} began", trial
        )


def _trial(each: Subject, victim: str, begun: bool, pause: float, results: Path) -> list[str] | None:
    """One kill. Where there is no such process yet, the next one dies as soon as it is there.

    A command that has ended before is no trial.
    """
    command = Command(module(*each.arguments(results)))
    if begun:
        until_begun(command, results)
    time.sleep(pause)
    while not (killed := _kill(command, victim)) and not command.poll():
        time.sleep(0.005)
    ended = command.finish()
    of_launcher = victim in ("launcher", "all")
    if not killed or (of_launcher and ended.code == 0):  # it had begun to end
        return None
    # The pool starts a killed run again; without the process that workers are forked from it cannot.
    codes = (-signal.SIGKILL,) if of_launcher else {"worker": (0,), "forkserver": (0, 1)}[victim]
    wrong = untidy(ended, codes) + each.again(results)
    return wrong + _changed_by_another_launch(each, results)


def _kill(command: Command, victim: str) -> bool:
    """Whether there was such a process."""
    with contextlib.suppress(ProcessLookupError, IndexError):  # right after the fork there is no group yet
        if command.poll():
            return False
        if victim == "all":
            os.killpg(command.process, signal.SIGKILL)
        else:
            os.kill(command.process if victim == "launcher" else _child(command, victim), signal.SIGKILL)
        return True
    return False


def _child(command: Command, victim: str) -> int:
    """The youngest worker, or the process that workers are forked from. Raises IndexError if there is none."""
    others = {number: parent(number) for number in command.alive() if number != command.process}
    servers = [number for number in others if b"forkserver" in _command_line(number)]
    first = [number for number in servers if others[number] == command.process]
    found = first if victim == "forkserver" else [number for number in servers if others[number] in first]
    return sorted(found)[-1]


def _command_line(number: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{number}/cmdline").read_bytes()
    return b""


def _changed_by_another_launch(each: Subject, results: Path) -> list[str]:
    """Nothing may be trained again: the records keep all their bytes, the times included."""
    before = records(results)
    wrong = untidy(run(*each.arguments(results)), (0,))
    now = records(results)
    return wrong + [f"{key} was run again" for key, content in before.items() if now.get(key) != content]
