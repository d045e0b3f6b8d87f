"""The body of a worker process, which does one run for the launcher. Imports torch only when it is called."""

import contextlib
import os
import signal
import threading
from dataclasses import replace
from multiprocessing.connection import Connection

from fire.files import PATIENCE
from sweep.commands.exits import ELSEWHERE, FAILED, described
from sweep.config import Options, RunConfig


def work(
    config: RunConfig, options: Options, slot: str | None, connection: Connection, patience: float = PATIENCE
) -> None:
    """Do the run and send its progress; also, in words, why it left no record.

    slot: the GPU to use, by its name in CUDA_VISIBLE_DEVICES. patience: see sweep.run.run. Raises SystemExit with a
    code other than 0 if there is no record; ELSEWHERE: another process is at the run.
    """
    if slot is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = slot  # torch has not looked at the GPUs yet
    options = placed(options, slot)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the launcher ends its workers
    from sweep.run import BusyError, run

    threading.Thread(target=_follow_launcher, args=(connection,), daemon=True).start()
    try:
        run(config, options, connection.send, patience=patience, anew=False)
    except Exception as error:  # the launcher shows why there is no record
        with contextlib.suppress(OSError):
            connection.send(described(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}")
        raise SystemExit(ELSEWHERE if isinstance(error, BusyError) else FAILED) from error


def placed(options: Options, slot: str | None) -> Options:
    """The options of a run that has been given a GPU, the only one that it sees, or none.

    Not "auto" on a GPU: where torch cannot use it, the run fails and says so, instead of training on the processor.
    """
    return options if slot is None else replace(options, device="cuda")


def _follow_launcher(connection: Connection) -> None:
    """End this process when the launcher is gone, even if it was killed: no orphans."""
    with contextlib.suppress(EOFError, OSError):
        connection.recv()
    os._exit(1)
