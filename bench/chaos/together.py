"""Several launchers of one sweep, many writers of one record, and a copy made while runs are under way."""

import shutil
import time
from pathlib import Path

from bench.chaos.commands import Command, module, run
from bench.chaos.results import differences, left, trained_twice, untidy
from bench.chaos.scene import SEARCH, SWEEP, Scene, Subject, Trial, Trials, subject
from sweep.commands.exits import ELSEWHERE
from sweep.record import Record
from sweep.store import Damage, Store

WRITERS, TIMES = 16, 50


def launchers(scene: Scene, wanted: int) -> Trials:
    """Two or three launchers of one sweep or one search, begun within the time that one takes."""
    made = [
        subject(scene, "sweep", lambda results: ("sweep", *SWEEP, *scene.places(results))),
        subject(scene, "search", lambda results: ("sweep", *SEARCH, *scene.places(results))),
    ]
    for number in range(wanted):
        each, count = made[number % 4 == 3], scene.chance.choice((2, 3))
        results = scene.fresh()
        pauses = [scene.chance.uniform(0, 2) for _ in range(count)]
        commands = []
        for pause in pauses:
            commands.append(Command(module(*each.arguments(results))))
            time.sleep(pause)
        wrong = []
        for command in commands:
            wrong += untidy(command.finish(), (0, ELSEWHERE))
        wrong += each.again(results)
        if twice := trained_twice(results):
            wrong.append(f"{twice} epochs trained twice")
        yield Trial(what=f"{count} launchers of a {each.name}", wrong=wrong)


def writers(scene: Scene, wanted: int) -> Trials:
    """WRITERS processes write one record and one manifest, TIMES times each, while others read them."""
    results = scene.fresh()
    run("sweep", *SWEEP, *scene.places(results))
    store = Store(results)
    record = next(store.records())
    (sweep,) = store.sweeps()

    def write() -> None:
        for _ in range(TIMES):
            store.write(record)
            store.write_sweep(sweep)

    for _ in range(wanted):
        commands = [Command(write) for _ in range(WRITERS)]
        found: list[Damage] = []
        read: list[Record | None] = []
        while not all(command.poll() for command in commands):
            read.append(store.read(record.key, found.append))
            list(store.sweeps(found.append))
        wrong = [str(damage) for damage in found] + [f"read {len(read)} times"] * (len(read) < WRITERS)
        wrong += ["another record was read"] * any(each != record for each in read)
        for command in commands:
            wrong += untidy(command.finish(), (0,))
        wrong += [f"left {path.name}" for path in results.rglob(".*.tmp")]
        yield Trial(what=f"{WRITERS} writers", wrong=wrong)


def copies(scene: Scene, wanted: int) -> Trials:
    """A results directory is copied while a sweep writes it, and merged with what another sweep left."""
    whole = subject(scene, "sweep", lambda results: ("sweep", *SWEEP, *scene.places(results)))
    for _ in range(wanted):
        there, here = scene.fresh(), scene.fresh()
        part = [argument for argument in whole.arguments(here) if not argument.startswith("arch.sr=")]
        run(*part, "arch.sr=0.25")
        command = Command(module(*whole.arguments(there)))
        moment = scene.chance.uniform(0, 4)
        time.sleep(moment)
        wrong = _merge(there, here)
        wrong += untidy(command.finish(), (0,))
        found: list[Damage] = []
        list(Store(here).records(found.append))
        wrong += [str(damage) for damage in found] + _again(whole, here)
        yield Trial(what=f"copied after {moment:.2f} s", wrong=wrong)


def _merge(there: Path, here: Path) -> list[str]:
    """cp -r, as users merge results. A file that is renamed meanwhile is not there any more, which cp says."""
    if there.exists():
        try:
            shutil.copytree(there, here, dirs_exist_ok=True)
        except shutil.Error as error:
            return [each for *_, each in error.args[0] if "No such file" not in str(each)]
    return []


def _again(whole: Subject, here: Path) -> list[str]:
    """What is wrong with the merged results once the sweep has been launched on them, but for what cp took along."""
    ended = run(*whole.arguments(here))
    found = {name: text for name, text in left(here).items() if name.count("/") and not name.startswith("sweeps/")}
    expected = {name: text for name, text in whole.expected.items() if not name.startswith("sweeps/")}
    return untidy(ended, (0,)) + differences(expected, found)
