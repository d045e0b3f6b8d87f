"""Data sets that torchvision downloads."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fire.data.sources import Decoded
from fire.data.spec import DataSpec
from fire.errors import MissingDataError

Part = tuple[NDArray[np.uint8], ArrayLike, tuple[str, ...]]  # images (N, C, S, S), labels (N,), the classes by label


def from_torchvision(spec: DataSpec, data_dir: Path, load: Callable[[str, str, bool], Part], files: str) -> Decoded:
    """Read both parts of a data set, which torchvision downloads where its files are missing and data.root is not set.

    load: reads the part "train" or "test" in a folder, and may download it or not. files: what the folder must have
    where nothing is downloaded. Raises MissingDataError if a part is neither in the folder nor can be downloaded.
    """
    home = data_dir / spec.name if spec.root is None else Path(spec.root)
    arrays: dict[str, NDArray[Any]] = {}
    try:
        for part in ("train", "test"):
            with socket_timeout(20):
                images, labels, classes = load(str(home), part, spec.root is None)
            arrays[f"{part}_images"] = np.ascontiguousarray(images)
            arrays[f"{part}_labels"] = np.asarray(labels, np.int64)
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        found = "not on this machine and cannot be downloaded" if spec.root is None else "missing or damaged there"
        raise MissingDataError(f"{spec.name} is {found} ({one_line(error)}). Put {files} into {home}") from error
    return Decoded(arrays, classes)


@contextmanager
def socket_timeout(seconds: float) -> Iterator[None]:
    """Let connections made meanwhile fail after this long without an answer."""
    # Where a firewall drops packets, a download without a timeout would wait for ever.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def one_line(error: object) -> str:
    """The error's message in one line of at most 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
