"""The files of runs between launcher and worker, where they share no folder: what is lost or unreadable on the way."""

import json
import os
import socket
import struct
from multiprocessing.connection import Connection

import pytest

from fire.files import locked
from sweep.config import Options
from sweep.engines import sharing, wire
from sweep.engines.remote import Hello, RemoteWorker
from sweep.pool import Ended
from tests.sweeping import TINY, point

CONFIG = point(*TINY).config


class Engine:
    """What a worker needs of its engine."""

    def __init__(self, results) -> None:
        self.options = Options(results_dir=str(results))
        self.remarks: list[str] = []
        self.remark = self.remarks.append

    def ended(self, worker: RemoteWorker, *, stays: bool) -> None:
        """The worker has no run any more."""


@pytest.fixture
def engine(tmp_path) -> Engine:
    return Engine(tmp_path)


@pytest.fixture
def worker(engine):
    """A worker that sends its results, as the launcher has it, and its own end of the connection."""
    ours, theirs = socket.socketpair()
    arithmetic = {"precision": "fp32", "kernels": "torch", "threads": 1}
    hello = Hello(number=0, host="far", process=1, is_there=False, is_locked=False, sends=True, arithmetic=arithmetic)
    made = RemoteWorker(engine, Connection(ours.detach()), hello)
    yield made, theirs
    made.forget()
    made.connection.close()
    theirs.close()


def test_a_worker_whose_machine_dies_within_a_file_is_lost_and_the_launch_goes_on(worker, engine, tmp_path):
    launcher, link = worker
    assert launcher.begin(CONFIG, engine.options, again=False)
    message = json.dumps({"is": "file", "key": CONFIG.key, "name": "checkpoint.pt"}).encode()
    link.sendall(struct.pack("!i", len(message)) + message + struct.pack("!i", 100_000) + b"x" * 50)
    link.close()
    assert launcher.receive() == Ended(lost="its worker on far, process 1, was lost: the connection is closed")
    assert not (tmp_path / CONFIG.key / "checkpoint.pt").exists()


def test_a_file_that_cannot_be_sent_is_named_and_the_run_starts_without_it(worker, engine, tmp_path):
    launcher, link = worker
    folder = tmp_path / CONFIG.key
    folder.mkdir()
    (folder / "checkpoint.pt").touch()
    os.truncate(folder / "checkpoint.pt", sharing.LONGEST_FILE + 1)  # it takes no space
    (folder / "curve.csv").write_text("epoch")
    assert launcher.begin(CONFIG, engine.options, again=False)
    theirs = Connection(os.dup(link.fileno()))
    assert wire.hear(theirs, "run")["config"]["seed"] == 0
    assert wire.hear(theirs, "file") == {"is": "file", "key": CONFIG.key, "name": "curve.csv"}
    assert theirs.recv_bytes() == b"epoch"
    assert wire.hear(theirs, "files sent") == {"is": "files sent"}
    theirs.close()
    (remark,) = engine.remarks
    assert remark == (
        f"{folder}/checkpoint.pt is not sent to host far: it has more than {sharing.LONGEST_FILE:,} bytes"
    )


def test_a_lock_is_left_once_its_launcher_has_ended_but_not_while_it_is_new(tmp_path):
    old, new, held = (tmp_path / name for name in ("old", "new", "held"))
    for path in (old, new, held):
        path.touch()
    os.utime(old, (0, 0))
    with locked(held):
        os.utime(held, (0, 0))
        found = [sharing.is_left(path) for path in (old, new, held, tmp_path / "none")]
    assert found == [True, False, False, False]


def test_tokens_of_killed_launchers_are_removed(tmp_path):
    killed, new = tmp_path / f"{sharing.TOKEN}0", tmp_path / f"{sharing.TOKEN}1"
    with locked(killed):
        new.touch()
    with sharing.token(tmp_path) as first, sharing.token(tmp_path) as second:
        left = sorted(path.name for path in tmp_path.iterdir())
        assert left == sorted([new.name, first, second]), "a launcher that has just made its file may not hold it yet"
        assert sharing.seen(tmp_path, first) == (True, True)
        assert sharing.seen(tmp_path / "other", first) == (False, False)
    assert list(tmp_path.iterdir()) == [new]
