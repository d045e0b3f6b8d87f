"""Files that are whole or absent, reasons why one cannot be read, and locks that end with the process that holds them.

Standard library only.
"""

import errno
import fcntl
import math
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import BinaryIO

from fire.errors import InputError

PATIENCE = 0.2  # seconds to wait for a lock: whoever asks which process holds it, takes it for a moment


class WriteError(OSError):
    """A file cannot be written, as on a full disk. It has the file's name, which an OSError of writing lacks."""


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file that appears under its name only when it is complete and on the disk.

    A process killed at any moment leaves the former file, or none; other processes never see a part of it.
    Raises WriteError if the disk is full or the folder is read-only; the former file stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with _naming(path):
        try:
            with open(temporary, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync_directory(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn an OSError into a WriteError that names the file."""
    try:
        yield
    except OSError as error:
        raise WriteError(error.errno, error.strerror, str(path)) from error


def read(path: Path | str, most: int = 2**30) -> bytes:
    """The content of a regular file of at most `most` bytes.

    Raises OSError for anything else: a pipe would block, a device may have no end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        if status.st_size > most:
            raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", str(path))
        parts = []
        while part := os.read(descriptor, status.st_size + 1):
            parts.append(part)
        return b"".join(parts)
    finally:
        os.close(descriptor)


def write(path: Path, content: bytes | str) -> None:
    """Write the whole file at once, as `replacing` does."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def append(path: Path, text: str) -> None:
    """Add lines to the file, which is made if need be. Raises WriteError if that is not possible.

    A last line without an end, which a machine leaves that loses its power, gets one first.
    """
    with _naming(path), open(path, "a+b", buffering=0) as file:  # a buffer would be written again when it is closed
        if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
            text = "\n" + text
        content = text.encode(errors="backslashreplace")
        while content:  # a disk that gets full takes a part, and refuses the rest
            content = content[file.write(content) :]


@contextmanager
def reading(field: str, path: Path, rule: str) -> Iterator[None]:
    """Say in one InputError what is wrong with the file that is read within: `field must be rule, got path: reason`.

    Looks first whether it is a file that can be read and has content. The reason is then that of the OSError or
    ValueError (InputErrors are such) that is raised within.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError("it is a directory" if path.is_dir() else "it is a device or a pipe")
        with open(path, "rb") as file:
            if not file.read(1):
                raise InputError("it is empty")
        yield
    except OSError as error:
        raise InputError(f"{field} must be a readable file, got {str(path)!r}: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{field} must be {rule}, got {str(path)!r}: {error}") from error


def cache_folder() -> Path:
    """The user's folder of files that can be made again: $XDG_CACHE_HOME, or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "squeezenet-explorer"


def _sync_directory(path: Path) -> None:
    # Without it the rename itself could be lost with the power.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(path: Path, patience: float = math.inf) -> Iterator[bool]:
    """Hold the lock of that file. Yields whether it is held: False if another process kept it for `patience` seconds.

    The kernel drops the lock when the process ends, however it ends. The file stays, and names the last process that
    held the lock: see `holder`.
    """
    if not path.parent.is_dir():  # without it, a folder that vanishes while this is asked would be made anew
        path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab", buffering=0) as file:
        held = _lock(file, patience)
        if held:
            with suppress(OSError):  # of a full disk: the lock holds without a name
                file.truncate(0)
                file.write(f"host {socket.gethostname()}, process {os.getpid()}".encode())
        yield held


def holder(path: Path) -> str | None:
    """Who holds the lock of that file, as "host NAME, process NUMBER"; None if nobody does, or if it cannot be read."""
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: several may look at once
            return None
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except BlockingIOError:
        with suppress(OSError):  # it may vanish now
            return path.read_text(errors="replace")[:100] or "another process"
        return "another process"


def _lock(file: FileIO, patience: float) -> bool:
    if patience == math.inf:
        fcntl.flock(file, fcntl.LOCK_EX)
        return True
    end = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
            time.sleep(0.01)
        else:
            return True
