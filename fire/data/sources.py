"""From the files of a data set to uint8 arrays (N, C, S, S): the reader of its name decodes them. No torch."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fire.data.spec import DataSpec
from fire.errors import DataError


class Decoded(NamedTuple):
    """train_images, train_labels, test_images, test_labels, and the classes by label.

    Of streamed images, train_files and test_files are in the place of train_images and test_images: which of the
    folder's files they are. skipped: how many images could not be read. left_out: what else an image folder holds, as
    folders.summary says it. histograms: of streamed training images, (C, 256) int64.
    """

    arrays: dict[str, NDArray[Any]]
    class_names: tuple[str, ...]
    skipped: int = 0
    left_out: str = ""
    histograms: NDArray[np.int64] | None = None


def check_root(spec: DataSpec) -> None:
    """Raise DataError if a root is configured that is no folder."""
    if spec.root is not None and not Path(spec.root).is_dir():
        raise DataError(f"data.root must be an existing folder, got {spec.root!r}")


Reader = Callable[[DataSpec, Path, Path], Decoded]


def decode(spec: DataSpec, data_dir: Path, out: Path) -> Decoded:
    """Find the data set, downloading it into data_dir if need be, and decode it. Large arrays are .npy maps in out.

    Raises MissingDataError if it cannot be found or downloaded, DataError if it cannot be read or does not fit the
    specification.
    """
    read: Reader = import_module(f"fire.data.readers.{spec.name}").read
    decoded = read(spec, data_dir, out)
    square = (spec.channels, spec.stored_size, spec.stored_size)
    shape = decoded.arrays["train_images"].shape[1:] if decoded.histograms is None else square
    if shape != square:
        raise DataError(
            f"data.channels and data.stored_size must be {shape[0]} and {shape[1]} for {spec.name}, "
            f"got {spec.channels} and {spec.stored_size}"
        )
    return decoded
