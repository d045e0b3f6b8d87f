"""The cache of decoded data sets on disk, which all runs map into memory. No torch.

<data_dir>/cache/<name>-<hash of source and settings>/ with train_images.npy (N, C, S, S) uint8, train_labels.npy (N,)
int64, the same for test, and meta.json, written last. Of an image folder with data.limit, only the images chosen are
there; train_rows.npy and validation_rows.npy say which are which. Images that are streamed, as they would take more
than 2 GB, are not there: train_files.npy says which of the listed files can be read. A cache whose meta.json is
missing, belongs to other settings or does not fit its files is built again. An image folder is known by its contents,
so equal copies share a cache.
"""

import hashlib
import json
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fire.data import arrays, contents, decoding, folders, sources
from fire.data.spec import DataSpec
from fire.data.split import images
from fire.data.streaming import is_streamed
from fire.errors import DataError
from fire.files import locked, write

FORMAT = 1
HERE = "@" + socket.gethostname().replace(".", "_")  # ends the names of scratch folders
LONG = 86400  # seconds, after which the scratch folder of another host is taken for one that was left


class Stored(NamedTuple):
    """The content of a cache."""

    arrays: dict[str, NDArray[Any]]
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skipped: int
    left_out: str


def stored(spec: DataSpec, data_dir: Path) -> Stored:
    """The decoded data set; it is decoded and cached unless that was done. Raises DataError if it cannot be had."""
    sources.check_root(spec)
    identity = _identity(spec, data_dir)
    folder = data_dir / "cache" / f"{spec.name}-{_hash(identity)}"
    found = _read(folder, identity)
    if found is not None:
        return found
    with scratch(data_dir, folder.name) as temporary:  # one process decodes, the others wait
        return _read(folder, identity) or _build(spec, data_dir, folder, temporary, identity)


@contextmanager
def scratch(data_dir: Path, name: str) -> Iterator[Path]:
    """A new folder in data_dir, removed in the end. Of processes that ask for the same name, one at a time has it.

    An OSError, here or in the context, becomes the DataError that data_dir cannot be used.
    """
    cache = data_dir / "cache"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        _sweep(cache)
        with locked(cache / f".{name}.lock"):
            temporary = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=HERE, dir=cache))
            try:
                yield temporary
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise DataError(f"data_dir {folders.shown(data_dir)} cannot be used: {error.strerror or error}") from error


def _sweep(cache: Path) -> None:
    """Remove the scratch folders of processes that were killed, whose locks nobody holds.

    On some mounts another host's locks cannot be seen, so folders of other hosts must be old, too.
    """
    for leftover in cache.glob(".*.*"):
        with suppress(OSError):  # it may be another user's, or gone by now
            is_ours = leftover.name.endswith(HERE) or leftover.stat().st_mtime < time.time() - LONG
            if is_ours and leftover.is_dir():
                with locked(leftover.with_suffix(".lock"), patience=0) as held:
                    if held:
                        shutil.rmtree(leftover, ignore_errors=True)


def _build(spec: DataSpec, data_dir: Path, folder: Path, temporary: Path, identity: dict[str, Any]) -> Stored:
    """Decode the data set into the temporary folder, which becomes the cache."""
    decoded = sources.decode(replace(spec, fingerprint=identity["fingerprint"]), data_dir, temporary)
    counted = decoded.histograms
    for name, array in decoded.arrays.items():
        if not isinstance(array, np.memmap):
            arrays.save(temporary / f"{name}.npy", array)
    mean, std = _moments(_histograms(decoded.arrays["train_images"]) if counted is None else counted)
    meta = {
        "identity": identity,
        "files": {
            name: {"shape": array.shape, "bytes": (temporary / f"{name}.npy").stat().st_size}
            for name, array in decoded.arrays.items()
        },
        "class_names": decoded.class_names,
        "mean": mean,
        "std": std,
        "skipped": decoded.skipped,
        "left_out": decoded.left_out,
    }
    write(temporary / "meta.json", json.dumps(meta, indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)
    found = _read(folder, identity)
    if found is None:
        raise DataError(f"data_dir must keep what is written to it, got a damaged {folders.shown(folder)}")
    return found


def _read(folder: Path, identity: dict[str, Any]) -> Stored | None:
    """The content of a cache; None if it is damaged, or has another identity."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        if meta["identity"] != identity:
            return None
        content = {}
        for name, file in meta["files"].items():
            path = folder / f"{name}.npy"
            # Copy on write: pages are shared by all processes, and torch takes the array as writable.
            content[name] = np.load(path, mmap_mode="c")
            if path.stat().st_size != file["bytes"] or list(content[name].shape) != file["shape"]:
                return None
        found = Stored(
            arrays=content,
            class_names=tuple(map(str, meta["class_names"])),
            mean=tuple(map(float, meta["mean"])),
            std=tuple(map(float, meta["std"])),
            skipped=int(meta["skipped"]),
            left_out=str(meta.get("left_out", "")),
        )
        return found if _fits(found, identity) else None
    except Exception:  # reading damaged files can raise anything
        return None


def _fits(found: Stored, identity: dict[str, Any]) -> bool:
    """Whether the arrays are images and labels of their classes. The pixels themselves are not checked."""
    square = (identity["channels"], identity["stored_size"], identity["stored_size"])
    for part in ("train", "test"):
        labels, streamed = found.arrays[f"{part}_labels"], "streamed" in identity
        stored = found.arrays[f"{part}_files" if streamed else f"{part}_images"]
        kind, shape = (np.int64, ()) if streamed else (np.uint8, square)
        if stored.dtype != kind or labels.dtype != np.int64 or stored.shape != (*labels.shape, *shape):
            return False
        if not 0 <= labels.min() <= labels.max() < len(found.class_names):
            return False
    return len(found.mean) == len(found.std) == identity["channels"] and min(found.std) > 0


def _hash(identity: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def _identity(spec: DataSpec, data_dir: Path) -> dict[str, Any]:
    """All that the content of a cache depends on."""
    identity: dict[str, Any] = {
        "format": FORMAT,
        "name": spec.name,
        "root": None if spec.root is None else str(Path(spec.root).resolve()),
        "fingerprint": spec.fingerprint,
        "channels": spec.channels,
        "stored_size": spec.stored_size,
        "on_corrupt": spec.on_corrupt,
    }
    if spec.name == "image_folder":
        listing = contents.listing(spec, data_dir)
        fingerprint = spec.fingerprint or contents.fingerprint(listing, data_dir)
        identity |= {"root": None, "resize": spec.resize, "fingerprint": fingerprint}
        if spec.limit:
            identity |= {"limit": spec.limit, "validation": spec.validation}
        streamed = is_streamed(spec, images(spec, len(listing.train), len(listing.test)))
        if streamed:
            identity["streamed"] = True
        if streamed or fingerprint.startswith(contents.SAMPLED):
            identity["stamps"] = listing.stamps  # changes of files that were not read for the fingerprint show here
    return identity


def _histograms(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How often each value occurs in each channel, (C, 256), with little memory."""
    found = np.zeros((images.shape[1], 256), np.int64)
    for start in range(0, len(images), 1024):
        found += decoding.histograms(images[start : start + 1024].swapaxes(0, 1))
    return found


def _moments(histograms: NDArray[np.int64]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel: exact, whatever the order in which the images were counted."""
    values = np.arange(256)
    means, deviations = [], []
    for histogram in histograms:
        mean = float((histogram * values).sum() / histogram.sum())
        variance = float((histogram * (values - mean) ** 2).sum() / histogram.sum())
        means.append(mean)
        deviations.append(max(variance**0.5, 1.0))  # a constant channel must not divide by 0
    return means, deviations
