"""Files that are damaged or made to do harm: a line for each, little time and memory, nothing executed."""

import io
import os
import pickle
import random
import re
import shutil
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.chaos import mutations
from bench.chaos.commands import Ended, Faults, run
from bench.chaos.results import Left, differences, left, untidy
from bench.chaos.scene import RUN, Scene, Trials, attempt, images, of_images, subject
from sweep.store import Store

MOST_SECONDS = 5.0  # of CPU, more than the command takes with whole files
MOST_BYTES = 2**30  # likewise of memory
PLACE = re.compile(r"\S*/chaos-\w+/\d+(?=/)")  # of a trial's own copy
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d")  # which each line of a log begins with


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """Files of one kind, and the command that reads them.

    files: a pattern below a copy of the whole ones. command: for such a copy and the file of it that is damaged.
    rebuilt: the command must leave what it leaves with whole files. unseen: other content may be as good as the whole
    one, so that the output changes without a word: it has no digest, or is the user's own.
    """

    name: str
    files: str
    mutate: Callable[..., bytes]
    command: Callable[[Path, Path], tuple[str, ...]]
    codes: tuple[int, ...] = (0, 2)
    rebuilt: bool = False
    unseen: bool = False


def _whole(scene: Scene) -> Path:
    """A folder of whole files: of two finished runs, one of them compressed, of one that was stopped, and of images.

    The stopped one is there once more without its record, as a page shows a run that is under way.
    """
    folder = scene.folder / "whole"
    results = folder / "results"
    places = (f"results_dir={results}", f"data_dir={folder / 'data'}")
    run("sweep", "-m", *RUN, "seed=0,1", *places)
    run("sweep", *RUN, "seed=2", "stop_epoch=1", *places)
    images(folder / "images", scene.chance)
    finished = next(path.parent for path in sorted(results.glob("*/weights.safetensors")))
    run("sweep.compress", str(finished), "compress=entropy", "compress.epochs=1", places[1], "threads=1")
    stopped = next(path.parent for path in results.glob("*/checkpoint.pt"))
    shutil.copytree(stopped, folder / "begun" / stopped.name, ignore=shutil.ignore_patterns("record.json"))
    (folder / "presets/train").mkdir(parents=True)
    (folder / "presets/train/mine.yaml").write_text("defaults:\n  - quick\nepochs: 2\nlr: 0.1\n")
    return folder


def _again(copy: Path, seed: int) -> tuple[str, ...]:
    return ("sweep", *RUN, f"seed={seed}", f"results_dir={copy}/results", f"data_dir={copy}/data")


def _evaluate(copy: Path, path: Path) -> tuple[str, ...]:
    return ("sweep.evaluate", str(path), "data=digits", "data.limit=96", f"data_dir={copy}/data")


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
        name="configuration", files="begun/*/config.yaml", mutate=mutations.other_bytes,
        command=lambda copy, path: ("bench.chaos.reading", f"{copy}/begun", "page"),
    ),
    _Kind(
        name="checkpoint", files="results/*/checkpoint.pt", mutate=mutations.flipped,
        command=lambda copy, path: _again(copy, 2), codes=(0,), rebuilt=True,
    ),
    _Kind(
        name="checkpoint with its digest", files="results/*/checkpoint.pt", mutate=mutations.signed,
        command=lambda copy, path: _again(copy, 2), codes=(0, 1), unseen=True,
    ),
    _Kind(
        name="weights", files="results/*/weights.safetensors", mutate=mutations.flipped,
        command=lambda copy, path: _evaluate(copy, path), unseen=True,
    ),
    _Kind(
        name="compressed file", files="results/*/network.fcn", mutate=mutations.flipped,
        command=lambda copy, path: _evaluate(copy, path),
    ),
    _Kind(
        name="cache", files="data/cache/*/*", mutate=mutations.flipped,
        command=lambda copy, path: _again(copy, 3), unseen=True,
    ),
    _Kind(
        name="image, refused", files="images/*/*/*", mutate=mutations.flipped,
        command=lambda copy, path: of_images(copy, copy / "new"), unseen=True,
    ),
    _Kind(
        name="image, left out", files="images/*/*/*", mutate=mutations.flipped,
        command=lambda copy, path: of_images(copy, copy / "new", "skip"), unseen=True,
    ),
    _Kind(
        name="preset", files="presets/train/mine.yaml", mutate=mutations.other_bytes,
        command=lambda copy, path: ("sweep", "--config-dir", f"{copy}/presets", "train=mine", "dry_run=true"),
        unseen=True,
    ),
)  # fmt: skip


def files(scene: Scene, wanted: int) -> Trials:
    """One mutated file, and the command that reads it."""
    whole = _whole(scene)
    usual: dict[tuple[str, str], tuple[Ended, Left]] = {}
    for number in range(wanted):
        kind = _KINDS[number % len(_KINDS)]
        every = sorted(path for path in whole.glob(kind.files) if path.is_file() and path.stat().st_size)
        if kind.name == "curve":  # others than those of finished runs of sweeps are not read
            every = [path for path in every if path.parent.name in _compared(whole / "results")]
        name = str(scene.chance.choice(every).relative_to(whole))

        def trial(kind: _Kind = kind, name: str = name) -> list[str]:
            if (kind.name, name) not in usual:
                copy = _copy(whole, scene)
                usual[kind.name, name] = _read(kind, copy, copy / name), left(copy)
                shutil.rmtree(copy)
            return _damaged(kind, name, _copy(whole, scene), *usual[kind.name, name], scene.chance)

        yield from attempt(f"{kind.name}, trial {number}, {name}", trial)


def _compared(results: Path) -> set[str]:
    store = Store(results)
    return {key for sweep in store.sweeps() for key in sweep.keys if store.is_done(key)}


def _damaged(kind: _Kind, name: str, copy: Path, usual: Ended, expected: Left, chance: random.Random) -> list[str]:
    """What is wrong with how the command takes the file once it is mutated. usual, expected: with whole files."""
    path = copy / name
    path.write_bytes(mutations.other(kind.mutate, path.read_bytes(), chance))
    ended = _read(kind, copy, path)
    wrong = untidy(ended, kind.codes) + _dear(ended, usual) + _outside(ended, copy)
    if kind.rebuilt:
        wrong += differences(expected, left(copy))
    elif ended.code == 0 and not kind.unseen:
        wrong += _unnoticed(ended, usual, path)
    shutil.rmtree(copy)
    return wrong


def _unnoticed(ended: Ended, usual: Ended, path: Path) -> list[str]:
    """What is wrong if the output has changed and names neither the file nor its run."""
    text, before = (PLACE.sub("", each.out + each.err) for each in (ended, usual))
    named = path.name in text or path.parent.name in text
    return [] if named or text == before else [f"an output that says not why it differs: {text[:200]!r}"]


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
    here = f"mkdir {Path.cwd()}/."  # Hydra makes the folder that it runs in, which is there
    return [
        call
        for call, path in paths.items()
        if call != here and not any(path.is_relative_to(folder) for folder in allowed)
    ]


class _Harm:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.marker),)


def pickles(scene: Scene, wanted: int) -> Trials:
    """Pickles in place of files that torch reads, by themselves or in the zip that torch makes."""
    whole = _whole(scene)
    for number in range(wanted):
        name = scene.chance.choice(("net.pth", "net.pt", "net.safetensors", "net.fcn", "net.net"))
        of_checkpoint, zipped, protocol = number % 2 == 1, number % 4 > 1, scene.chance.randint(0, 5)

        def trial(
            name: str = name, of_checkpoint: bool = of_checkpoint, zipped: bool = zipped, protocol: int = protocol
        ) -> list[str]:
            copy = _copy(whole, scene)
            content = harm(copy / "harm", protocol, zipped)
            if of_checkpoint:
                path = next((copy / "results").glob("*/checkpoint.pt"))
                # With its digest, else it would not be unpickled.
                path.write_bytes(mutations.with_digest(content))
                command, codes = _again(copy, 2), (0,)
            else:
                path = copy / name
                path.write_bytes(content)
                command, codes = ("sweep.evaluate", str(path), "data=digits", f"data_dir={copy}/data"), (2,)
            return untidy(run(*command), codes) + (["it was executed"] if (copy / "harm").exists() else [])

        yield from attempt(f"pickle {'in a zip ' * zipped}as {'checkpoint.pt' if of_checkpoint else name}", trial)


def harm(marker: Path, protocol: int, zipped: bool) -> bytes:
    """A file that makes the marker when torch loads it with all that pickles can do."""
    content = pickle.dumps(_Harm(marker), protocol=protocol)
    if not zipped:
        return content
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, part in (("data.pkl", content), ("byteorder", b"little"), ("version", b"3\n")):
            file.writestr(f"archive/{name}", part)
    return buffer.getvalue()


def overrides(scene: Scene, wanted: int) -> Trials:
    """Mistyped commands, which train nothing and write nothing."""
    nowhere = scene.folder / "none"

    def dry(*arguments: str) -> Ended:
        return run("sweep", *arguments, "dry_run=true", *scene.places(nowhere), faults=Faults(folder=Path("/")))

    usual = dry(*RUN)
    for _ in range(wanted):
        arguments = [*RUN, "train=quick", "compress=entropy"]
        place = scene.chance.randrange(len(arguments))
        arguments[place] = mutations.typed(arguments[place], scene.chance)
        given = [*scene.chance.choice(((), (), ("-m",))), *arguments]

        def trial(given: Sequence[str] = given) -> list[str]:
            ended = dry(*given)
            return untidy(ended, (0, 2)) + _dear(ended, usual) + _outside(ended, nowhere)

        yield from attempt(f"argument {arguments[place]!r}", trial)


def last_lines(scene: Scene, wanted: int) -> Trials:
    """The last line of any text file of a run that was stopped is cut short; the run must end as without that."""
    whole = subject(scene, "run", lambda results: ("sweep", *RUN, *scene.places(results)))
    for _ in range(wanted):
        name = scene.chance.choice(("log", "curve.csv", "config.yaml", "record.json"))

        def trial(name: str = name) -> list[str]:
            results = scene.fresh()
            run(*whole.arguments(results), "stop_epoch=1")
            (path,) = results.glob(f"*/{name}")
            path.write_bytes(mutations.torn(path.read_bytes(), scene.chance))
            wrong = whole.ended(results)
            lines = path.with_name("log").read_text().splitlines()
            return wrong + [f"two lines of the log in one: {line[:80]}" for line in lines if TIME.search(line, 1)]

        yield from attempt(f"{name}, its last line torn", trial)
