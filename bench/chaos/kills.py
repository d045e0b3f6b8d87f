"""kill -9 of a worker, the launcher, the process that workers are forked from, or all of them, at random moments."""

import contextlib
import os
import signal
import time
from pathlib import Path

from bench.chaos.commands import Command, module, parent, run
from bench.chaos.results import trained_twice, untidy
from bench.chaos.scene import SEARCH, SWEEP, Scene, Trial, Trials, subject

VICTIMS = ("worker", "launcher", "forkserver", "all")


def trials(scene: Scene, wanted: int) -> Trials:
    """Each kill at a moment of its own between the launch and the usual end; one in four hits a search.

    Where there is no such process yet, the next one dies as soon as it is there. A command that has ended before is no
    trial.
    """
    sweep = subject(scene, "sweep", lambda results: ("sweep", *SWEEP, *scene.places(results)))
    search = subject(scene, "search", lambda results: ("sweep", *SEARCH, *scene.places(results)))
    seconds = {}
    for each in (sweep, search):
        begun = time.monotonic()
        each.again(scene.fresh())
        seconds[each.name] = time.monotonic() - begun
    number = 0
    while number < wanted:
        each = search if number % 4 == 3 else sweep
        victim = scene.chance.choice(VICTIMS)
        moment = scene.chance.uniform(0, seconds[each.name])
        results = scene.fresh()
        command = Command(module(*each.arguments(results)))
        time.sleep(moment)
        while not (killed := _kill(command, victim)) and not command.poll():
            time.sleep(0.005)
        ended = command.finish()
        if not killed:
            continue
        number += 1
        # The pool starts a killed run again; without the process that workers are forked from it cannot.
        codes = {"worker": (0,), "forkserver": (0, 1)}.get(victim, (-signal.SIGKILL,))
        wrong = untidy(ended, codes)
        wrong += [f"orphans: {len(left_over)}" for left_over in [command.orphans()] if left_over]
        wrong += each.again(results)
        wrong += _changed_by_another_launch(each.arguments(results), results)
        if twice := trained_twice(results):
            wrong.append(f"{twice} epochs trained twice")
        yield Trial(what=f"{each.name}, {victim} after {moment:.2f} s", wrong=wrong)


def _kill(command: Command, victim: str) -> bool:
    """Whether there was such a process."""
    if command.poll():
        return False
    if victim == "all":
        os.killpg(command.process, signal.SIGKILL)
        return True
    if victim == "launcher":
        os.kill(command.process, signal.SIGKILL)
        return True
    others = {number: parent(number) for number in command.alive() if number != command.process}
    servers = [number for number in others if b"forkserver" in _command_line(number)]
    first = [number for number in servers if others[number] == command.process]
    found = first if victim == "forkserver" else [number for number in servers if others[number] in first]
    with contextlib.suppress(ProcessLookupError, IndexError):
        os.kill(sorted(found)[-1], signal.SIGKILL)
        return True
    return False


def _command_line(number: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{number}/cmdline").read_bytes()
    return b""


def _changed_by_another_launch(arguments: tuple[str, ...], results: Path) -> list[str]:
    """Nothing may be trained again: the records keep all their bytes, the times included."""
    before = {path: path.read_bytes() for path in results.glob("*/record.json")}
    wrong = untidy(run(*arguments), (0,))
    wrong += [f"{path.parent.name} was run again" for path, content in before.items() if path.read_bytes() != content]
    return wrong
