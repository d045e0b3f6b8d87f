"""The local launcher: a process for each run, some at a time; if one dies, only its run is lost."""

import signal
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from fire.machine import hardware
from sweep import forkserver
from sweep.commands.display import Display
from sweep.commands.exits import ELSEWHERE
from sweep.config import Options, RunConfig
from sweep.points import Planner, Point
from sweep.record import Record
from sweep.store import Store
from sweep.worker import work

ATTEMPTS = 2  # of a run whose process was killed or ran out of memory
LONGEST_WAIT = 86400.0  # seconds; the system's calls do not take any number of them
OUT_OF_MEMORY = ("OutOfMemoryError", "MemoryError", "out of memory", "can't allocate memory")  # Python, CUDA, torch


# Called with the keys of the runs under way whenever a place is free; None: nothing to run until one of them ends.
Source = Callable[[Collection[str]], tuple[RunConfig, Options] | None]


class LocalLauncher(Launcher):
    """Hydra's launcher for this machine: hydra/launcher=local.

    Workers are forked from a server that has imported torch once. On a processor, one run a core with one thread
    each trains more images in all than one run with all threads. With GPUs, each run has one of them to itself, or
    shares it with runs_per_gpu - 1 others.
    """

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what it takes to compose the runs; the task is always sweep.run.run."""
        self._planner = Planner(hydra_context.config_loader, config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the points of another sweeper's overrides; results are in the store, not in what is returned."""
        jobs = [list(overrides) for overrides in job_overrides]
        self.run_all([self._planner.point(overrides) for overrides in jobs], self._planner.options(jobs[0]))
        returned = JobReturn()
        returned.status = JobStatus.COMPLETED
        return [returned] * len(jobs)

    def run_all(self, points: Sequence[Point], options: Options) -> dict[str, str]:
        """Run the points, the longest first. Returns why runs left no record, by their keys."""
        waiting = iter(sorted(points, key=lambda point: point.work, reverse=True))

        def following(under_way: Collection[str]) -> tuple[RunConfig, Options] | None:
            point = next(waiting, None)
            return None if point is None else (point.config, options)

        with Display(points, options) as display:
            self.run(options, len(points), following, display)
        return display.reasons

    def run(self, options: Options, runs: int, source: Source, display: Display) -> None:
        """Run what the source gives, at most `runs` at a time, in the places of the options."""
        _Pool(source, slots(options, runs), display).run()


def slots(options: Options, runs: int) -> list[str | None]:
    """Where runs go at a time, each the name of a GPU, or None for the processor; at most options.workers of them."""
    # cuda:1 is the second of the GPUs that this process may use, whatever its name.
    gpus = [name for i, name in enumerate(hardware.gpus()) if options.device in ("auto", "cuda", f"cuda:{i}")]
    on_cores = options.workers or max(1, hardware.cores() // (options.threads or 1))
    places: list[str | None] = [*gpus] * min(options.runs_per_gpu, runs) or [None] * min(on_cores, runs)
    return places[: min(options.workers or len(places), runs)]


@dataclass
class _Running:
    process: ForkServerProcess
    config: RunConfig
    options: Options
    slot: str | None
    deadline: float  # on the monotonic clock
    message: str = ""
    late: bool = False


class _Pool:
    """The runs of a launch, each in a process of its own."""

    def __init__(self, source: Source, places: list[str | None], display: Display) -> None:
        self._context = forkserver.context()
        self._source = source
        self._has_more = True  # as far as is known: asked again when a run has ended
        self._again: list[tuple[RunConfig, Options]] = []  # killed once
        self._free = places
        self._running: dict[Connection, _Running] = {}
        self._attempts: dict[str, int] = {}
        self._display = display

    def run(self) -> None:
        """Run all; however this ends, no process is left behind."""
        try:
            while True:
                while self._free and (job := self._next()) is not None:
                    self._start(*job, self._free.pop(0))
                if not self._running:
                    return
                seconds = min(running.deadline for running in self._running.values()) - time.monotonic()
                for connection in wait(list(self._running), min(max(0.0, seconds), LONGEST_WAIT)):
                    assert isinstance(connection, Connection)
                    self._hear(connection)
                for running in self._running.values():
                    if time.monotonic() > running.deadline and not running.late:
                        running.late = True
                        running.deadline = float("inf")
                        running.process.terminate()
        finally:
            _stop([running.process for running in self._running.values()])

    def _next(self) -> tuple[RunConfig, Options] | None:
        """What to run now; those that were killed come last: what took the memory may be over by then."""
        job = None
        if self._has_more:
            under_way = {running.config.key for running in self._running.values()}
            job = self._source(under_way | {config.key for config, _ in self._again})
            self._has_more = job is not None
        return self._again.pop(0) if job is None and self._again else job

    def _start(self, config: RunConfig, options: Options, slot: str | None) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=work, args=(config, options, slot, theirs), name=config.key)
        forkserver.start(process)
        theirs.close()
        deadline = time.monotonic() + options.timeout if options.timeout else float("inf")
        self._running[ours] = _Running(process, config, options, slot, deadline)
        self._attempts[config.key] = self._attempts.get(config.key, 0) + 1
        self._display.started(config.key, options.stop_epoch)

    def _hear(self, connection: Connection) -> None:
        """Take a worker's message, or note that it has ended, one way or another."""
        running = self._running[connection]
        try:
            message = connection.recv()
        except (EOFError, OSError):
            del self._running[connection]
            connection.close()
            running.process.join()
            self._free.append(running.slot)
            self._ended(running)
        else:
            if isinstance(message, str):
                running.message = message
            else:
                self._display.progress(running.config.key, message)

    def _ended(self, running: _Running) -> None:
        config, options, code = running.config, running.options, running.process.exitcode or 0
        record = Store(options.results_dir).read(config.key) if code == 0 else None
        reason = running.message
        if record is None and not reason:
            how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
            if running.late:
                how = f"timeout={options.timeout:g} seconds are over"
            reason = f"its process ended early ({how}); the next launch goes on from its last epoch"
        killed = record is None and not running.message and not running.late
        if (killed or _out_of_memory(record)) and self._attempts[config.key] < ATTEMPTS:
            self._display.retried(config.key, reason or str(record and record.error))
            self._again.append((config, options))
        else:
            del self._attempts[config.key]
            self._has_more = True
            if code == ELSEWHERE:
                self._display.elsewhere(config.key)
            else:
                self._display.ended(config.key, record, reason)


def _out_of_memory(record: Record | None) -> bool:
    return record is not None and any(sign in (record.error or "") for sign in OUT_OF_MEMORY)


def _stop(processes: list[ForkServerProcess]) -> None:
    """End the workers; their checkpoints stay."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(timeout=5)
        if process.is_alive():
            process.kill()
            process.join()
