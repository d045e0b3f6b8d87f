"""A worker on another machine: it connects to the launcher, does run after run for it, and ends with it."""

import contextlib
import dataclasses
import itertools
import os
import socket
import tempfile
import time
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

from fire.errors import unknown
from fire.files import PATIENCE
from fire.machine import hardware
from fire.train.progress import Note, Progress
from sweep import forkserver
from sweep.arithmetic import here
from sweep.config import Options
from sweep.engines import sharing, wire
from sweep.engines.local import forked
from sweep.pool import SECOND_PATIENCE
from sweep.typed import build

IDLE = 300.0  # seconds without a run after which a worker leaves: others may need its place
SYNC = 30.0  # seconds between two times that an unfinished run's files are sent


@dataclass(frozen=True, kw_only=True)
class Call:
    """What a worker gets to know before it connects."""

    addresses: list[tuple[str, int]]
    key: bytes = field(repr=False)
    runs: int = 0  # after which it leaves; 0: never
    seconds: float = float("inf")  # after which it leaves
    number: int = 0  # which it says when it connects


def serve(call: Call, bell: Connection | None = None) -> None:
    """Do runs until the launcher is gone or needs none, or this worker must leave. Raises WireError if it isn't there.

    bell: the worker must leave when something can be read from it.
    """
    leave_at = time.monotonic() + call.seconds
    connection = wire.connect(call.addresses, call.key)
    with connection, contextlib.suppress(wire.WireError, ConnectionError):
        worker = _Agent(connection, call.number, bell, leave_at)
        for number in itertools.count(1):
            if not worker.do_next(is_last=number == call.runs):
                break


def _sends(store: str, is_shared: bool) -> bool:
    """Whether a worker sends its results back, by the setting `store` and what it has found."""
    match store:
        case "auto":
            return not is_shared
        case "shared":
            return False
        case "driver":
            return True
    raise unknown("hydra.launcher.store", store)


class _Agent:
    def __init__(self, connection: Connection, number: int, bell: Connection | None, leave_at: float) -> None:
        """Greet the launcher. number: of the call."""
        self._connection = connection
        self._context: ForkServerContext = forkserver.context()
        self._bells = [] if bell is None else [bell]
        self._leave_at = leave_at
        welcome = wire.hear(connection, "welcome")
        with contextlib.suppress(OSError):
            os.chdir(welcome["cwd"])  # paths of data and weights may be relative
        options = build(Options, welcome["options"])
        is_there, is_locked = sharing.seen(Path(options.results_dir), welcome["token"])
        self._sends = _sends(welcome["store"], is_there and is_locked)
        names = hardware.gpus() if options.device != "cpu" else []
        place = int(os.environ.get("SLURM_LOCALID", "0"))  # of this process on its machine, within a job
        self._slot = names[place % len(names)] if names else None
        wire.say(
            connection,
            "hello",
            number=number,
            host=socket.gethostname(),
            process=os.getpid(),
            is_there=is_there,
            is_locked=is_locked,
            sends=self._sends,
            arithmetic=dataclasses.asdict(here(options)),
        )

    def do_next(self, *, is_last: bool) -> bool:
        """Wait for a run and do it. Returns whether this worker stays. Raises WireError if the launcher is gone."""
        seconds = min(IDLE, max(0.0, self._leave_at - time.monotonic()))
        if self._connection not in wait([self._connection, *self._bells], seconds):
            return False
        said = wire.hear(self._connection, "run")
        config, options = wire.run_of(said)
        with contextlib.ExitStack() as stack:
            if self._sends:
                options = replace(options, results_dir=stack.enter_context(tempfile.TemporaryDirectory()))
                self._take_files({config.key, config.uncompressed.key}, Path(options.results_dir))
            folder = Path(options.results_dir) / config.key
            sender = sharing.Sender(self._connection, folder) if self._sends else None
            patience = SECOND_PATIENCE if said["again"] else PATIENCE
            process, news = forked(self._context, config, options, self._slot, patience)
            try:
                lost = self._follow(process, news, sender)
            finally:
                process.kill()  # SIGTERM may be blocked: see sweep.engines.slurm
                process.join()
                news.close()
            if sender is not None:
                sender.send(record=True)
            stays = not lost and not is_last
            ended = {"code": process.exitcode or 0, "lost": lost, "record": sharing.digest(folder), "stays": stays}
            wire.say(self._connection, "ended", **ended)
        return stays

    def _take_files(self, keys: set[str], root: Path) -> None:
        """Write the files of the run, and of the run that it compresses, as the launcher has them."""
        while (said := wire.hear(self._connection, "file", "files sent"))["is"] == "file":
            sharing.receive(self._connection, said, root, keys)

    def _follow(self, process: ForkServerProcess, news: Connection, sender: sharing.Sender | None) -> str:
        """Pass the run's news on until its process ends. Returns why this worker must leave, if that ended it."""
        synced = time.monotonic()
        while True:
            ready = wait([news, self._connection, *self._bells], max(0.0, min(self._leave_at - time.monotonic(), 3600)))
            if news in ready:
                try:
                    message: Progress | Note | str = news.recv()
                except (EOFError, OSError):
                    process.join()
                    return ""
                wire.say(self._connection, "news", **wire.of_news(message))
                is_epoch = isinstance(message, Progress) and message.epochs_done == len(message.curve)
                if sender is not None and is_epoch and time.monotonic() > synced + SYNC:
                    sender.send(record=False)
                    synced = time.monotonic()
            elif self._connection in ready:
                wire.hear(self._connection, "stop")
                return ""  # the process is ended
            elif ready or time.monotonic() >= self._leave_at:
                why = "its machine is needed" if ready else "its time is over"
                return f"its worker on {socket.gethostname()} had to leave, as {why}"
