"""Workers that connect to the launcher, as on another machine: here they are processes of a Python of their own."""

import hashlib
import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fire.files import PATIENCE, locked
from fire.train.progress import Epoch, Note, Progress
from sweep.commands.display import Display
from sweep.commands.exits import ELSEWHERE
from sweep.config import Options
from sweep.engines import agent, sharing, wire
from sweep.engines.agent import Call
from sweep.engines.door import Door
from sweep.engines.remote import RemoteEngine
from sweep.points import Point
from sweep.pool import Ended, Pool
from sweep.run import run
from sweep.store import Store
from tests.clusters import BLIND, EXPIRING, HIDES, PROGRAM, facts
from tests.processes import opened, session, wait_until
from tests.records import record_of
from tests.sweeping import ROOT, TINY, launch


class ProcessEngine(RemoteEngine):
    """One worker at a time. calls: what each of them gets, the last one again and again. before: words of a command."""

    def __init__(self, options: Options, *, store="auto", before=(), lives=(float("inf"),), runs=0) -> None:
        super().__init__(options, store=store)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.before, self.lives, self.runs = before, list(lives), runs

    def hire(self) -> None:
        if all(process.poll() is not None for process in self.processes):
            life = self.lives.pop(0) if len(self.lives) > 1 else self.lives[0]
            command = [*self.before, sys.executable, "-c", PROGRAM]
            process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
            process.stdin.write(pickle.dumps(self.call("localhost", seconds=life, runs=self.runs)))
            process.stdin.close()
            self.processes.append(process)

    def dismiss(self) -> None:
        for process in self.processes:
            assert process.wait(timeout=60) == 0, process.stderr.read()
            process.stderr.close()


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def here(data_dir, tmp_path_factory):
    """The run in this process."""
    launched = launch(*TINY, f"data_dir={data_dir}", f"results_dir={tmp_path_factory.mktemp('here')}")
    run(*launched)
    return launched


def elsewhere(here, results: Path, capsys, *, configs=(), timeout=0.0, **settings) -> tuple[str, dict[str, str]]:
    """The same run, or others, through an engine of processes: what is printed, and why runs left no record."""
    options = here.having(results_dir=str(results), timeout=timeout).options
    waiting = iter([(config, options) for config in configs or [here.config]])
    engine = ProcessEngine(options, **settings)
    try:
        with Display([], options) as display:
            for config in configs or [here.config]:
                display.add(Point(overrides=(), config=config), f"run {config.seed}")
            Pool(engine, lambda under_way: next(waiting, None), display).run()
    finally:
        engine.close()
    return capsys.readouterr().out, display.reasons


def test_a_run_elsewhere_has_the_bits_of_a_run_here(here, tmp_path, capsys):
    out, reasons = elsewhere(here, tmp_path, capsys)
    assert (facts(tmp_path), reasons) == (facts(here.store.root), {})
    assert "run 0: epoch 3/3" in out
    assert "sends its results" not in out


def test_a_worker_whose_time_is_over_gives_its_run_to_the_next(here, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tests.test_remote.PROGRAM", EXPIRING)
    out, reasons = elsewhere(here, tmp_path, capsys, lives=(3600.0, float("inf")))
    assert (facts(tmp_path), reasons) == (facts(here.store.root), {})
    assert f"once more run 0: its worker on {socket.gethostname()} had to leave, as its time is over" in out


def test_a_worker_of_one_run_is_not_given_another(here, tmp_path, capsys):
    configs = [replace(here.config, seed=seed) for seed in (0, 1)]
    out, reasons = elsewhere(here, tmp_path, capsys, configs=configs, runs=1)
    assert reasons == {}
    assert out.count("finished run") == 2
    assert "once more" not in out


def test_a_run_is_stopped_when_its_time_is_over(here, tmp_path, capsys):
    long = launch(*TINY, "train.epochs=10000").config
    out, reasons = elsewhere(here, tmp_path, capsys, configs=[long], timeout=5.0)
    assert "timeout=5 seconds are over" in reasons[long.key]
    assert "once more" not in out


def test_workers_are_dismissed_whatever_cannot_be_closed(here, tmp_path, monkeypatch):
    engine, dismissed = ProcessEngine(here.having(results_dir=str(tmp_path)).options), []
    engine._stack.callback(lambda: 1 / 0)
    monkeypatch.setattr(engine, "dismiss", lambda: dismissed.append(engine))
    with pytest.raises(ZeroDivisionError):
        engine.close()
    assert dismissed == [engine]


@pytest.mark.parametrize(
    ("store", "is_shared", "sends"),
    [
        ("auto", True, False),
        ("auto", False, True),
        ("driver", True, True),
        ("shared", False, False),  # the user knows better
    ],
)
def test_who_writes_results(store, is_shared, sends):
    assert agent._sends(store, is_shared) is sends


def can_hide() -> bool:
    unshare = shutil.which("unshare")
    return unshare is not None and subprocess.run([unshare, "--mount", "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not can_hide(), reason="mount namespaces need root")
def test_results_are_sent_back_where_the_worker_does_not_see_the_folder(here, tmp_path, capsys):
    results = tmp_path / "results"
    results.mkdir()
    hidden = ("unshare", "--mount", "sh", "-c", HIDES.format(folder=results), "sh")
    first = here.having(results_dir=str(results), stop_epoch=1)
    run(*first)  # the worker goes on from a checkpoint that it must be sent
    out, reasons = elsewhere(here, results, capsys, before=hidden)
    assert f"host {socket.gethostname()} sends its results here, and this process writes them\n" in out
    assert (facts(results), reasons) == (facts(here.store.root), {})
    assert (results / here.config.key / "log").read_text().count(" epoch 1: ") == 1


def test_where_locks_do_not_reach_the_driver_alone_writes(here, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tests.test_remote.PROGRAM", BLIND)
    out, reasons = elsewhere(here, tmp_path, capsys)
    assert f"locks in results_dir do not reach host {socket.gethostname()}: " in out
    assert "Start no other launch on these results from another machine" in out
    assert (facts(tmp_path), reasons) == (facts(here.store.root), {})


def test_a_worker_that_sends_is_sent_the_network_that_it_compresses(here, tmp_path, capsys):
    shutil.copytree(here.folder, tmp_path / here.config.key)
    compressed = launch(*TINY, "compress=entropy", "compress.epochs=1").config
    before = (tmp_path / here.config.key / "record.json").stat().st_mtime_ns
    out, reasons = elsewhere(here, tmp_path, capsys, store="driver", configs=[compressed])
    record = Store(tmp_path).read(compressed.key)
    assert (record.status, record.float_key, reasons) == ("finished", here.config.key, {}), out
    assert (tmp_path / compressed.key / "network.fcn").stat().st_size == record.file_bytes
    assert (tmp_path / here.config.key / "record.json").stat().st_mtime_ns == before, "not trained again"


def test_a_run_under_way_elsewhere_is_not_sent_out(here, tmp_path, capsys):
    with locked(tmp_path / here.config.key / ".lock"):
        out, reasons = elsewhere(here, tmp_path, capsys, store="driver")
    assert "elsewhere run 0: under way on host" in out
    assert reasons == {}


def test_the_second_copy_of_a_run_waits_for_the_first(here, tmp_path, capsys):
    """The launcher has lost a worker that goes on for a while: its lock is held until it ends."""
    lock = (tmp_path / here.config.key / ".lock").resolve()
    copy = locked(lock)
    copy.__enter__()

    def release() -> None:
        waits = wait_until(lambda: any(lock in opened(pid) for pid in session(os.getsid(0)) - {os.getpid()}))
        time.sleep(5 * PATIENCE)  # for longer than a first copy would wait
        copy.__exit__(None, None, None)
        assert waits

    options = here.having(results_dir=str(tmp_path)).options
    engine = ProcessEngine(options)
    try:
        engine.arithmetic()  # waits for the worker
        worker = engine.start(here.config, options, again=True)
        threading.Thread(target=release).start()
        while not isinstance(message := worker.receive(), Ended):
            assert not isinstance(message, str), message
    finally:
        engine.close()
    assert message == Ended()
    assert facts(tmp_path) == facts(here.store.root)


def test_a_first_copy_does_not_wait(here, tmp_path):
    options = here.having(results_dir=str(tmp_path)).options
    engine = ProcessEngine(options)
    try:
        engine.arithmetic()
        with locked(tmp_path / here.config.key / ".lock"):
            worker = engine.start(here.config, options, again=False)
            assert "is under way elsewhere" in worker.receive()
            assert worker.receive() == Ended(code=ELSEWHERE)
    finally:
        engine.close()


def test_a_worker_ends_its_run_with_the_launcher(here, tmp_path):
    options = here.having(results_dir=str(tmp_path), timeout=0).options
    engine = ProcessEngine(options)
    engine.arithmetic()
    long = launch(*TINY, "train.epochs=10000").config
    engine.start(long, options, again=False)
    store = Store(tmp_path)
    assert wait_until(lambda: len(store.curve(long.key)) > 0, 120)
    engine.close()  # it waits for its worker
    assert store.holder(long.key) is None
    assert (store.folder(long.key) / "checkpoint.pt").exists()
    assert not list(tmp_path.glob(f"{sharing.TOKEN}*"))


def test_a_stranger_is_not_let_in_and_keeps_nobody_out():
    door = Door({"hello": "you"})
    silent = socket.create_connection(("localhost", door.port))
    with pytest.raises(wire.WireError, match="AuthenticationError"):
        wire.connect([("localhost", door.port)], b"x" * wire.KEY_BYTES)
    with wire.connect([("localhost", door.port)], door.key) as connection:
        assert wire.hear(connection, "welcome") == {"is": "welcome", "hello": "you"}
        wire.say(connection, "hello", host="there")
        assert door.arrived.get(timeout=60)[1] == {"is": "hello", "host": "there"}
    silent.close()
    door.close()


def test_a_launcher_without_the_key_is_no_launcher():
    door = Door({})
    with pytest.raises(wire.WireError, match="AuthenticationError"):
        wire.connect([("localhost", 1), ("localhost", door.port)], b"")
    door.close()


@pytest.mark.parametrize(
    "overrides",
    [
        TINY,
        (*TINY, "compress=deep_compression"),
        ("arch=alexnet", "data=cifar10", "data.stored_size=227", "data.image_size=227"),
    ],
)
def test_a_run_and_its_news_come_through_the_wire_as_they_were(overrides):
    launched = launch(*overrides)
    said = json.loads(json.dumps(wire.of_run(*launched)))
    assert wire.run_of(said) == tuple(launched)
    row = Epoch(epoch=1, lr=0.1, train_loss=1e-9, validation_loss=2, validation_top1=1 / 3, train_seconds=1, seconds=1)
    progress = Progress(epochs_done=1.5, epochs=3, loss=float("inf"), images_per_second=1 / 7, curve=(row,))
    for news in (progress, Note(text="anew"), "no data"):
        assert wire.news_of(json.loads(json.dumps(wire.of_news(news)))) == news


@pytest.mark.parametrize("name", ["../record.json", ".lock", "a/b", "", "record.json\n", 7, None])
def test_no_file_is_written_outside_of_a_run_s_folder(name, tmp_path):
    with pytest.raises(wire.WireError, match="a file must be of a run under way"):
        sharing.receive(None, {"key": "0" * 16, "name": name}, tmp_path, {"0" * 16})
    with pytest.raises(wire.WireError, match="a file must be of a run under way"):
        sharing.receive(None, {"key": "..", "name": "log"}, tmp_path, {"0" * 16})
    assert list(tmp_path.iterdir()) == []


def test_a_record_that_appears_late_is_waited_for(tmp_path, here):
    record = record_of(here.config, 0.5)
    store = Store(tmp_path)
    store.write(record)
    folder = store.folder(record.key)
    content = (folder / "record.json").read_bytes()
    (folder / "record.json").write_text("an earlier one")
    threading.Timer(0.5, lambda: (folder / "record.json").write_bytes(content)).start()
    sharing.await_record(folder, hashlib.sha256(content).hexdigest(), seconds=60)
    assert store.read(record.key) == record
    began = time.monotonic()
    sharing.await_record(folder, "of no file", seconds=0.2)
    assert time.monotonic() - began >= 0.2


def test_a_call_hides_its_key():
    assert "secret" not in repr(Call(addresses=[], key=b"secret"))
