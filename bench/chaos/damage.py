"""Files that are damaged or made to do harm: a line for each, little time and memory, nothing executed."""

import os
import pickle
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from bench.chaos import mutations
from bench.chaos.commands import Ended, Faults, run
from bench.chaos.results import Left, differences, left, untidy
from bench.chaos.scene import NETWORK, RUN, Scene, Trial, Trials, subject

MOST_SECONDS = 5.0  # of CPU, more than the command takes with whole files
MOST_BYTES = 2**30  # likewise of memory
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")  # which each line of a log begins with


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """Files of one kind, and the command that reads them.

    files: a pattern below a copy of the whole ones. command: for such a copy and the file of it that is damaged.
    rebuilt: the command must leave what it leaves with whole files.
    """

    name: str
    files: str
    mutate: Callable[..., bytes]
    command: Callable[[Path, Path], tuple[str, ...]]
    codes: tuple[int, ...] = (0, 2)
    rebuilt: bool = False


def _whole(scene: Scene) -> Path:
    """A folder of whole files: of two finished runs, one of them compressed, of one that was stopped, and of images."""
    folder = scene.folder / "whole"
    results = folder / "results"
    places = (f"results_dir={results}", f"data_dir={folder / 'data'}")
    run("sweep", "-m", *RUN, "seed=0,1", *places)
    run("sweep", *RUN, "seed=2", "stop_epoch=1", *places)
    _images(folder / "images", scene)
    finished = next(path.parent for path in sorted(results.glob("*/weights.safetensors")))
    run("sweep.compress", str(finished), "compress=entropy", "compress.epochs=1", places[1], "threads=1")
    (folder / "presets/train").mkdir(parents=True)
    (folder / "presets/train/mine.yaml").write_text("defaults:\n  - quick\nepochs: 2\nlr: 0.1\n")
    return folder


def _images(folder: Path, scene: Scene) -> None:
    """Sixteen pictures of two classes, in four formats."""
    draw = np.random.default_rng(scene.chance.randrange(2**32))
    for part, count in (("train", 6), ("val", 2)):
        for label in ("a", "b"):
            (folder / part / label).mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 256, (24, 20, 3), dtype=np.uint8)
                suffix = ("jpg", "png", "bmp", "tiff")[number % 4]
                Image.fromarray(pixels).save(folder / part / label / f"{number}.{suffix}")


def _again(copy: Path, seed: int) -> tuple[str, ...]:
    return ("sweep", *RUN, f"seed={seed}", f"results_dir={copy}/results", f"data_dir={copy}/data")


def _evaluate(copy: Path, path: Path) -> tuple[str, ...]:
    return ("sweep.evaluate", str(path), "data=digits", "data.limit=96", f"data_dir={copy}/data")


def _folder(copy: Path, on_corrupt: str) -> tuple[str, ...]:
    settings = ("data=image_folder", f"data.root={copy}/images", "data.stored_size=16", "data.image_size=16")
    more = ("data.validation=2", f"data.on_corrupt={on_corrupt}", "train.epochs=1", "train.batch_size=4")
    network = [each for each in NETWORK if not each.startswith(("data", "train.epochs", "train.batch"))]
    return ("sweep", *network, *settings, *more, f"results_dir={copy}/new", f"data_dir={copy}/data", "threads=1")


_KINDS = (
    _Kind(
        name="record", files="results/*/record.json", mutate=mutations.json_or_bytes,
        command=lambda copy, path: ("sweep.search", "best", f"{copy}/results"), codes=(0, 1, 2),
    ),
    _Kind(
        name="manifest", files="results/sweeps/*.json", mutate=mutations.json_or_bytes,
        command=lambda copy, path: ("bench.chaos.reading", f"{copy}/results"),
    ),
    _Kind(
        name="curve", files="results/*/curve.csv", mutate=mutations.other_bytes,
        command=lambda copy, path: ("bench.chaos.reading", f"{copy}/results"),
    ),
    _Kind(
        name="checkpoint", files="results/*/checkpoint.pt", mutate=mutations.flipped,
        command=lambda copy, path: _again(copy, 2), codes=(0,), rebuilt=True,
    ),
    _Kind(
        name="weights", files="results/*/weights.safetensors", mutate=mutations.flipped,
        command=lambda copy, path: _evaluate(copy, path),
    ),
    _Kind(
        name="compressed file", files="results/*/network.fcn", mutate=mutations.flipped,
        command=lambda copy, path: _evaluate(copy, path),
    ),
    _Kind(
        name="cache", files="data/cache/*/*", mutate=mutations.flipped,
        command=lambda copy, path: _again(copy, 3),
    ),
    _Kind(
        name="image, refused", files="images/*/*/*", mutate=mutations.flipped,
        command=lambda copy, path: _folder(copy, "error"),
    ),
    _Kind(
        name="image, left out", files="images/*/*/*", mutate=mutations.flipped,
        command=lambda copy, path: _folder(copy, "skip"),
    ),
    _Kind(
        name="preset", files="presets/train/mine.yaml", mutate=mutations.other_bytes,
        command=lambda copy, path: ("sweep", "--config-dir", f"{copy}/presets", "train=mine", "dry_run=true"),
    ),
)  # fmt: skip


def files(scene: Scene, wanted: int) -> Trials:
    """One mutated file, and the command that reads it."""
    whole = _whole(scene)
    usual: dict[str, Ended] = {}
    expected: Left = {}
    for number in range(wanted):
        kind = _KINDS[number % len(_KINDS)]
        copy = _copy(whole, scene)
        path = scene.chance.choice(sorted(each for each in copy.glob(kind.files) if each.is_file()))
        if kind.name not in usual:
            usual[kind.name] = _read(kind, copy, path)
            if kind.rebuilt:
                expected = left(copy / "results")
            shutil.rmtree(copy)
            shutil.copytree(whole, copy)
        path.write_bytes(kind.mutate(path.read_bytes(), scene.chance))
        ended = _read(kind, copy, path)
        wrong = untidy(ended, kind.codes) + _dear(ended, usual[kind.name]) + _outside(ended, copy)
        if kind.rebuilt:
            wrong += differences(expected, left(copy / "results"))
        yield Trial(what=f"{kind.name}, trial {number}, {path.name}", wrong=wrong)
        shutil.rmtree(copy)


def _copy(whole: Path, scene: Scene) -> Path:
    copy = scene.fresh().parent
    shutil.copytree(whole, copy)
    return copy


def _read(kind: _Kind, copy: Path, path: Path) -> Ended:
    return run(*kind.command(copy, path), faults=Faults(folder=Path("/")))


def _dear(ended: Ended, usual: Ended) -> list[str]:
    """What a command took too much of."""
    seconds, size = ended.cpu_seconds - usual.cpu_seconds, ended.peak_bytes - usual.peak_bytes
    wrong = [f"{seconds:.1f} s of CPU"] if seconds > MOST_SECONDS else []
    return wrong + ([f"{size / 2**20:,.0f} MiB of memory"] if size > MOST_BYTES else [])


def _outside(ended: Ended, copy: Path) -> list[str]:
    """Calls that write elsewhere than into the copy and the folder of the command's own output."""
    allowed = [folder for folder in (copy, ended.scratch, Path("/dev"), Path("/proc")) if folder is not None]
    paths = {call: Path(os.path.normpath(call.split(" ", 1)[1])) for call in ended.calls}
    return [call for call, path in paths.items() if not any(path.is_relative_to(folder) for folder in allowed)]


class _Harm:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.marker),)


def pickles(scene: Scene, wanted: int) -> Trials:
    """Pickles in place of files that torch reads."""
    whole = _whole(scene)
    for number in range(wanted):
        copy = _copy(whole, scene)
        marker = copy / "harm"
        content = pickle.dumps(_Harm(marker), protocol=scene.chance.randint(0, 5))
        if number % 2:
            path = next((copy / "results").glob("*/checkpoint.pt"))
            command, codes = _again(copy, 2), (0,)
        else:
            path = copy / scene.chance.choice(("net.pth", "net.pt", "net.safetensors", "net.fcn", "net.net"))
            command, codes = ("sweep.evaluate", str(path), "data=digits", f"data_dir={copy}/data"), (2,)
        path.write_bytes(content)
        wrong = untidy(run(*command), codes) + (["it was executed"] if marker.exists() else [])
        yield Trial(what=f"pickle as {path.name}", wrong=wrong)


def overrides(scene: Scene, wanted: int) -> Trials:
    """Mistyped commands, which train nothing."""
    begun = run("sweep", *RUN, "dry_run=true", *scene.places(scene.folder / "none"))
    for _ in range(wanted):
        arguments = [*RUN, "train=quick", "compress=entropy"]
        place = scene.chance.randrange(len(arguments))
        arguments[place] = mutations.typed(arguments[place], scene.chance)
        flags = scene.chance.choice(((), (), ("-m",)))
        ended = run("sweep", *flags, *arguments, "dry_run=true", *scene.places(scene.folder / "none"), seconds=60)
        wrong = untidy(ended, (0, 2)) + _dear(ended, begun)
        yield Trial(what=f"argument {arguments[place]!r}", wrong=wrong)


def last_lines(scene: Scene, wanted: int) -> Trials:
    """The last line of any text file of a run that was stopped is cut short; the run must end as without that."""
    whole = subject(scene, "run", lambda results: ("sweep", *RUN, *scene.places(results)))
    for _ in range(wanted):
        results = scene.fresh()
        run(*whole.arguments(results), "stop_epoch=1")
        texts = [path for path in results.rglob("*") if path.name in ("log", "curve.csv", "config.yaml", "record.json")]
        path = scene.chance.choice(sorted(texts))
        path.write_bytes(mutations.torn(path.read_bytes(), scene.chance))
        wrong = whole.again(results)
        lines = (results / path.parent.name / "log").read_text().splitlines()
        wrong += [f"two lines of the log in one: {line[:80]}" for line in lines if TIME.search(line, 1)]
        yield Trial(what=f"{path.name} of {path.stat().st_size} bytes", wrong=wrong)
