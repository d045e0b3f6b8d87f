"""The process that workers are forked from: it has imported once what every run needs."""

import multiprocessing
import multiprocessing.forkserver
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.context import ForkServerContext, ForkServerProcess

from sweep.commands.exits import RunsError

LONGEST_FOLDER = 60  # bytes: a socket's path may have about 100, and ends in pymp-xxxxxxxx/listener-xxxxxxxx
SHORT_FOLDER = "/tmp"


def context() -> ForkServerContext:
    """The multiprocessing context whose processes are forked from that process."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(["sweep.preloaded"])
    return made


def start(process: ForkServerProcess) -> None:
    """Start the process, and the server before it if need be. Raises RunsError if the server dies, and OSError."""
    try:
        ensure_running()
        process.start()
    except (EOFError, ConnectionError) as error:
        raise RunsError(
            "the process that workers are forked from died; the same command goes on from the last epochs"
        ) from error


def ensure_running() -> None:
    """Start the server unless it runs. Signals that this thread blocks stay blocked in it, and in its processes."""
    with _short_folder(), interrupts_wait():
        multiprocessing.forkserver.ensure_running()


@contextmanager
def _short_folder() -> Iterator[None]:
    """Have sockets made where their paths are not too long, which below TMPDIR they may be."""
    former = tempfile.tempdir
    if len(os.fsencode(tempfile.gettempdir())) > LONGEST_FOLDER:
        tempfile.tempdir = SHORT_FOLDER
    try:
        yield
    finally:
        tempfile.tempdir = former


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Let Ctrl-C wait; processes that are started meanwhile, and their children, never see it.

    Else the server's import of torch, which takes seconds, would end in a traceback.
    """
    resource_tracker.ensure_running()  # it is started by the server's first user, and lets Ctrl-C through again
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
