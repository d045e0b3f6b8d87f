import fcntl
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

import fire
from fire.files import append, holder, locked, replacing, write

ROOT = Path(fire.__file__).parents[1]


def python(code: str, *arguments: object) -> subprocess.Popen:
    """Another process that runs the code."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_write_makes_or_replaces_the_whole_file(tmp_path):
    path = tmp_path / "record.json"
    write(path, "a long first content")
    write(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(tmp_path.iterdir()) == [path]


def test_file_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "record.json"
    with replacing(path) as file:
        file.write(b"content")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"content"


def test_error_while_writing_leaves_the_former_file_and_nothing_else(tmp_path):
    path = tmp_path / "record.json"
    write(path, "former")

    def fail():
        with replacing(path) as file:
            file.write(b"half")
            raise RuntimeError("disk on fire")

    with pytest.raises(RuntimeError, match="disk on fire"):
        fail()
    assert path.read_text() == "former"
    assert list(tmp_path.iterdir()) == [path]


def test_process_killed_while_writing_leaves_the_former_file(tmp_path):
    path = tmp_path / "record.json"
    write(path, "former")
    writer = python(
        "import os, signal, sys; from pathlib import Path; from fire.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as file:\n"
        "    file.write(b'half'); file.flush(); os.kill(os.getpid(), signal.SIGKILL)",
        path,
    )
    writer.communicate(timeout=60)
    assert writer.returncode == -signal.SIGKILL
    assert path.read_text() == "former"


def test_lines_are_added_behind_one_that_was_cut_short(tmp_path):
    path = tmp_path / "log"
    append(path, "first\n")
    append(path, "second\n")
    assert path.read_text() == "first\nsecond\n"
    path.write_text("first\nsec")
    append(path, "third\n")
    assert path.read_text() == "first\nsec\nthird\n"


def test_lines_that_a_full_disk_takes_in_part_are_an_error(tmp_path):
    writer = python(
        "import resource, signal, sys; from pathlib import Path; from fire.files import append\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))\n"
        "append(Path(sys.argv[1]), 'a line of more than twenty bytes\\n')",
        tmp_path / "log",
    )
    _, error = writer.communicate(timeout=60)
    assert "WriteError: [Errno 27] File too large" in error
    assert (tmp_path / "log").read_text() == "a line of more than "


def test_lock_is_held_once_at_a_time(tmp_path):
    lock = tmp_path / "locks" / "run.lock"
    with locked(lock) as first:
        assert first
        with locked(lock, patience=0) as second:
            assert not second
    with locked(lock, patience=0) as third:
        assert third
    assert lock.exists()


def test_lock_excludes_another_process_until_that_is_killed(tmp_path):
    lock = tmp_path / "run.lock"
    process = python(
        "import sys, time; from pathlib import Path; from fire.files import locked\n"
        "with locked(Path(sys.argv[1])):\n"
        "    print('held', flush=True); time.sleep(600)",
        lock,
    )
    try:
        assert process.stdout.readline() == "held\n"
        with locked(lock, patience=0) as held:
            assert not held
        assert holder(lock) == f"host {socket.gethostname()}, process {process.pid}"
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    assert holder(lock) is None
    with locked(lock, patience=0) as held:
        assert held


def test_a_lock_that_is_not_there_has_no_holder(tmp_path):
    (tmp_path / "file").write_text("")
    assert holder(tmp_path / "no.lock") is None
    assert holder(tmp_path / "file" / "no.lock") is None
    assert not (tmp_path / "no.lock").exists()


def test_who_looks_for_the_holder_is_not_taken_for_one(tmp_path):
    lock = tmp_path / "run.lock"
    with locked(lock):
        pass
    with open(lock, "rb") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert holder(lock) is None


def test_a_patient_taker_gets_a_lock_that_is_held_for_a_moment(tmp_path):
    lock = tmp_path / "run.lock"
    with ExitStack() as probe, ThreadPoolExecutor(1) as pool:
        assert probe.enter_context(locked(lock))
        taken = pool.submit(lambda: _taken(lock, patience=60))
        assert not _taken(lock, patience=0.05)
        probe.close()
        assert taken.result()


def _taken(lock, patience) -> bool:
    with locked(lock, patience) as held:
        return held


def test_lock_lets_processes_take_turns(tmp_path):
    counter = tmp_path / "counter"
    counter.write_text("0")
    code = (
        "import sys, time; from pathlib import Path; from fire.files import locked\n"
        "counter = Path(sys.argv[1])\n"
        "for _ in range(30):\n"
        "    with locked(counter.with_name('lock')):\n"
        "        number = int(counter.read_text()); time.sleep(0.001); counter.write_text(str(number + 1))"
    )
    processes = [python(code, counter) for _ in range(3)]
    for process in processes:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert counter.read_text() == "90"  # without the lock, increments get lost
