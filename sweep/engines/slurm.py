"""The engine of a SLURM cluster: jobs of one array, through submitit, whose workers take run after run.

Runs last minutes, and jobs may wait for hours: a job a run would spend most of its time in the queue.
"""

import contextlib
import math
import secrets
import shutil
import signal
import subprocess
import time
import warnings
from importlib.util import find_spec
from multiprocessing import Pipe
from pathlib import Path
from types import FrameType
from typing import Any

from fire import files
from fire.errors import InputError, require, unknown
from sweep import forkserver
from sweep.config import Options
from sweep.engines import sharing
from sweep.engines.agent import Call, serve
from sweep.engines.remote import RemoteEngine
from sweep.engines.spec import SlurmSettings

LOCK = ".lock"
FOLDER = ".slurm"  # in the results folder: scripts, and the output of jobs
# What SLURM sends before a job's end. Workers read the clock: it may come a minute early, in a job of two minutes at
# once, and submitit takes its own signal for a time-out then. This one does nothing.
SIGNAL = "CONT@60"
ASK = 5.0  # seconds between two questions to SLURM
MOST_FAILURES = 3  # arrays in a row of which no worker connects, while no other is connected


class SlurmEngine(RemoteEngine):
    """Jobs that end when this process does, with as many workers in all as the option `workers` says, in whole jobs."""

    def __init__(self, options: Options, runs: int, settings: SlurmSettings) -> None:
        """Raises InputError if jobs cannot be submitted here."""
        rule = "local where submitit is not installed (the extra `slurm`)"
        require(find_spec("submitit") is not None, "hydra/launcher", rule, "slurm")
        is_slurm = settings.executor == "slurm"
        found = not is_slurm or shutil.which("sbatch") is not None
        require(found, "hydra/launcher", "local on a machine without SLURM's sbatch", "slurm")
        require(options.workers > 0, "workers", "at least 1 with hydra/launcher=slurm", options.workers)
        super().__init__(options, store=settings.store)
        self._settings = settings
        self._most = min(options.workers, runs)
        self._name = f"sweep-{secrets.token_hex(4)}"
        folders = Path(self.options.results_dir) / FOLDER
        for former in folders.glob("*"):
            if sharing.is_left(former / LOCK):
                shutil.rmtree(former, ignore_errors=True)
        self._folder = folders / self._name
        self._folder.mkdir(parents=True, mode=0o700)  # the workers' key lies in it
        self._stack.enter_context(files.locked(self._folder / LOCK))
        self._jobs: list[Any] = []
        self._alive = 0
        self._asked = -ASK
        self._arrays = 0  # since a worker was connected
        self._joined_before = 0

    @property
    def parameters(self) -> dict[str, Any]:
        """What submitit's executor gets."""
        settings, threads = self._settings, self.options.threads or 1
        slurm = {
            "partition": settings.partition,
            "account": settings.account,
            "qos": settings.qos,
            "setup": list(settings.setup),
            "additional_parameters": {"requeue": True, "signal": SIGNAL, **settings.parameters},
            "array_parallelism": self._wanted,  # submitit's default lets 256 jobs run
        }
        return {
            "name": self._name,
            "timeout_min": settings.time,
            "tasks_per_node": self._tasks,
            "cpus_per_task": threads,
            **({"gpus_per_node": settings.gpus} if settings.gpus else {}),
            **({"mem_gb": settings.memory} if settings.memory else {}),
            **{f"slurm_{name}": value for name, value in slurm.items() if value},
        }

    @property
    def _tasks(self) -> int:
        """Workers of a job."""
        return min(self._most, self._settings.gpus * self.options.runs_per_gpu) if self._settings.gpus else 1

    @property
    def _wanted(self) -> int:
        """Jobs in all."""
        return math.ceil(self._most / self._tasks)

    def hire(self) -> None:
        """Submit as many jobs as are missing. Raises InputError if SLURM refuses the first, or no worker connects."""
        if time.monotonic() < self._asked + ASK:
            return
        self._asked = time.monotonic()
        if self.connected or self.joined > self._joined_before:
            self._joined_before, self._arrays = self.joined, 0
        known = self._count()
        self._alive = self._alive if known is None else known
        if self._alive >= self._wanted:
            return
        if self._arrays < MOST_FAILURES:
            self._submit(self._wanted - self._alive)
        elif known == 0:  # else a job that waits may bring a worker
            raise InputError(f"jobs end before their workers connect; what they print is in {self._folder}")

    def dismiss(self) -> None:
        """Cancel what waits or runs. What jobs printed stays if none has connected."""
        if self._settings.executor == "slurm":
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                subprocess.run(["scancel", "--me", f"--name={self._name}"], capture_output=True, timeout=60)
        for job in self._jobs if self._settings.executor == "local" else []:
            with contextlib.suppress(Exception):  # it has ended
                job.wait() if self.joined else job.cancel()
        if self.joined:
            shutil.rmtree(self._folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # others have jobs, too
                self._folder.parent.rmdir()

    def _submit(self, count: int) -> None:
        """Submit an array. Raises InputError if SLURM refuses it and no worker has joined: else it may not, later."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import submitit

            executor = submitit.AutoExecutor(self._folder, cluster=self._settings.executor)
            executor.update_parameters(**self.parameters)
            call = self.call(self._settings.host, seconds=self._settings.life)
            try:
                # Ctrl-C must neither leave an array that nobody knows, nor reach submitit's own processes.
                with forkserver.interrupts_wait(), executor.batch():
                    self._jobs += [executor.submit(serve_job, call) for _ in range(count)]
            except (submitit.core.utils.FailedSubmissionError, submitit.core.utils.FailedJobError) as error:
                why = f"SLURM refuses the jobs: {' '.join(str(error).split())[-300:]}"
                if not self.joined:
                    raise InputError(why) from error
                self.remark(why)
                return
        self._arrays += 1
        self._alive += count

    def _count(self) -> int | None:
        """Jobs that wait or run; None if that is unknown now."""
        match self._settings.executor:
            case "local":
                self._jobs = [job for job in self._jobs if not job.done()]
                return len(self._jobs)
            case "slurm":
                command = ["squeue", "--me", f"--name={self._name}", "--noheader", "--array", "--format=%i"]
                try:
                    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
                except (OSError, subprocess.SubprocessError):
                    return None  # SLURM's controller is busy, or starts anew
                return len(done.stdout.split())
        raise unknown("hydra.launcher.executor", self._settings.executor)


def serve_job(call: Call) -> None:
    """Be a worker in a job of SLURM's: leave when its time is nearly over, or its machine is needed."""
    bell, ring = Pipe(duplex=False)

    def leave(number: int, frame: FrameType | None) -> None:
        ring.send_bytes(b"!")

    signal.signal(signal.SIGTERM, leave)  # in the place of submitit's
    # SLURM signals all processes of a job; only this one may heed it, which ends the others.
    forkserver.context()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    forkserver.ensure_running()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    serve(call, bell)
