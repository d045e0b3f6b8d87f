"""Folders of images: root/train/<class>/ and root/val/<class>/, with images at any depth. ImageNet is such a folder.

root/val serves as the test set, as usual for ImageNet, whose test labels are not public.
"""

import functools
import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from fire.data.filelist import CHANGED, FileList, ImageFile, text
from fire.errors import DataError

# Folders that systems and tools leave among one's own; those whose names begin with a dot are left out anyway.
SYSTEM_FOLDERS = {"@eadir", "#recycle", "__macosx", "lost+found", "$recycle.bin", "system volume information"}
# Formats that Pillow identifies without decoding them, or only by running another program on them (Ghostscript).
NOT_DECODED = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
NAMED_REASONS = 5
Place = tuple[int, int]  # device and inode of a folder, however it is called


class Part(NamedTuple):
    """The classes below root/train or root/val and their image files, sorted by class and name.

    left_out: how many files and folders are no images or classes, by reason.
    """

    class_names: tuple[str, ...]
    files: FileList
    left_out: Counter[str]


class Listing(NamedTuple):
    """The image files of a folder; labels follow the sorted names of the classes. left_out: as in Part."""

    root: Path
    class_names: tuple[str, ...]
    train: FileList
    test: FileList
    left_out: Counter[str]

    @property
    def files(self) -> Iterator[ImageFile]:
        """The image files of both parts."""
        return chain(self.train, self.test)

    @property
    def state(self) -> str:
        """A hash that differs after any change of the image files: written, replaced, renamed or touched."""
        return self._hash(os.fsencode(self.root.resolve()), slice(None))

    @property
    def stamps(self) -> str:
        """A hash of the paths, labels, sizes and modification times of the files."""
        return self._hash(b"", slice(CHANGED))

    def _hash(self, start: bytes, columns: slice) -> str:
        total = hashlib.sha256(start)
        for part in (self.train, self.test):
            total.update(b"\0%d\0" % len(part) + part.rows[:, columns].tobytes() + part.paths.tobytes())
        return total.hexdigest()[:16]


@functools.cache
def formats() -> tuple[str, ...]:
    """The image formats that are read, in the order in which Pillow tries them."""
    Image.preinit()  # the common formats come first, as in Image.open
    Image.init()
    return tuple(name for name in Image.ID if name not in NOT_DECODED)


@functools.cache
def suffixes() -> frozenset[str]:
    """The endings of the names of image files, in lower case: all that Pillow registers for these formats."""
    known = formats()
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in known)


def digest(rows: Iterable[tuple[object, ...]]) -> str:
    """A hash of rows of values, 16 hexadecimal digits. Neither names nor numbers have a NUL."""
    total = hashlib.sha256()
    for row in rows:
        for value in row:
            total.update((value if isinstance(value, bytes) else str(value).encode()) + b"\0")
        total.update(b"\0")
    return total.hexdigest()[:16]


def summary(left_out: Counter[str]) -> str:
    """What was left out, most frequent first: "3 .txt, 2 hidden, 1 broken link"; empty if nothing was."""
    reasons = sorted(left_out.items(), key=lambda item: (-item[1], item[0]))
    named = [f"{count:,} {reason}" for reason, count in reasons[:NAMED_REASONS]]
    rest = sum(count for _, count in reasons[NAMED_REASONS:])
    return ", ".join([*named, *([f"{rest:,} for other reasons"] if rest else [])])


def shown(path: Path | str) -> str:
    """A path for a message: valid Unicode, and on one line whatever characters it has."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text(str(path)))


def scan(root: Path) -> Listing:
    """List the folder. Raises DataError if a part or a class is missing or empty, or cannot be read."""
    names, train, left_out = scan_part(root, "train")
    if len(names) < 2:
        raise DataError(f"{shown(root / 'train')} must hold at least 2 class folders, got {len(names)}")
    names_of_test, test, left_out_of_test = scan_part(root, "val")
    differing = sorted(set(names) ^ set(names_of_test))
    if differing:
        where = "train" if differing[0] in names else "val"
        raise DataError(
            f"train and val in {shown(root)} must hold the same classes, got {differing[0]!r} in {where} only"
        )
    return Listing(root, names, train, test, left_out + left_out_of_test)


def scan_part(root: Path, part: str) -> Part:
    """List root/part, "train" or "val". Raises DataError if it or a class is missing or empty, or cannot be read."""
    if not root.is_dir():
        raise DataError(f"data.root must be an existing folder, got {shown(root)!r}")
    if not (root / part).is_dir():
        raise DataError(f"data.root must hold train/<class>/* and val/<class>/*, got {shown(root)} without {part}/")
    left_out: Counter[str] = Counter()
    folders: dict[str, str] = {}
    for entry in _open(str(root / part))[1]:
        name = text(entry.name)
        reason = _reason(entry) or ("" if entry.is_dir() else "beside the class folders")
        if reason:
            left_out[reason] += 1
        elif name in folders:
            raise DataError(f"{shown(root / part)} must hold each class once, got two folders {name!r}")
        else:
            folders[name] = entry.path
    if not folders:
        raise DataError(f"{shown(root / part)} must hold class folders with images, got none")
    names = tuple(sorted(folders))
    place = (root / part).resolve()
    above = frozenset(_place(folder.stat()) for folder in (place, *place.parents))

    def files() -> Iterator[ImageFile]:
        for label, name in enumerate(names):
            found, others = _images(folders[name], f"{part}/{name}/", label, above)
            if not found:
                empty = f"got {summary(others) or 'none'}"
                raise DataError(f"class folder {shown(folders[name])} must hold images, {empty}")
            left_out.update(others)
            yield from found

    return Part(names, FileList.of(str(root / part), files()), left_out)


def _images(folder: str, prefix: str, label: int, above: frozenset[Place]) -> tuple[list[ImageFile], Counter[str]]:
    """The image files in a class folder and the folders below it, sorted by name; what is left out, by reason.

    above: the folders that the class folder lies in.
    """
    found: list[ImageFile] = []
    left_out: Counter[str] = Counter()
    todo = [(folder, prefix, above)]
    while todo:
        folder, prefix, above = todo.pop()
        place, entries = _open(folder)
        if place in above:  # a link that leads round in circles
            left_out["link to a folder above"] += 1
            continue
        for entry in entries:
            name = prefix + text(entry.name)
            reason = _reason(entry)
            if reason:
                left_out[reason] += 1
            elif entry.is_dir():
                todo.append((entry.path, f"{name}/", above | {place}))
            else:
                status = entry.stat()
                times = (status.st_mtime_ns, status.st_ctime_ns)
                found.append(ImageFile(entry.path, name, label, status.st_size, *times))
    return sorted(found, key=lambda file: (file.name, file.path)), left_out


def _place(status: os.stat_result) -> Place:
    return status.st_dev, status.st_ino


def _open(folder: str) -> tuple[Place, list["os.DirEntry[str]"]]:
    """Which folder it is, and what is in it. Raises DataError if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return _place(Path(folder).stat()), list(entries)
    except OSError as error:
        raise DataError(f"{shown(folder)} must be a readable folder ({error.strerror})") from error


def _reason(entry: "os.DirEntry[str]") -> str:
    """Why an entry is neither an image file nor a folder to look into; empty if it is one of them."""
    if entry.name.startswith("."):
        return "hidden"
    try:
        if entry.is_dir():
            return "system folder" if entry.name.casefold() in SYSTEM_FOLDERS else ""
        if not stat.S_ISREG(entry.stat().st_mode):
            return "special file"
    except OSError:
        return "broken link"
    _, dot, ending = entry.name.rpartition(".")  # Path.suffix takes longer than the system's own calls
    suffix = f".{ending}".lower() if dot and ending else ""
    return "" if suffix in suffixes() else shown(suffix) or "without suffix"
