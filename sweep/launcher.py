"""The local launcher: a process a run, so many at a time; the death of one costs only its run."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from sweep import origin
from sweep.config import RunConfig
from sweep.display import Display
from sweep.plan import Planner
from sweep.store import Store


class LocalLauncher(Launcher):
    """Hydra's launcher for this machine: hydra/launcher=local.

    Workers are forked from a server that has imported torch once. On a processor, one run a core with one thread
    each trains more images in all than one run with all threads.
    """

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what it takes to compose the runs; the task is always sweep.run.run."""
        self._planner = Planner(hydra_context.config_loader, config)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the points of these overrides, the longest first; results are in the store, not in what is returned."""
        points = sorted(
            (self._planner.point(list(overrides)) for overrides in job_overrides),
            key=lambda point: point.work,
            reverse=True,
        )
        config = points[0].config
        workers = config.workers or min(origin.cores(), len(points))
        threads = config.threads or max(1, origin.cores() // workers)
        with Display(points) as display:
            _run_all([replace(point.config, threads=threads) for point in points], workers, display)
        returned = JobReturn()
        returned.status = JobStatus.COMPLETED
        return [returned] * len(points)


def _run_all(configs: list[RunConfig], workers: int, display: Display) -> None:
    context = multiprocessing.get_context("forkserver")
    # The first optimizer imports torch._dynamo, for seconds; here once rather than in every run.
    context.set_forkserver_preload(["sweep.run", "torch._dynamo"])
    waiting = list(reversed(configs))
    running: dict[Connection, tuple[ForkServerProcess, RunConfig, list[str]]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                config = waiting.pop()
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(config, theirs), name=config.key)
                process.start()
                theirs.close()
                running[ours] = (process, config, [])
                display.started(config.key)
            for connection in wait(list(running)):
                assert isinstance(connection, Connection)
                process, config, messages = running[connection]
                try:
                    message = connection.recv()
                except (EOFError, OSError):  # the worker has ended, one way or another
                    del running[connection]
                    connection.close()
                    process.join()
                    _report_end(config, process, messages, display)
                else:
                    if isinstance(message, str):
                        messages.append(message)
                    else:
                        display.progress(config.key, message)
    finally:
        _stop([process for process, _, _ in running.values()])


def _report_end(config: RunConfig, process: ForkServerProcess, messages: list[str], display: Display) -> None:
    record = Store(config.results_dir).read(config.key)
    if process.exitcode == 0 and record is not None:
        display.ended(config.key, record)
    elif messages:
        display.ended(config.key, None, messages[-1])
    else:
        code = process.exitcode or 0
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        display.ended(config.key, None, f"its process ended early ({how}); the next launch goes on from its last epoch")


def _stop(processes: list[ForkServerProcess]) -> None:
    """End the workers; their checkpoints stay."""
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(timeout=5)
        if process.is_alive():
            process.kill()
            process.join()


def _work(config: RunConfig, connection: Connection) -> None:
    """The body of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the launcher ends its workers
    from sweep.run import run

    threading.Thread(target=_follow_launcher, args=(connection,), daemon=True).start()
    try:
        run(config, connection.send)
    except Exception as error:  # the launcher shows why there is no record
        with contextlib.suppress(OSError):
            connection.send(f"{type(error).__name__}: {error}")
        raise SystemExit(1) from error


def _follow_launcher(connection: Connection) -> None:
    """End this process when the launcher is gone, even if it was killed: no orphans."""
    with contextlib.suppress(EOFError, OSError):
        connection.recv()
    os._exit(1)
