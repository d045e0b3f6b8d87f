"""Which data set an image folder holds: a fingerprint of what is in its files. Equal copies are one data set."""

import hashlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np

from fire.data.filelist import FileList, ImageFile
from fire.data.folders import Listing, digest, scan
from fire.data.spec import DataSpec
from fire.files import locked, replacing, write
from fire.machine import hardware

READ_BYTES = 2 * 10**9  # larger folders are read in part
SAMPLED = "sampled-"  # begins the fingerprints of larger folders
FINGERPRINT = re.compile(rf"({SAMPLED})?[0-9a-f]{{16}}")
COARSEST_NS = 2 * 10**9  # the longest step of a file system's clock: FAT's
UNREADABLE = "unreadable"  # in place of a file's hash
AT_ONCE = 4096  # files that are handed to the threads together: a million at once would take a gigabyte


def fingerprint(listing: Listing, data_dir: Path) -> str:
    """A hash of the names, sizes and contents of the folder's image files: equal copies have the same.

    Beyond 2 GB the contents of every n-th file count, with n such that 2 GB are read. The fingerprint is kept in
    data_dir, beside an index of the files: a folder is read again only when a name, size or time of a file in it has
    changed.
    """
    memory, state = _memory(listing.root, data_dir), listing.state
    known = _recall(memory)
    if known and known[0] == state:
        return known[1]
    with suppress(OSError):
        memory.unlink()  # else runs would take the files from the index of another state
    began = time.time_ns()
    step = stride(listing)
    contents = zip(listing.files, _read(listing.files, step), strict=True)
    unreadable = False

    def described() -> Iterator[tuple[object, ...]]:
        nonlocal unreadable
        for file, content in contents:
            unreadable |= content == UNREADABLE
            yield file.name, file.size_bytes, content

    found = digest(described())
    if step > 1:
        found = f"{SAMPLED}{found}"
    ended = time.time_ns()
    # A file that was written just now may be written again without another time; one that could not be read, perhaps
    # because the folder was moved away, may be there again as it was.
    if not unreadable and not any(began - COARSEST_NS < file.modified_ns <= ended for file in listing.files):
        with suppress(OSError):  # where data_dir cannot be written, the folder is read at each launch
            with locked(memory.with_name(f".{memory.stem}.lock")):
                for leftover in memory.parent.glob(f".{memory.stem}.*.tmp"):  # of a process that was killed
                    leftover.unlink()
                _keep(listing, memory.with_suffix(".npz"))
                write(memory, json.dumps({"state": state, "fingerprint": found}))
    return found


def listing(spec: DataSpec, data_dir: Path) -> Listing:
    """The files of the specification's folder. Raises DataError if it cannot be used.

    With the fingerprint that a launch found when it looked at every file, the files are those of its index.
    """
    root = Path(str(spec.root))
    memory = _memory(root, data_dir)
    known = _recall(memory)
    indexed = _indexed(root, memory.with_suffix(".npz")) if known and known[1] == spec.fingerprint else None
    if known and indexed and indexed.state == known[0] and _is_there(indexed.train[0]):
        return indexed
    return scan(root)


def stride(listing: Listing) -> int:
    """The n of "every n-th file is read"."""
    return max(1, -(-(listing.train.size_bytes + listing.test.size_bytes) // READ_BYTES))


def _memory(root: Path, data_dir: Path) -> Path:
    """Where the folder's state and fingerprint are kept; its index is beside it, as .npz."""
    place = digest([(os.fsencode(root.resolve()),)])
    return data_dir / "cache" / f"contents-{place}.json"


def _is_there(file: ImageFile) -> bool:
    """Whether the file is as the index has it. Machines may have copies of the folder at the same path."""
    with suppress(OSError):
        return Path(file.path).stat().st_ctime_ns == file.changed_ns
    return False


def _recall(memory: Path) -> tuple[str, str] | None:
    """The state in which the folder was read, and its fingerprint then; None if it was not."""
    try:
        known = json.loads(memory.read_text())
        if FINGERPRINT.fullmatch(known["fingerprint"]):
            return str(known["state"]), str(known["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    return None


def _keep(listing: Listing, path: Path) -> None:
    about = json.dumps({"class_names": listing.class_names, "left_out": listing.left_out}).encode()
    with replacing(path) as file:
        np.savez(
            file,
            about=np.frombuffer(about, np.uint8),
            train_rows=listing.train.rows,
            train_paths=listing.train.paths,
            val_rows=listing.test.rows,
            val_paths=listing.test.paths,
        )


def _indexed(root: Path, path: Path) -> Listing | None:
    """The folder's files as the index has them; None if there is none, or it is damaged."""
    try:
        with open(path, "rb") as file, np.load(file) as index:  # np.load leaves damaged files open
            about = json.loads(index["about"].tobytes())
            train, val = (
                FileList(str(root / part), index[f"{part}_rows"], index[f"{part}_paths"]) for part in ("train", "val")
            )
        return Listing(root, tuple(about["class_names"]), train, val, Counter(about["left_out"]))
    except Exception:  # reading damaged files can raise anything
        return None


def _read(files: Iterable[ImageFile], step: int) -> Iterator[str]:
    """A hash of the contents of every step-th file, and empty texts for the others."""

    def read_one(numbered: tuple[int, ImageFile]) -> str:
        position, image = numbered
        if position % step:
            return ""
        try:
            with open(image.path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return UNREADABLE  # decoding says so

    numbered = enumerate(files)
    with ThreadPoolExecutor(hardware.cores()) as pool:  # files are read and hashed outside of the interpreter lock
        while some := list(islice(numbered, AT_ONCE)):
            yield from pool.map(read_one, some)
