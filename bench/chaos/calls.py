"""A process dies before or after any call that writes; or from any of them on the disk is full, read-only, or gone.

Other calls are drawn in place of those that no fault struck: a command of several processes may make fewer than before.
"""

import re
import shutil
from itertools import islice
from pathlib import Path

from bench.chaos.commands import Ended, Faults
from bench.chaos.results import untidy
from bench.chaos.scene import Scene, Subject, Trial, Trials, subjects

IN_A_RUN = re.compile(r"^\w+ [0-9a-f]{16}/")  # a call on a file of a run


def kills(scene: Scene, wanted: int) -> Trials:
    """Killed before and after each call of each command."""
    return islice(_kills(scene), wanted)


def _kills(scene: Scene) -> Trials:
    made = subjects(scene)
    every = [(each, number, when) for each in made for number in range(len(each.calls)) for when in ("before", "after")]
    for each, number, when in scene.chance.sample(every, len(every)):
        results = scene.fresh()
        ended = each.strike(results, Faults(folder=results, fault=when, at=number))
        if not ended.struck:
            continue
        wrong = untidy(ended, (0, -9) if each.name == "search" else (-9,))  # a search goes on where a worker dies
        yield _trial(each, number, when, wrong + each.again(results))


def disks(scene: Scene, wanted: int) -> Trials:
    """Full or read-only from a call on, or results or data gone at it."""
    return islice(_disks(scene), wanted)


def _disks(scene: Scene) -> Trials:
    faults = ("full", "read-only", "results gone", "data gone")
    every = [(each, number, fault) for each in subjects(scene) for number in range(len(each.calls)) for fault in faults]
    for each, number, fault in scene.chance.sample(every, len(every)):
        results = scene.fresh()
        gone = {"results gone": results, "data gone": scene.data}.get(fault)
        name = fault if gone is None else "vanish"
        ended = each.strike(results, Faults(folder=results, fault=name, at=number, gone=gone))
        wrong = _refused(each, number, fault, ended, results) if ended.struck else []
        if gone is not None:
            _return(gone)
        if ended.struck:
            yield _trial(each, number, fault, wrong + each.again(results))


def _trial(each: Subject, number: int, fault: str, wrong: list[str]) -> Trial:
    return Trial(what=f"{each.name}, call {number} ({each.calls[number]}), {fault}", wrong=wrong)


def _refused(each: Subject, number: int, fault: str, ended: Ended, results: Path) -> list[str]:
    """What is wrong with how a command ends that cannot write: one line, 2 before the first run and 1 after."""
    begun = any(IN_A_RUN.match(call) for call in each.calls[:number])
    if ended.code == 0:  # the last calls can fail without harm, such as a lock's name; but nothing may be missing
        found = results.with_name("results.gone") if fault == "results gone" else results
        return untidy(ended, (0,)) + each.compare(found)
    return untidy(ended, (1,) if begun else (1, 2))


def _return(gone: Path) -> None:
    """Put back the folder that vanished, unless the command made it anew: then what it left there counts."""
    away = gone.with_name(f"{gone.name}.gone")
    if gone.exists():
        shutil.rmtree(away, ignore_errors=True)
    elif away.exists():
        away.rename(gone)
