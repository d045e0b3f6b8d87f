"""What is tried, and on what: small commands on scikit-learn's digits, whose results have the same bits each time."""

import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench.chaos.commands import Command, Ended, Faults, module, run
from bench.chaos.results import Left, differences, differences_of_search, half_counted, left, trained_twice, untidy

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


def attempt(what: str, check: Callable[[], list[str] | None]) -> list[Trial]:
    """The trial, which has not held if it raises an exception; none if the check returns None: nothing was struck."""
    try:
        wrong = check()
    except Exception as error:
        wrong = [f"{type(error).__name__}: {error}"]
    return [] if wrong is None else [Trial(what=what, wrong=wrong)]


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

    begins: makes the results that it finds. arguments: module and arguments, for a results directory. calls: those that
    write below its folder. differ: what may not differ between what it leaves and what is expected.
    """

    name: str
    begins: Callable[[Path], None]
    arguments: Callable[[Path], tuple[str, ...]]
    expected: Left
    calls: list[str]
    differ: Callable[[Left, Left], list[str]]
    folder: Callable[[Path], Path] = lambda results: results  # whose calls are struck, for a results directory

    def compare(self, results: Path) -> list[str]:
        """What is wrong with these results."""
        return self.differ(self.expected, left(results))

    def strike(self, results: Path, fault: str, at: int, gone: Path | None = None) -> Ended:
        """The command on new results, with a fault at a call."""
        results.parent.mkdir(parents=True)
        self.begins(results)
        return run(*self.arguments(results), faults=Faults(folder=self.folder(results), fault=fault, at=at, gone=gone))

    def again(self, results: Path) -> list[str]:
        """Launch the command once more, with nothing in its way. Returns what is wrong with what it finds or leaves."""
        return half_counted(results) + self.ended(results)

    def ended(self, results: Path) -> list[str]:
        """What is wrong with what the command leaves, launched on anything."""
        wrong = untidy(run(*self.arguments(results)), (0,)) + self.compare(results)
        twice = trained_twice(results)
        return wrong + [f"{twice} epochs trained twice"] * (twice > 0)

    def seconds(self, results: Path) -> tuple[float, float]:
        """How long a launch takes, up to the first run's log and from there, with nothing in its way."""
        begun = time.monotonic()
        command = Command(module(*self.arguments(results)))
        until_begun(command, results)
        middle = time.monotonic()
        command.finish()
        return middle - begun, time.monotonic() - middle


def until_begun(command: Command, results: Path) -> bool:
    """Wait until a run has begun. Returns False if the command ends before."""
    while not any(results.glob("*/log")):
        if command.poll():
            return False
        time.sleep(0.005)
    return True


def subject(
    scene: Scene,
    name: str,
    arguments: Callable[[Path], tuple[str, ...]],
    begins: Callable[[Path], None] = lambda results: None,
    folder: Callable[[Path], Path] = lambda results: results,
) -> Subject:
    """The command, launched once with nothing in its way. Raises RuntimeError if it does not end well."""
    results = scene.fresh()
    results.parent.mkdir(parents=True)
    begins(results)
    ended = run(*arguments(results), faults=Faults(folder=folder(results)))
    wrong = untidy(ended, (0,))
    if wrong:
        raise RuntimeError(f"{name}, with nothing in its way: {'; '.join(wrong)}")
    return Subject(
        name=name,
        begins=begins,
        arguments=arguments,
        expected=left(results),
        calls=short(ended.calls, results),
        differ=differences_of_search if name == "search" else differences,
        folder=folder,
    )


def short(calls: list[str], results: Path) -> list[str]:
    """The calls with their paths from the results on, or from what is beside them."""
    return [call.replace(f"{results}/", "").replace(f"{results.parent}/", "") for call in calls]


def images(folder: Path, chance: random.Random) -> None:
    """Make sixteen pictures of two classes, in four formats."""
    draw = np.random.default_rng(chance.randrange(2**32))
    for part, count in (("train", 6), ("val", 2)):
        for label in ("a", "b"):
            (folder / part / label).mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 256, (24, 20, 3), dtype=np.uint8)
                suffix = ("jpg", "png", "bmp", "tiff")[number % 4]
                Image.fromarray(pixels).save(folder / part / label / f"{number}.{suffix}")


def of_images(folder: Path, results: Path, on_corrupt: str = "error") -> tuple[str, ...]:
    """The command that trains on the images below a folder, with its own data directory there."""
    settings = ("data=image_folder", f"data.root={folder}/images", "data.stored_size=16", "data.image_size=16")
    more = ("data.validation=2", f"data.on_corrupt={on_corrupt}", "train.epochs=1", "train.batch_size=4")
    network = [each for each in NETWORK if not each.startswith(("data", "train.epochs", "train.batch"))]
    return ("sweep", *network, *settings, *more, f"results_dir={results}", f"data_dir={folder}/data", "threads=1")


def subjects(scene: Scene) -> list[Subject]:
    """A run, one that was stopped before, a compression by each method, an export, a search, and a run on images."""
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

    pictures = scene.folder / "images"
    images(pictures, scene.chance)
    export = (f"data_dir={scene.data}", "--int8")
    return [
        run_,
        subject(scene, "resumed run", run_.arguments, copy(stopped)),
        compression("deep_compression"),
        compression("entropy"),
        subject(scene, "export", lambda results: ("sweep.export", str(results / key), *export), copy(finished)),
        subject(scene, "search", lambda results: ("sweep", *SEARCH, *scene.places(results))),
        subject(
            scene,
            "run on images",
            lambda results: of_images(results.parent, results),
            lambda results: shutil.copytree(pictures, results.parent / "images"),
            lambda results: results.parent,
        ),
    ]
