"""What is tried, and on what: small commands on scikit-learn's digits, whose results have the same bits each time."""

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.chaos.commands import Ended, Faults, run
from bench.chaos.results import Left, differences, differences_of_search, left, untidy

NETWORK = (
    "data=digits", "data.limit=96", "arch=squeezenet_narrow", "arch.conv1=16", "arch.base_e=16", "arch.incr_e=16",
    "arch.fires=2", "train.batch_size=32", "train.epochs=2", "train.lr=0.1", "train.precision=fp32",
    "train.kernels=torch",
)  # fmt: skip
RUN = (*NETWORK, "arch.sr=0.5", "threads=1")
SWEEP = ("-m", *NETWORK, "train.epochs=3", "arch.sr=0.25,0.5", "seed=0,1", "workers=2")
SEARCH = (
    "experiment=search", *NETWORK, "arch.base_e=16", "arch.incr_e=0,16", "arch.freq=2", "arch.pct_3x3=0.25,0.5",
    "arch.sr=0.25,0.5", "arch.bypass=none", "arch.fires=2", "arch.conv1=16", "search.first=[]",
    "search.budget_runs=4", "workers=1",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Something that was tried. wrong: what did not hold; empty if all did."""

    what: str
    wrong: list[str]


Trials = Iterator[Trial]


class Scene:
    """A folder for trials, with a data set that has been decoded."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.folder = folder
        self.chance = chance
        self.data = folder / "data"
        self._number = 0

    def fresh(self) -> Path:
        """A new results directory, which is not there yet."""
        self._number += 1
        return self.folder / str(self._number) / "results"

    def places(self, results: Path) -> tuple[str, str]:
        """The overrides for the results and the data."""
        return f"results_dir={results}", f"data_dir={self.data}"

    def sample(self, many: int, wanted: int) -> list[int]:
        """That many of the numbers below `many`, or all, in their order."""
        return sorted(self.chance.sample(range(many), min(many, wanted)))


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A command, with what it finds and what it leaves where nothing goes wrong.

    begins: makes the results that it finds. arguments: module and arguments, for a results directory. differ: what may
    not differ between what it leaves and what is expected.
    """

    name: str
    begins: Callable[[Path], None]
    arguments: Callable[[Path], tuple[str, ...]]
    expected: Left
    calls: list[str]
    differ: Callable[[Left, Left], list[str]]

    def compare(self, results: Path) -> list[str]:
        """What is wrong with these results."""
        return self.differ(self.expected, left(results))

    def strike(self, results: Path, faults: Faults) -> Ended:
        """The command on new results, with faults."""
        results.parent.mkdir(parents=True)
        self.begins(results)
        return run(*self.arguments(results), faults=faults)

    def again(self, results: Path) -> list[str]:
        """Launch the command once more, with nothing in its way. Returns what is wrong with what it leaves."""
        ended = run(*self.arguments(results))
        return untidy(ended, (0,)) + self.compare(results)


def subject(
    scene: Scene, name: str, arguments: Callable[[Path], tuple[str, ...]], begins: Callable[[Path], None] | None = None
) -> Subject:
    """The command, launched once with nothing in its way. Raises RuntimeError if it does not end well."""
    results = scene.fresh()
    results.parent.mkdir(parents=True)
    begins = begins or (lambda results: None)
    begins(results)
    ended = run(*arguments(results), faults=Faults(folder=results))
    wrong = untidy(ended, (0,))
    if wrong:
        raise RuntimeError(f"{name}, with nothing in its way: {'; '.join(wrong)}")
    calls = [call.replace(f"{results}/", "") for call in ended.calls]
    return Subject(
        name=name,
        begins=begins,
        arguments=arguments,
        expected=left(results),
        calls=calls,
        differ=differences_of_search if name == "search" else differences,
    )


def subjects(scene: Scene) -> list[Subject]:
    """A run, one that was stopped before, a compression by each method, an export, and a search."""
    finished = scene.fresh()
    run_ = subject(scene, "run", lambda results: ("sweep", *RUN, *scene.places(results)))
    run("sweep", *RUN, *scene.places(finished))
    stopped = scene.fresh()
    run("sweep", *RUN, *scene.places(stopped), "stop_epoch=1")
    (key,) = (path.parent.name for path in finished.glob("*/record.json"))

    def copy(of: Path) -> Callable[[Path], None]:
        def begins(results: Path) -> None:
            shutil.copytree(of, results)

        return begins

    def compression(method: str) -> Subject:
        short = (f"compress={method}", "compress.epochs=1", f"data_dir={scene.data}", "threads=1")
        return subject(scene, method, lambda results: ("sweep.compress", str(results / key), *short), copy(finished))

    export = (f"data_dir={scene.data}", "--int8")
    return [
        run_,
        subject(scene, "resumed run", run_.arguments, copy(stopped)),
        compression("deep_compression"),
        compression("entropy"),
        subject(scene, "export", lambda results: ("sweep.export", str(results / key), *export), copy(finished)),
        subject(scene, "search", lambda results: ("sweep", *SEARCH, *scene.places(results))),
    ]
