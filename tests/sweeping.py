"""What the tests of sweep/ share: configurations in this process, and the command in one of its own."""

import contextlib
import functools
import io
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig
from PIL import Image

from fire.train.progress import Epoch
from sweep import curves
from sweep.__main__ import answer
from sweep.commands import exits
from sweep.compose import load, options_of, presets
from sweep.config import Options, RunConfig
from sweep.points import Planner, Point
from sweep.store import Store

ROOT = Path(__file__).parents[1]
# A network that gets well above chance on scikit-learn's digits in three epochs, a second on one core.
TINY = (
    "data=digits",
    "arch=squeezenet_narrow",
    "arch.base_e=16",
    "arch.incr_e=16",
    "arch.conv1=16",
    "arch.sr=0.5",
    "train.epochs=3",
    "train.lr=0.1",
    "train.precision=fp32",
    "threads=1",
)


def composed(*overrides: str) -> DictConfig:
    """What Hydra itself composes, with its own node."""
    with presets():
        return compose("config", list(overrides), return_hydra_config=True)


class Launch(NamedTuple):
    """A run, and how it is run: the arguments of sweep.run.run."""

    config: RunConfig
    options: Options

    def having(self, **options: object) -> "Launch":
        """The same run with other options."""
        return self._replace(options=replace(self.options, **options))

    @property
    def store(self) -> Store:
        return Store(self.options.results_dir)

    @property
    def folder(self) -> Path:
        return self.store.folder(self.config.key)

    @property
    def uncompressed(self) -> "Launch":
        return self._replace(config=self.config.uncompressed)


def launch(*overrides: str) -> Launch:
    """As Hydra composes it."""
    cfg = composed(*overrides)
    del cfg._content["hydra"]
    return Launch(load(cfg), options_of(cfg))


def config(*overrides: str) -> RunConfig:
    return launch(*overrides).config


def options(*overrides: str) -> Options:
    """As a sweep plans them."""
    return _planner_of(overrides).options(list(overrides))


@functools.cache
def planner(*experiment: str) -> Planner:
    """As the sweeper of an experiment makes it; the points' overrides are all that lead to them."""
    with presets():
        cfg = compose("config", list(experiment), return_hydra_config=True)
        return Planner(GlobalHydra.instance().config_loader(), cfg)


def point(*overrides: str) -> Point:
    return _planner_of(overrides).point(list(overrides))


def _planner_of(overrides: Sequence[str]) -> Planner:
    return planner(*(override for override in overrides if override.startswith("experiment=")))


def answered(*arguments: str) -> tuple[int, str, str]:
    """What `command` gives, in this process: without the seconds of imports, for what trains nothing."""
    code = 0
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            exits.guarded("sweep", lambda: answer(list(arguments)))
        except SystemExit as end:
            code = int(end.code or 0)
    return code, out.getvalue(), err.getvalue()


def start(*arguments: str) -> subprocess.Popen[str]:
    """python -m sweep in a session of its own, as a terminal starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "sweep", *arguments],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "HYDRA_FULL_ERROR")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # A parent in the background of a script hands on an ignored Ctrl-C, and Python would keep it so.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def finish(process: subprocess.Popen[str], seconds: float = 120) -> tuple[int, str, str]:
    """Exit code, standard output and standard error."""
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return process.returncode, out, err


def command(*arguments: str) -> tuple[int, str, str]:
    return finish(start(*arguments))


def write_curve(folder: Path, *top1: float) -> None:
    """Leave the training curve of a run whose validation accuracy after each epoch is this."""
    rows = [
        Epoch(epoch=i, lr=0.1, train_loss=0.1, validation_loss=0.2, validation_top1=value, train_seconds=i, seconds=i)
        for i, value in enumerate(top1, start=1)
    ]
    (folder / "curve.csv").write_text(curves.dump(rows))


def image_folder(root: Path, classes: int = 2) -> Path:
    """Two images a class in train/, one in val/; each class has one colour."""
    for part, count in (("train", 2), ("val", 1)):
        for label in range(classes):
            folder = root / part / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (24, 20), (80 * label, 10 * number, 0)).save(folder / f"{number}.jpg")
    return root


def synset_folder(root: Path, names: list[str]) -> Path:
    """Of each class one image, in val/ alone."""
    for number, name in enumerate(names):
        folder = root / "val" / name
        folder.mkdir(parents=True)
        Image.new("RGB", (24, 20), (80 * number, 10, 0)).save(folder / "0.png")
    return root
