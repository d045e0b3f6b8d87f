"""Whether a worker and the launcher share the results folder and its locks; a run's files where they do not."""

import contextlib
import hashlib
import re
import secrets
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from fire import files
from sweep.engines import wire

RECORD = "record.json"
TOKEN = ".shared-"
JUST = 60.0  # seconds: a lock that is younger and was never held may be about to be
LONGEST_FILE = 2**31  # bytes
SEEN_WITHIN = 90.0  # seconds: NFS may remember for a minute that a file was not there, or what it was


def is_left(lock: Path) -> bool:
    """Whether the launcher that made this lock has ended. One that has just been made may not be held yet."""
    try:
        made = lock.stat()  # before the look at its holder, whom a lock names as soon as it is held
    except FileNotFoundError:
        return False
    return (made.st_size > 0 or made.st_mtime < time.time() - JUST) and files.holder(lock) is None


@contextlib.contextmanager
def token(results_dir: Path) -> Iterator[str]:
    """The name of a new file in the folder whose lock this process holds meanwhile. Raises OSError."""
    for former in results_dir.glob(f"{TOKEN}*"):
        if is_left(former):
            former.unlink(missing_ok=True)
    name = f"{TOKEN}{secrets.token_hex(8)}"
    try:
        with files.locked(results_dir / name, patience=0):
            yield name
    finally:
        (results_dir / name).unlink(missing_ok=True)


def seen(results_dir: Path, name: str) -> tuple[bool, bool]:
    """Whether this process finds the token's file in the folder, and sees that its lock is held."""
    path = results_dir / name
    return path.is_file(), files.holder(path) is not None


def digest(folder: Path) -> str:
    """The SHA-256 of the run's record; empty if it has none."""
    try:
        return hashlib.sha256(files.read(folder / RECORD)).hexdigest()
    except OSError:
        return ""


def await_record(folder: Path, expected: str, seconds: float = SEEN_WITHIN) -> None:
    """Wait until this machine sees the record that a worker on another one has written, at most for `seconds`."""
    end = time.monotonic() + seconds
    while expected and digest(folder) != expected and time.monotonic() < end:
        time.sleep(0.1)


class Sender:
    """Sends the files of a run's folder that are new or have changed since they were sent last."""

    def __init__(self, connection: Connection, folder: Path) -> None:
        self._connection = connection
        self._folder = folder
        self._sent = self._stamps()  # what is there came from the other side

    def send(self, *, record: bool) -> None:
        """Send the files that changed; the record, if asked for, last. Raises OSError."""
        stamps = self._stamps()
        changed = [name for name, stamp in stamps.items() if self._sent.get(name) != stamp and name != RECORD]
        for name in [*changed, *([RECORD] if record and RECORD in stamps else [])]:
            with contextlib.suppress(FileNotFoundError):  # a checkpoint that was no longer needed
                send(self._connection, self._folder.name, name, content(self._folder, name))
                self._sent[name] = stamps[name]

    def _stamps(self) -> dict[str, tuple[int, int, int]]:
        stamps = {}
        for name in names(self._folder):
            with contextlib.suppress(FileNotFoundError):
                status = (self._folder / name).stat()
                stamps[name] = (status.st_mtime_ns, status.st_size, status.st_ino)
        return stamps


def names(folder: Path) -> list[str]:
    """The files of a run's folder, without locks and files that are being written."""
    if not folder.is_dir():
        return []
    return sorted(path.name for path in folder.iterdir() if _is_of_a_run(path.name) and path.is_file())


def content(folder: Path, name: str) -> bytes:
    """What is in a file of the folder. Raises OSError if it cannot be read, or is longer than can be sent."""
    return files.read(folder / name, LONGEST_FILE)


def send(connection: Connection, key: str, name: str, content: bytes) -> None:
    """Send a file of a run. Raises OSError if the other side is gone."""
    wire.say(connection, "file", key=key, name=name)
    connection.send_bytes(content)


def receive(connection: Connection, said: wire.Said, root: Path, keys: set[str]) -> None:
    """Write the file whose message has come, of a run with one of the keys, below the root.

    Raises WireError for any other file, WriteError if it cannot be written.
    """
    key, name = said.get("key"), said.get("name")
    if key not in keys or not isinstance(name, str) or not _is_of_a_run(name):
        raise wire.WireError(f"a file must be of a run under way, got {str(said)[:100]!r}")
    try:
        content = connection.recv_bytes(LONGEST_FILE)
    except (EOFError, OSError) as error:  # OSError: it ends within the file
        raise wire.WireError("the connection is closed") from error
    folder = root / str(key)
    folder.mkdir(parents=True, exist_ok=True)
    files.write(folder / name, content)


def _is_of_a_run(name: str) -> bool:
    return re.fullmatch(r"\w[\w.]*", name) is not None
