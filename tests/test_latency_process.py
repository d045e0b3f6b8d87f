"""The process in which a search measures the latencies of networks from elsewhere."""

import os
import signal
import time
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


def test_ctrl_c_does_not_wait_for_the_measurements(monkeypatch, tmp_path):
    monkeypatch.setattr(latencies, "take_here", slow)
    with pytest.raises(KeyboardInterrupt):
        latencies.take(tmp_path / "ended", None, [])
    assert not (tmp_path / "ended").exists(), "the process is no more, and was not waited for"
