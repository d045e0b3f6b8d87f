"""Launchers: what Hydra calls to run the points of a sweep. The local one is the default."""

from abc import abstractmethod
from collections import deque
from collections.abc import Collection, Sequence
from typing import Any

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from fire.errors import InputError
from sweep.arithmetic import arithmetic_of
from sweep.config import Options
from sweep.engines.local import LocalEngine, slots
from sweep.engines.remote import RemoteEngine
from sweep.engines.spec import RaySettings, SlurmSettings
from sweep.manifests import Arithmetic, Sweep
from sweep.points import Point
from sweep.pool import Engine, Job, Source
from sweep.store import Store


class PoolLauncher(Launcher):
    """A launcher whose runs go to the workers of an engine, through the pool: sweep/pool.py."""

    is_here = True  # whether runs are on this machine

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Nothing is kept: the sweeper plans the runs, and the task is always sweep.run.run."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Hydra's own sweepers call this. Raises InputError: they check nothing first, and know no store."""
        raise InputError("hydra/sweeper must be store or search, unless hydra/launcher is one of Hydra's own")

    @abstractmethod
    def engine(self, options: Options, runs: int) -> Engine:
        """An engine with places for at most this number of runs at a time. Raises InputError if it cannot be had."""

    def arithmetic(self, engine: Engine | None, options: Options, former: Sweep | None) -> Arithmetic:
        """What `auto` means for the runs, see sweep.arithmetic. former: the manifest that the sweep began with."""
        return arithmetic_of(options, former)


def in_order(points: Sequence[Point], options: Options) -> Source:
    """What to run next: the longest training, or without one a network to compress, once it has been trained.

    A network that could not be trained is not compressed.
    """
    store = Store(options.results_dir)
    longest_first = sorted(points, key=lambda point: point.work, reverse=True)
    to_train = deque(point for point in longest_first if not point.config.is_compressed)
    to_compress: dict[str, list[Point]] = {}  # by the key of the run that trains the network
    for point in longest_first:
        if point.config.is_compressed:
            to_compress.setdefault(point.uncompressed.key, []).append(point)
    trained: deque[Point] = deque()

    def following(under_way: Collection[str]) -> Job | None:
        if to_train:
            return to_train.popleft().config, options
        for key in [key for key in to_compress if key not in under_way]:
            found = to_compress.pop(key)
            trained.extend(found if store.is_done(key) else ())
        return (trained.popleft().config, options) if trained else None

    return following


class LocalLauncher(PoolLauncher):
    """Hydra's launcher for this machine: hydra/launcher=local.

    On a processor, one run a core with one thread each trains more images in all than one run with all threads. With
    GPUs, each run has one of them to itself, or shares it with runs_per_gpu - 1 others.
    """

    def engine(self, options: Options, runs: int) -> Engine:
        """Processes of this machine."""
        return LocalEngine(slots(options, runs))


class RemoteLauncher(PoolLauncher):
    """A launcher whose runs are on other machines."""

    is_here = False

    def __init__(self, **settings: Any) -> None:
        self._settings = settings

    def arithmetic(self, engine: Engine | None, options: Options, former: Sweep | None) -> Arithmetic:
        """As the first machine has it where the sweep has not begun, for which this waits."""
        assert isinstance(engine, RemoteEngine)
        return arithmetic_of(options, former, engine.arithmetic)


class RayLauncher(RemoteLauncher):
    """Hydra's launcher for a Ray cluster: hydra/launcher=ray, with the settings of RaySettings; docs/scale.md."""

    def engine(self, options: Options, runs: int) -> Engine:
        """The cluster at RAY_ADDRESS, or a Ray on this machine."""
        from sweep.engines.ray_cluster import RayEngine

        return RayEngine(options, runs, RaySettings(**self._settings))


class SlurmLauncher(RemoteLauncher):
    """Hydra's launcher for a SLURM cluster: hydra/launcher=slurm, with the settings of SlurmSettings; docs/scale.md."""

    def engine(self, options: Options, runs: int) -> Engine:
        """Jobs of SLURM."""
        from sweep.engines.slurm import SlurmEngine

        return SlurmEngine(options, runs, SlurmSettings(**self._settings))
