"""A process dies before or after any call that writes; or from any of them on the disk is full, read-only, or gone.

Other calls are drawn in place of those that no fault struck: a command of several processes may make fewer than before.
"""

import shutil
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from bench.chaos.commands import Ended
from bench.chaos.results import untidy
from bench.chaos.scene import Scene, Subject, Trials, attempt, short, subjects

OF_A_SEARCH = 100  # its calls that are struck: it makes as many as all the others together, many times the same ones


def kills(scene: Scene, wanted: int) -> Trials:
    """Killed before and after each call of each command."""
    return islice(_kills(scene), wanted)


def _kills(scene: Scene) -> Trials:
    for each, number, when in _shuffled(scene, subjects(scene), ("before", "after")):

        def trial(each: Subject = each, number: int = number, when: str = when) -> list[str] | None:
            results = scene.fresh()
            ended = each.strike(results, when, number)
            if not ended.struck:
                return None
            codes = (0, -9) if each.name == "search" else (-9,)  # a search goes on where a worker dies
            return untidy(ended, codes) + each.again(results)

        yield from attempt(_what(each, number, when), trial)


def disks(scene: Scene, wanted: int) -> Trials:
    """Full or read-only from a call on, or results or data gone at it."""
    return islice(_disks(scene), wanted)


def _disks(scene: Scene) -> Trials:
    for each, number, fault in _shuffled(scene, subjects(scene), ("full", "read-only", "results gone", "data gone")):
        if fault == "results gone" and each.calls[number] == "mkdir results":  # as if they had not been there
            continue
        if fault == "data gone" and each.name != "run on images":  # scikit-learn has the digits in itself
            continue

        def trial(each: Subject = each, number: int = number, fault: str = fault) -> list[str] | None:
            results = scene.fresh()
            gone = {"results gone": results, "data gone": results.with_name("images")}.get(fault)
            ended = each.strike(results, fault if gone is None else "vanish", number, gone)
            if not ended.struck:
                return None
            found = results.with_name("results.gone") if gone == results else results
            wrong = _refused(each, ended, results, found)
            return wrong + ([] if gone is None else returned(gone)) + each.again(results)

        yield from attempt(_what(each, number, fault), trial)


def _shuffled(scene: Scene, made: Sequence[Subject], faults: Sequence[str]) -> list[tuple[Subject, int, str]]:
    """Each of the faults at each of the calls, at some of a search's; in random order."""
    chosen = [
        (each, number)
        for each in made
        for number in scene.sample(len(each.calls), OF_A_SEARCH if each.name == "search" else len(each.calls))
    ]
    every = [(each, number, fault) for each, number in chosen for fault in faults]
    return scene.chance.sample(every, len(every))


def _what(each: Subject, number: int, fault: str) -> str:
    return f"{each.name}, call {number} ({each.calls[number]}), {fault}"


def _refused(each: Subject, ended: Ended, results: Path, found: Path) -> list[str]:
    """What is wrong with how a command ends that cannot write or read: one line, 2 before the first run and 1 after.

    The last calls can fail without harm, such as a lock's name; but then nothing may be missing in the results found.
    """
    if ended.code == 0:
        return untidy(ended, (0,)) + each.compare(found)
    return untidy(ended, (1,) if _begun(each, short(ended.calls, results)) else (2,))


def _begun(each: Subject, calls: Sequence[str]) -> bool:
    """Whether a run has begun: it looks at the disk itself, after the command. A search has with its manifest."""
    if each.name == "search":
        return any(call.startswith("rename sweeps/") for call in calls)
    return calls.count("open results") > 1


def returned(gone: Path) -> list[str]:
    """Put back the folder that vanished. Returns what is wrong if the command made files in its place."""
    away = gone.with_name(f"{gone.name}.gone")
    if not away.exists():
        return []
    anew = [str(path.relative_to(gone)) for path in sorted(gone.rglob("*")) if path.is_file()]
    shutil.rmtree(gone, ignore_errors=True)
    away.rename(gone)
    return [f"{gone.name} made anew, with {', '.join(anew)}"] if anew else []
