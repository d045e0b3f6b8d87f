"""Which data set an image folder holds: a fingerprint of what is in its files. Equal copies are one data set."""

import hashlib
import json
import os
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from fire.data.folders import ImageFile, Listing, digest
from fire.files import write
from fire.machine import hardware

READ_BYTES = 2 * 10**9  # larger folders are read in part
SAMPLED = "sampled-"  # begins the fingerprints of larger folders
FINGERPRINT = re.compile(rf"({SAMPLED})?[0-9a-f]{{16}}")
COARSEST_NS = 2 * 10**9  # the longest step of a file system's clock: FAT's


def fingerprint(listing: Listing, data_dir: Path) -> str:
    """A hash of the names, sizes and contents of the folder's image files: equal copies have the same.

    Beyond 2 GB the contents of every n-th file count, with n such that 2 GB are read. The fingerprint is kept in
    data_dir: a folder is read again only when a name, size or time of a file in it has changed.
    """
    place = digest([(os.fsencode(listing.root.resolve()),)])
    memory = data_dir / "cache" / f"contents-{place}.json"
    state = listing.state
    known = _recall(memory, state)
    if known:
        return known
    files = listing.files
    began = time.time_ns()
    step = stride(files)
    found = digest(
        (file.name, file.size_bytes, content) for file, content in zip(files, _read(files, step), strict=True)
    )
    if step > 1:
        found = f"{SAMPLED}{found}"
    ended = time.time_ns()
    # A file that was written just now may be written again without another time.
    if not any(began - COARSEST_NS < file.modified_ns <= ended for file in files):
        with suppress(OSError):  # where data_dir cannot be written, the folder is read at each launch
            memory.parent.mkdir(parents=True, exist_ok=True)
            write(memory, json.dumps({"state": state, "fingerprint": found}))
    return found


def stride(files: Sequence[ImageFile]) -> int:
    """The n of "every n-th file is read"."""
    return max(1, -(-sum(file.size_bytes for file in files) // READ_BYTES))


def stamps(listing: Listing) -> str:
    """A hash of the names, sizes and modification times of the files."""
    return digest((file.name, file.size_bytes, file.modified_ns) for file in listing.files)


def _recall(memory: Path, state: str) -> str:
    """The fingerprint that is kept for this state of the folder; empty if none is."""
    try:
        known = json.loads(memory.read_text())
        if known["state"] == state and FINGERPRINT.fullmatch(known["fingerprint"]):
            return str(known["fingerprint"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    return ""


def _read(files: Sequence[ImageFile], step: int) -> list[str]:
    """A hash of the contents of every step-th file, and empty texts for the others."""

    def read_one(position: int) -> str:
        if position % step:
            return ""
        try:
            with open(files[position].path, "rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return "unreadable"  # decoding says so

    with ThreadPoolExecutor(hardware.cores()) as pool:  # files are read and hashed outside of the interpreter lock
        return list(pool.map(read_one, range(len(files))))
