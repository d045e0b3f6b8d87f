"""The process in which a search measures the latencies of networks from elsewhere."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sweep.commands.exits import RunsError
from sweep.search import latencies


def killed(*given: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def interrupted(*given: object) -> str:
    """As Ctrl-C on a terminal, which all its processes get."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.1)
    return "went on"


def test_a_process_that_is_killed_is_one_line(monkeypatch):
    monkeypatch.setattr(latencies, "take_here", killed)
    with pytest.raises(RunsError, match=r"^the process that measures latencies has died; the same command goes on$"):
        latencies.take(None, None, [])


def test_ctrl_c_is_the_launchers_alone(monkeypatch):
    monkeypatch.setattr(latencies, "take_here", interrupted)
    assert latencies.take(None, None, []) == "went on"


def slow(marker: Path, *given: object) -> None:
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(10)
    marker.touch()


@pytest.fixture
def heeded() -> Iterator[None]:
    """Ctrl-C is an exception, as in a command that begins. Jobs in a shell's background ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_does_not_wait_for_the_measurements(heeded, monkeypatch, tmp_path):
    monkeypatch.setattr(latencies, "take_here", slow)
    with pytest.raises(KeyboardInterrupt):
        latencies.take(tmp_path / "ended", None, [])
    assert not (tmp_path / "ended").exists(), "the process is no more, and was not waited for"
