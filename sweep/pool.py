"""The pool: gives runs to workers and deals with how they end. It is the same for every engine.

An engine says where workers are and how they start: sweep/engines/.
"""

import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from fire.train.progress import Note, Progress
from sweep.commands.display import Display
from sweep.commands.exits import ELSEWHERE
from sweep.config import Options, RunConfig
from sweep.record import Record
from sweep.store import Store

ATTEMPTS = 2  # of a run whose process was killed or ran out of memory
LOSSES = 5  # of a run's workers in a row, without a finished epoch between them
SECOND_PATIENCE = 150.0  # seconds that a run waits for a copy of itself, whose launcher has lost it
LONGEST_WAIT = 86400.0  # seconds; the system's calls do not take any number of them
OUT_OF_MEMORY = ("OutOfMemoryError", "MemoryError", "out of memory", "can't allocate memory")  # Python, CUDA, torch


Job = tuple[RunConfig, Options]
# Called with the keys of the runs under way whenever a place is free; None: nothing to run until one of them ends.
Source = Callable[[Collection[str]], Job | None]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """A worker's run has ended.

    code: the exit code of its process; -n: signal n killed it. lost: why its worker went away with it; empty if it
    did not, so that the run itself is the reason.
    """

    code: int = 0
    lost: str = ""


Message = Progress | Note | str | Ended  # the text says why a run left no record


class Worker(ABC):
    """A process that does a run, here or on another machine."""

    connection: Connection  # which is ready when there is a message

    @abstractmethod
    def receive(self) -> Message | None:
        """The next message of its run; None if what came was not for the pool."""

    @abstractmethod
    def stop(self) -> None:
        """Have the run end early; its checkpoint stays."""


class Engine(ABC):
    """Where runs go: it starts workers and ends them."""

    longest_wait = LONGEST_WAIT  # seconds between two calls of `tend`

    def remarks(self) -> list[str]:
        """Lines for the user since the last call."""
        return []

    @abstractmethod
    def free(self) -> bool:
        """Whether a run can be started now."""

    @abstractmethod
    def start(self, config: RunConfig, options: Options, *, again: bool) -> Worker | None:
        """Start the run where there is a free place; None if another process is at it.

        again: an earlier worker was lost with this run, and may still be at it.
        """

    @abstractmethod
    def close(self) -> None:
        """End all workers. Checkpoints stay."""

    def tend(self, more: bool) -> list[Connection]:
        """See to workers that come and go; called before each wait. Returns what to wait for besides workers with runs.

        more: whether there is more to run than what is under way, as far as is known.
        """
        return []


@dataclass
class _Running:
    worker: Worker
    config: RunConfig
    options: Options
    deadline: float  # on the monotonic clock
    message: str = ""
    late: bool = False
    epochs: int | None = None  # finished, as of its first news


class Pool:
    """The runs of a launch, each with a worker of its own."""

    def __init__(self, engine: Engine, source: Source, display: Display) -> None:
        self._engine = engine
        self._source = source
        self._has_more = True  # as far as is known: asked again when a run has ended
        self._again: list[Job] = []  # whose processes were killed, or whose workers were lost
        self._held: Job | None = None  # which waits for a worker
        self._running: dict[Connection, _Running] = {}
        self._attempts: dict[str, int] = {}
        self._losses: dict[str, list[float]] = {}  # when, on the monotonic clock
        self._display = display

    def run(self) -> None:
        """Run all. However this ends, the engine must be closed then."""
        while True:
            others = self._engine.tend(self._held is not None or self._has_more or bool(self._again))
            for line in self._engine.remarks():
                self._display.remark(line)
            self._fill()
            if not self._running and self._held is None and not self._again:
                return
            seconds = min((running.deadline for running in self._running.values()), default=float("inf"))
            seconds = min(max(0.0, seconds - time.monotonic()), self._engine.longest_wait)
            for connection in wait({*self._running, *others}, seconds):
                if connection in self._running:
                    assert isinstance(connection, Connection)
                    self._hear(connection)
            for running in self._running.values():
                if time.monotonic() > running.deadline and not running.late:
                    running.late = True
                    running.deadline = float("inf")
                    running.worker.stop()

    def _fill(self) -> None:
        """Start runs where workers are free. While none is at a run, one job waits for a worker, if there is one."""
        while self._engine.free() or not self._running:
            job = self._held or self._next()
            self._held = None
            if job is None:
                return
            if not self._engine.free():
                self._held = job
                return
            if not self._start(*job):
                return

    def _next(self) -> Job | None:
        """What to run now; those that were killed come last: what took the memory may be over by then."""
        job = None
        if self._has_more:
            under_way = {running.config.key for running in self._running.values()}
            job = self._source(under_way | {config.key for config, _ in self._again})
            self._has_more = job is not None
        return self._again.pop(0) if job is None and self._again else job

    def _start(self, config: RunConfig, options: Options) -> bool:
        """Start the run. Returns False if it must wait for its lost copy, which has not ended yet."""
        losses = self._losses.get(config.key, [])
        worker = self._engine.start(config, options, again=bool(losses))
        if worker is None and losses and time.monotonic() < losses[-1] + SECOND_PATIENCE:
            self._again.append((config, options))
            return False
        self._display.started(config.key, options.stop_epoch)
        if worker is None:
            self._forget(config.key)
            self._display.elsewhere(config.key)
            return True
        deadline = time.monotonic() + options.timeout if options.timeout else float("inf")
        self._running[worker.connection] = _Running(worker, config, options, deadline)
        self._attempts[config.key] = self._attempts.get(config.key, 0) + 1
        return True

    def _hear(self, connection: Connection) -> None:
        """Take a worker's message, or note that its run has ended, one way or another."""
        running = self._running[connection]
        match running.worker.receive():
            case None:
                pass
            case Ended() as ended:
                del self._running[connection]
                self._ended(running, ended)
            case str() as message:
                running.message = message
            case news:
                if isinstance(news, Progress):
                    self._note_epochs(running, len(news.curve))
                self._display.progress(running.config.key, news)

    def _note_epochs(self, running: _Running, epochs: int) -> None:
        """Forget the lost workers of a run that has finished another epoch: it may lose any number of them."""
        if running.epochs is None:
            running.epochs = epochs
        elif epochs > running.epochs:
            self._losses.pop(running.config.key, None)

    def _ended(self, running: _Running, ended: Ended) -> None:
        config, options, code = running.config, running.options, ended.code
        losses = self._losses.get(config.key, [])
        lost = running.message if code == ELSEWHERE and losses else ended.lost  # a lost copy may still be at it
        if lost and not running.late and len(losses) + 1 < LOSSES:
            self._losses[config.key] = [*losses, time.monotonic()]
            self._attempts[config.key] -= 1
            self._display.retried(config.key, lost)
            self._again.append((config, options))
            return
        record = Store(options.results_dir).read(config.key) if code == 0 and not ended.lost else None
        reason = running.message
        if record is None and not reason:
            how = ended.lost or (f"killed by {_signal(-code)}" if code < 0 else f"exit code {code}")
            if running.late:
                how = f"timeout={options.timeout:g} seconds are over"
            reason = f"its process ended early ({how}); the next launch goes on from its last epoch"
        killed = record is None and not running.message and not running.late and not ended.lost
        if (killed or _out_of_memory(record)) and self._attempts[config.key] < ATTEMPTS:
            self._display.retried(config.key, reason or str(record and record.error))
            self._again.append((config, options))
        else:
            self._forget(config.key)
            if code == ELSEWHERE:
                self._display.elsewhere(config.key)
            else:
                self._display.ended(config.key, record, reason)

    def _forget(self, key: str) -> None:
        """A run is over, for now; the source may have more."""
        self._attempts.pop(key, None)
        self._losses.pop(key, None)
        self._has_more = True


def _signal(number: int) -> str:
    """The signal's name; those of real time have none."""
    return signal.Signals(number).name if number in list(signal.Signals) else f"signal {number}"


def _out_of_memory(record: Record | None) -> bool:
    return record is not None and any(sign in (record.error or "") for sign in OUT_OF_MEMORY)
