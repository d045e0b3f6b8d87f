"""Image files as columns: a million of them take 100 MB, a tenth of what as many objects would."""

import os
import unicodedata
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

Positions = Sequence[int] | NDArray[np.int64]
START, END, LABEL, SIZE, MODIFIED, CHANGED = range(6)  # columns


class ImageFile(NamedTuple):
    """An image file. Its name is train/<class>/<path in the class>, in one form of Unicode wherever it lies."""

    path: str  # as the system has it: maybe no valid Unicode
    name: str
    label: int
    size_bytes: int
    modified_ns: int
    changed_ns: int  # when anything about the file last changed; unlike modified_ns, no program can set it back


class FileList(Sequence[ImageFile]):
    """The image files below a folder, root/train or root/val; each is made when it is asked for.

    rows: (N, 6) int64, a file a row: where its path starts and ends in `paths`, label, size in bytes, modified and
    changed in nanoseconds. paths: uint8, all paths below the folder, one behind the other.
    """

    def __init__(self, folder: str, rows: NDArray[np.int64], paths: NDArray[np.uint8]) -> None:
        self.folder, self.rows, self.paths = folder, rows, paths
        self._part = text(Path(folder).name)

    @classmethod
    def of(cls, folder: str, files: Iterable[ImageFile]) -> "FileList":
        """The list of these files, which lie below the folder."""
        above = len(os.fsencode(folder)) + 1
        paths, rows = bytearray(), array("q")
        for file in files:
            start = len(paths)
            paths += os.fsencode(file.path)[above:]
            rows.extend((start, len(paths), file.label, file.size_bytes, file.modified_ns, file.changed_ns))
        return cls(folder, np.frombuffer(rows, np.int64).reshape(-1, 6), np.frombuffer(paths, np.uint8))

    def at(self, positions: Positions) -> "FileList":
        """The files at these positions."""
        return FileList(self.folder, self.rows[positions], self.paths)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, position: int) -> ImageFile: ...
    @overload
    def __getitem__(self, position: slice) -> Sequence[ImageFile]: ...
    def __getitem__(self, position: int | slice) -> ImageFile | Sequence[ImageFile]:
        if isinstance(position, slice):
            return [self[i] for i in range(*position.indices(len(self)))]
        start, end, label, size, modified, changed = self.rows[position].tolist()
        path = os.fsdecode(self.paths[start:end].tobytes())
        return ImageFile(f"{self.folder}/{path}", f"{self._part}/{text(path)}", label, size, modified, changed)

    def __iter__(self) -> Iterator[ImageFile]:
        return (self[position] for position in range(len(self)))  # a Sequence's own stops at any IndexError

    @property
    def labels(self) -> NDArray[np.int64]:
        """Of the files, (N,)."""
        return self.rows[:, LABEL]

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return int(self.rows[:, SIZE].sum())


def text(name: str) -> str:
    """A name of the file system as valid Unicode in normal form C: macOS has decomposed accents, others composed ones.

    Bytes that are no UTF-8 are escaped: a name in Latin-1 becomes caf\\xe9.
    """
    return unicodedata.normalize("NFC", os.fsencode(name).decode(errors="backslashreplace"))
