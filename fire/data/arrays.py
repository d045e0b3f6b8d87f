"""Arrays as .npy files that are mapped into memory."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import DTypeLike, NDArray

Map = np.memmap[Any, np.dtype[Any]]


def allocate(path: Path, shape: Sequence[int], dtype: DTypeLike) -> Map:
    """A new .npy file of zeros of that shape, mapped into memory, with all its space reserved on the disk.

    Raises OSError if the disk has too little space. Without the reservation the file would be sparse, and a process
    that writes beyond the space there is would be killed by SIGBUS.
    """
    array: Map = open_memmap(path, mode="w+", dtype=dtype, shape=tuple(shape))
    if hasattr(os, "posix_fallocate"):  # not on macOS
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def save(path: Path, array: NDArray[Any]) -> None:
    """Write the array as a .npy file; on return it is on the disk. Raises OSError if there is too little space."""
    stored = allocate(path, array.shape, array.dtype)
    stored[...] = array
    stored.flush()
