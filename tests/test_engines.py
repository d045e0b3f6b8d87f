"""Engines whose cluster is played by the test: workers that join, are lost or never come, and who else knocks."""

import errno
import os
import socket
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest

from fire.errors import InputError
from sweep.config import Options
from sweep.engines import ray_cluster, slurm, wire
from sweep.engines.door import Door
from sweep.engines.spec import RaySettings, SlurmSettings
from tests.processes import wait_until

HELLO = {
    "host": "far",
    "process": 1,
    "is_there": True,
    "is_locked": True,
    "sends": False,
    "arithmetic": {"precision": "fp32", "kernels": "torch", "threads": 1},
}


@pytest.fixture
def stack():
    with ExitStack() as opened:
        yield opened


def greet(engine, number: int, stack: ExitStack, **said):
    """Connect to the engine as a worker does, and have it take what this worker says. Returns the connection."""
    call = engine.call("localhost")
    connection = stack.enter_context(wire.connect(call.addresses, call.key))
    wire.hear(connection, "welcome")
    wire.say(connection, "hello", **{**HELLO, "number": number, **said})
    assert engine.door.bell.poll(60)
    engine.tend(more=False)
    return connection


def leave(engine, *connections) -> None:
    """Close the connections, and have the engine find that nobody is left."""
    for connection in connections:
        connection.close()
    assert wait_until(lambda: engine.tend(more=False) and not engine.connected)


class Ray:
    """The module ray, with a cluster of five processors whose tasks do nothing until the test ends them."""

    exceptions = SimpleNamespace(RayError=RuntimeError)
    util = SimpleNamespace(get_node_ip_address=lambda: "localhost")

    def __init__(self):
        self.calls, self.ended = {}, {}

    def cluster_resources(self):
        return {"CPU": 5}

    def remote(self, function):
        start = SimpleNamespace(remote=self.start)
        return SimpleNamespace(options=lambda **given: start)

    def start(self, call):
        self.calls[len(self.calls)] = call
        return len(self.calls) - 1

    def wait(self, tasks, num_returns, timeout):
        return [task for task in tasks if task in self.ended], [task for task in tasks if task not in self.ended]

    def get(self, task):
        if self.ended[task]:
            raise RuntimeError(self.ended[task])

    def cancel(self, task, force):
        pass

    def shutdown(self):
        pass

    def end(self, why: str):
        """End all tasks, well if `why` is empty."""
        self.ended = dict.fromkeys(self.calls, why)


@pytest.fixture
def on_ray(tmp_path, monkeypatch):
    cluster = Ray()
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: name)
    monkeypatch.setattr(ray_cluster, "_joined", lambda options: cluster)
    engine = ray_cluster.RayEngine(Options(results_dir=str(tmp_path), device="cpu"), 100, RaySettings())
    yield engine, cluster
    engine.close()


def test_a_node_that_dies_with_five_runs_does_not_end_the_sweep(on_ray, stack):
    engine, cluster = on_ray
    engine.hire()
    connections = [greet(engine, call.number, stack) for call in cluster.calls.values()]
    leave(engine, *connections)
    cluster.end("the node has died")
    engine.hire()
    assert len(cluster.calls) == 2 * len(connections) == 10


def test_ray_tasks_that_never_connect_end_the_sweep_unless_others_do(on_ray, stack):
    engine, cluster = on_ray
    engine.hire()
    healthy = greet(engine, cluster.calls[0].number, stack)
    for _ in range(3):
        cluster.end("no such file")
        engine.hire()
    leave(engine, healthy)
    cluster.end("no such file")
    with pytest.raises(InputError, match=r"^workers cannot start on the Ray cluster: no such file$"):
        engine.hire()


def test_a_worker_of_another_version_is_named_once_and_has_not_started(on_ray, stack):
    engine, cluster = on_ray
    engine.hire()
    for call in cluster.calls.values():
        greet(engine, call.number, stack, of_a_later_version=1)
    assert engine.remarks() == ["host far has another version of this program: its workers get no runs"]
    cluster.end("")
    with pytest.raises(InputError, match=r"^workers cannot start on the Ray cluster: .* another version"):
        engine.hire()


class Queue:
    """SLURM's commands. jobs: what is in its queue; refusal: what sbatch says instead of taking jobs."""

    def __init__(self, folder: Path):
        self._folder = folder
        self.jobs, self.refusal = 0, ""
        texts = {
            "squeue": f"cat {folder}/jobs",
            "sbatch": f"echo >>{folder}/arrays; cat {folder}/refusal >&2; test ! -s {folder}/refusal && echo job 7",
            "srun": "",
            "scancel": "",
        }
        for name, text in texts.items():
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)

    def hire(self, engine) -> int:
        """Have the engine look at the queue. Returns how often it has called sbatch so far."""
        (self._folder / "jobs").write_text("7\n" * self.jobs)
        (self._folder / "refusal").write_text(self.refusal)
        engine.hire()
        return len((self._folder / "arrays").read_text())


@pytest.fixture
def on_slurm(tmp_path, monkeypatch):
    pytest.importorskip("submitit", reason="submitit is not installed (the extra slurm)")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm, "ASK", 0.0)
    queue = Queue(tmp_path)
    engine = slurm.SlurmEngine(Options(results_dir=str(tmp_path / "results"), workers=4), 100, SlurmSettings())
    yield engine, queue
    engine.close()


def test_jobs_that_wait_in_a_busy_queue_have_not_failed(on_slurm, stack):
    engine, queue = on_slurm
    assert queue.hire(engine) == 1
    connections = [greet(engine, 0, stack) for _ in range(4)]
    queue.jobs = 3
    arrays = [queue.hire(engine) for _ in range(4)]  # workers have left one after the other, and the new jobs wait
    assert arrays == [2, 3, 4, 5]
    leave(engine, *connections)
    arrays = [queue.hire(engine) for _ in range(6)]
    assert len(set(arrays[slurm.MOST_FAILURES :])) == 1, "those that wait may bring a worker"
    greet(engine, 0, stack)
    queue.jobs = 0
    assert queue.hire(engine) == arrays[-1] + 1, "one has connected, so others may"


def test_three_arrays_that_end_before_their_workers_connect_end_the_sweep(on_slurm):
    engine, queue = on_slurm
    for _ in range(slurm.MOST_FAILURES):
        queue.hire(engine)
    with pytest.raises(InputError, match=r"^jobs end before their workers connect; what they print is in \S+$"):
        queue.hire(engine)


def test_a_refusal_in_the_midst_of_a_sweep_is_said_once_and_jobs_are_submitted_later(on_slurm, stack):
    engine, queue = on_slurm
    queue.hire(engine)
    greet(engine, 0, stack)
    queue.refusal = "sbatch: error: too many jobs"
    for _ in range(5):
        queue.hire(engine)
    (remark,) = engine.remarks()
    assert remark.startswith("SLURM refuses the jobs: ")
    assert remark.endswith("too many jobs")
    queue.refusal = ""
    assert queue.hire(engine) == 7
    assert engine.remarks() == []


def test_a_cut_network_is_noticed_within_two_minutes_also_while_data_is_on_its_way():
    link = socket.socket()
    with wire.over(link.dup()), link:
        assert link.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 120_000


def test_a_door_stays_open_when_a_connection_cannot_be_taken_now(monkeypatch):
    accept, errors = socket.socket.accept, [errno.EMFILE, errno.ECONNABORTED]

    def sometimes(self):
        if errors:
            raise OSError(errors.pop(), "not now")
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", sometimes)
    monkeypatch.setattr(wire, "HANDSHAKE", 5)
    door = Door({})
    with wire.connect([("localhost", door.port)], door.key) as connection:
        assert wire.hear(connection, "welcome") == {"is": "welcome"}
    assert errors == []
    door.close()


def test_a_stranger_who_says_nothing_is_shown_out_and_a_worker_may_take_its_time(monkeypatch):
    monkeypatch.setattr(wire, "HANDSHAKE", 1)
    door = Door({})
    with socket.create_connection(("localhost", door.port), timeout=30) as silent, silent.makefile("rb") as heard:
        assert b"#CHALLENGE#" in heard.read(), "and then the connection ends"
    with wire.connect([("localhost", door.port)], door.key) as connection:
        wire.hear(connection, "welcome")
        time.sleep(1.5)  # longer than a handshake
        wire.say(connection, "hello")
        assert door.arrived.get(timeout=60)[1] == {"is": "hello"}
    door.close()
