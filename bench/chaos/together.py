"""Several launchers of one sweep, many writers of one record, and a copy made while runs are under way."""

import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path

from bench.chaos.commands import Command, module, run
from bench.chaos.results import differences, half_counted, left, records, untidy
from bench.chaos.scene import SEARCH, SWEEP, Scene, Subject, Trials, attempt, subject, until_begun
from sweep.commands.exits import ELSEWHERE
from sweep.manifests import Sweep
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
        pauses = [scene.chance.uniform(0, 2) for _ in range(count)]

        def trial(each: Subject = each, pauses: Sequence[float] = pauses) -> list[str]:
            results = scene.fresh()
            commands = []
            for pause in pauses:
                commands.append(Command(module(*each.arguments(results))))
                time.sleep(pause)
            wrong = [line for command in commands for line in untidy(command.finish(), (0, ELSEWHERE))]
            return wrong + each.again(results)

        yield from attempt(f"{count} launchers of a {each.name}", trial)


def writers(scene: Scene, wanted: int) -> Trials:
    """WRITERS processes write one record and one manifest, each its own, TIMES times, while another reads them."""
    results = scene.fresh()
    run("sweep", *SWEEP, *scene.places(results))
    store = Store(results)
    record = replace(next(store.records()), data_title="0")
    (sweep,) = store.sweeps()
    texts = [str(number) for number in range(WRITERS)]

    def writes(text: str, times: int = TIMES) -> None:
        for _ in range(times):
            store.write(replace(record, data_title=text))
            store.write_sweep(replace(sweep, experiment=text))

    def trial() -> list[str]:
        writes(texts[0], times=1)
        commands = [Command(partial(writes, text)) for text in texts]
        found: list[Damage] = []
        read: list[Record | None] = []
        manifests: list[Sweep | None] = []
        while not all(command.poll() for command in commands):
            read.append(store.read(record.key, found.append))
            manifests.append(store.read_sweep(sweep.name, found.append))
        wrong = [str(damage) for damage in found] + [f"read {len(read)} times"] * (len(read) < WRITERS)
        known = [replace(record, data_title=text) for text in texts]
        wrong += ["a record was read that none wrote"] * any(each not in known for each in read)
        launched = [replace(sweep, experiment=text) for text in texts]
        wrong += ["a manifest was read that none wrote"] * any(each not in launched for each in manifests)
        wrong += [line for command in commands for line in untidy(command.finish(), (0,))]
        return wrong + [f"left {path.name}" for path in results.rglob(".*.tmp")]

    for _ in range(wanted):
        yield from attempt(f"{WRITERS} writers", trial)


def copies(scene: Scene, wanted: int) -> Trials:
    """A results directory is copied while a sweep writes it, and merged with what another sweep left."""
    return islice(_copies(scene), wanted)


def _copies(scene: Scene) -> Trials:
    whole = subject(scene, "sweep", lambda results: ("sweep", *SWEEP, *scene.places(results)))
    _, rest = whole.seconds(scene.fresh())
    while True:
        pause = scene.chance.uniform(0, rest)

        def trial(pause: float = pause) -> list[str] | None:
            return _copied(whole, pause, scene.fresh(), scene.fresh())

        yield from attempt(f"copied {pause:.2f} s after the first run began", trial)


def _copied(whole: Subject, pause: float, there: Path, here: Path) -> list[str] | None:
    """What is wrong with results that were merged; None if the sweep had ended before they were copied."""
    part = [argument for argument in whole.arguments(here) if not argument.startswith("arch.sr=")]
    run(*part, "arch.sr=0.25")
    own = records(here)
    command = Command(module(*whole.arguments(there)))
    until_begun(command, there)
    time.sleep(pause)
    if command.poll():
        command.finish()
        return None
    wrong = _merge(there, here)
    wrong += untidy(command.finish(), (0,))
    found: list[Damage] = []
    merged = {record.key: record for record in Store(here).records(found.append)}
    wrong += [str(damage) for damage in found]
    wrong += [f"{key} is not finished any more" for key in own if key not in merged or merged[key].status != "finished"]
    wrong += half_counted(here)
    before = records(here)
    wrong += _again(whole, here)
    now = records(here)
    finished = [key for key, record in merged.items() if record.status == "finished"]
    return wrong + [f"{key} was trained again" for key in finished if now.get(key) != before[key]]


def _merge(there: Path, here: Path) -> list[str]:
    """cp -r, as users merge results. A file that is renamed meanwhile is not there any more, which cp says."""
    try:
        shutil.copytree(there, here, dirs_exist_ok=True)
    except shutil.Error as error:
        return [each for *_, each in error.args[0] if "No such file" not in str(each)]
    return []


def _again(whole: Subject, here: Path) -> list[str]:
    """What is wrong with the merged results once the sweep has been launched on them, but for what cp took along.

    Not the number of epochs: a log may be copied later than the checkpoint beside it. And of a run that had finished
    here, cp may have replaced the curve by one that was not whole yet.
    """
    ended = run(*whole.arguments(here))
    found = {name: text for name, text in left(here).items() if name.count("/") and not name.startswith("sweeps/")}
    expected = {name: text for name, text in whole.expected.items() if not name.startswith("sweeps/")}
    for name in expected:
        if name.endswith("/curve.csv") and expected[name].startswith(found.get(name, "-").removesuffix("]")):
            found[name] = expected[name]
    return untidy(ended, (0,)) + differences(expected, found)
