"""Engines whose workers are on other machines: they connect to the launcher, which listens for them."""

import contextlib
import dataclasses
import socket
import time
from abc import abstractmethod
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from pathlib import Path

from fire import files
from fire.errors import require
from sweep.commands.display import console
from sweep.config import Options, RunConfig
from sweep.engines import sharing, wire
from sweep.engines.agent import Call
from sweep.engines.door import Door
from sweep.manifests import Arithmetic
from sweep.pool import Ended, Engine, Message, Worker
from sweep.store import Store
from sweep.typed import build

TEND = 1.0  # seconds between two looks at the cluster


class RemoteEngine(Engine):
    """Workers on other machines. Subclasses say how they are started there."""

    longest_wait = TEND

    def __init__(self, options: Options, *, store: str) -> None:
        """Listen for workers. store: as in RaySettings.

        Raises InputError for settings that cannot be, StoreError or OSError if the results cannot be written.
        """
        require(":" not in options.device, "device", "auto, cpu or cuda on a cluster", options.device)
        root = Path(options.results_dir).absolute()
        Store(root).check_writable()
        self.options = replace(options, results_dir=str(root), data_dir=str(Path(options.data_dir).absolute()))
        self._stack = contextlib.ExitStack()
        welcome = {
            "cwd": str(Path.cwd()),
            "options": dataclasses.asdict(self.options),
            "token": self._stack.enter_context(sharing.token(root)),
            "store": store,
        }
        self.door = Door(welcome)
        self._stack.callback(self.door.close)
        self._idle: list[RemoteWorker] = []
        self._busy: list[RemoteWorker] = []
        self._remarks: list[str] = []
        self._remarked: set[str] = set()
        self._looked = -TEND
        self.joined = 0  # workers, in all
        self.numbers: set[int] = set()  # of their calls

    @abstractmethod
    def hire(self) -> None:
        """Start workers where that is possible; called about every TEND seconds while there may be more to run.

        Raises InputError if they cannot be started.
        """

    @abstractmethod
    def dismiss(self) -> None:
        """End what was started for workers, such as jobs in a queue. Their connections are closed before."""

    @property
    def connected(self) -> bool:
        """Whether there is a worker now."""
        return bool(self._idle or self._busy)

    def call(self, host: str, *, runs: int = 0, seconds: float = float("inf")) -> Call:
        """What a worker needs to connect. host: the setting, or where this machine is found."""
        names = [host] if host else [socket.gethostname(), socket.getfqdn()]
        return Call(
            addresses=[(name, self.door.port) for name in dict.fromkeys(names)],
            key=self.door.key,
            runs=runs,
            seconds=seconds,
        )

    def arithmetic(self) -> Arithmetic:
        """What suits the machine of the first worker, for which this waits."""
        said = False
        began = time.monotonic()
        while not self._idle:
            wait(self.tend(more=True), TEND)
            if not said and time.monotonic() > began + 10 * TEND:
                console().print("waiting for the first worker")
                said = True
        return self._idle[0].arithmetic

    def tend(self, more: bool) -> list[Connection]:
        """Let workers in, and see to it that there are enough of them."""
        while self.door.bell.poll():
            self.door.bell.recv_bytes()
        while not self.door.arrived.empty():
            self._join(*self.door.arrived.get())
        for connection in wait([worker.connection for worker in self._idle], 0):
            self._leave(next(worker for worker in self._idle if worker.connection is connection))
        if more and time.monotonic() > self._looked + TEND:
            self._looked = time.monotonic()
            self.hire()
        return [self.door.bell, *(worker.connection for worker in self._idle)]

    def remarks(self) -> list[str]:
        """What a person should know that has not been said before."""
        new, self._remarks = self._remarks, []
        return new

    def remark(self, line: str) -> None:
        """Keep a line for the next call of `remarks`, unless it has been kept before."""
        if line not in self._remarked:
            self._remarked.add(line)
            self._remarks.append(line)

    def free(self) -> bool:
        """Whether a worker has no run."""
        return bool(self._idle)

    def start(self, config: RunConfig, options: Options, *, again: bool) -> Worker | None:
        """Send the run to a worker; None if another process is at it."""
        worker = self._idle.pop(0)
        if not worker.begin(config, options, again):
            self._idle.insert(0, worker)
            return None
        self._busy.append(worker)
        return worker

    def ended(self, worker: "RemoteWorker", *, stays: bool) -> None:
        """A worker has no run any more: it waits for another, or is gone."""
        self._busy.remove(worker)
        self._looked = -TEND
        if stays:
            self._idle.append(worker)
        else:
            worker.connection.close()

    def close(self) -> None:
        """Have all workers end; their checkpoints stay."""
        try:
            for worker in [*self._idle, *self._busy]:
                worker.forget()
                worker.connection.close()
            self._idle, self._busy = [], []
            self._stack.close()
        finally:  # jobs in a queue must not outlive this process, whatever could not be closed
            self.dismiss()

    def _join(self, connection: Connection, hello: wire.Said) -> None:
        try:
            worker = RemoteWorker(self, connection, build(Hello, {k: v for k, v in hello.items() if k != "is"}))
        except ValueError:
            connection.close()
            self.remark(f"host {hello.get('host')} has another version of this program: its workers get no runs")
            return
        self.joined += 1
        self.numbers.add(worker.hello.number)
        self._idle.append(worker)
        for line in worker.hello.remarks:
            self.remark(line)

    def _leave(self, worker: "RemoteWorker") -> None:
        self._idle.remove(worker)
        worker.connection.close()


@dataclass(frozen=True, kw_only=True)
class Hello:
    """What a worker says of itself.

    number: of its call. is_there, is_locked: whether it sees the results folder, and locks in it.
    """

    number: int
    host: str
    process: int
    is_there: bool
    is_locked: bool
    sends: bool
    arithmetic: dict[str, str | int]

    @property
    def remarks(self) -> list[str]:
        """What a person should know about this worker's host."""
        if self.sends and self.is_there and not self.is_locked:
            return [
                f"locks in results_dir do not reach host {self.host}: its results are sent here and written by this "
                "process. Start no other launch on these results from another machine"
            ]
        if self.sends:
            return [f"host {self.host} sends its results here, and this process writes them"]
        if not self.is_there:
            return [f"host {self.host} does not see results_dir, and was not to send its results"]
        return []


class RemoteWorker(Worker):
    """A worker that has connected, and the run that it does."""

    def __init__(self, engine: RemoteEngine, connection: Connection, hello: Hello) -> None:
        """Raises ValueError if it says of itself what this version does not know."""
        self._engine = engine
        self.connection = connection
        self.hello = hello
        self.arithmetic = build(Arithmetic, hello.arithmetic)
        self._config: RunConfig | None = None
        self._results = Path(engine.options.results_dir)
        self._lock = contextlib.ExitStack()

    def begin(self, config: RunConfig, options: Options, again: bool) -> bool:
        """Send the worker a run. Returns whether it could: another process may be at the run."""
        if self.hello.sends:
            lock = self._results / config.key / ".lock"
            if not self._lock.enter_context(files.locked(lock, files.PATIENCE)):
                self._lock.close()
                return False
        self._config = config
        options = replace(options, results_dir=self._engine.options.results_dir, data_dir=self._engine.options.data_dir)
        with contextlib.suppress(OSError):  # it is gone, as `receive` will find
            wire.say(self.connection, "run", **wire.of_run(config, options), again=again)
            if self.hello.sends:
                for key in dict.fromkeys((config.key, config.uncompressed.key)):
                    self._send_files(self._results / key)
                wire.say(self.connection, "files sent")
        return True

    def _send_files(self, folder: Path) -> None:
        """Send what can be read of a run's folder. Raises OSError if the worker is gone."""
        for name in sharing.names(folder):
            try:
                content = sharing.content(folder, name)
            except FileNotFoundError:  # another launch needs the checkpoint no longer
                continue
            except OSError as error:
                self._engine.remark(f"{folder / name} is not sent to host {self.hello.host}: {error.strerror}")
                continue
            sharing.send(self.connection, folder.name, name, content)

    def receive(self) -> Message | None:
        """The next message of its run; None for files, which are written."""
        assert self._config is not None
        try:
            said = wire.hear(self.connection, "news", "file", "ended")
            match said["is"]:
                case "news":
                    return wire.news_of(said)
                case "file":
                    sharing.receive(self.connection, said, self._results, {self._config.key})
                    return None
            ended = Ended(code=int(said["code"]), lost=str(said["lost"]))
            record = str(said["record"])
        except (wire.WireError, ValueError, TypeError, KeyError) as error:
            self.forget()
            self._engine.ended(self, stays=False)
            return Ended(lost=f"its worker on {self.hello.host}, process {self.hello.process}, was lost: {error}")
        folder = self._results / self._config.key
        sharing.await_record(folder, record)
        if self.hello.sends and ended.code == 0 and Store(self._results).is_done(folder.name):
            Store(self._results).tidy(folder.name)
        self.forget()
        self._engine.ended(self, stays=bool(said["stays"]))
        return ended

    def stop(self) -> None:
        """Have its run end early."""
        with contextlib.suppress(OSError):
            wire.say(self.connection, "stop")

    def forget(self) -> None:
        """Let go of the run and its lock."""
        self._lock.close()
        self._config = None
