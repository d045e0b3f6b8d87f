"""Data sets as uint8 arrays, decoded once into a cache on disk that all runs map into memory. No torch.

Cache: <data_dir>/cache/<name>-<hash of source and settings>/ with train_images.npy (N, C, S, S) uint8,
train_labels.npy (N,) int64, the same for test, and meta.json, written last. A cache whose meta.json is missing,
belongs to other settings or does not fit its files is built again.
"""

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fire import sources
from fire.errors import DataError
from fire.files import locked, write
from fire.recipe import DataSpec

FORMAT = 1
Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


class ImageSet(NamedTuple):
    """Part of the stored images: `rows` are the positions in images (M, C, S, S) and labels (M,) that belong to it."""

    images: Images
    labels: Labels
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Three disjoint sets of images with the mean and standard deviation of each channel, in 0..255.

    skipped: images left out because they could not be decoded.
    """

    spec: DataSpec
    train: ImageSet
    validation: ImageSet
    test: ImageSet
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skipped: int


def load(spec: DataSpec, data_dir: Path) -> DataSet:
    """The data set, from the cache or through it. Raises DataError if it cannot be had or does not fit the spec."""
    folder = prepare(spec, data_dir)
    meta = json.loads((folder / "meta.json").read_text())
    # Copy on write: pages are shared by all processes, and torch takes the array as writable.
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="c") for name in meta["files"]}
    if len(meta["class_names"]) != spec.classes:
        raise DataError(f"data.classes must be {len(meta['class_names'])} for {spec.name}, got {spec.classes}")
    total = len(arrays["train_labels"])
    if total <= spec.validation:
        raise DataError(f"data.validation must be below the {total} training images there are, got {spec.validation}")
    order = np.random.default_rng(0).permutation(total)  # fixed: the split is part of the data set, not of a run
    parts = {"train": order[spec.validation :], "validation": order[: spec.validation]}
    parts["test"] = np.arange(len(arrays["test_labels"]))
    if spec.limit:
        parts = {name: rows[: spec.limit] for name, rows in parts.items()}
        if spec.name == "image_folder":
            parts["test"] = spread(len(arrays["test_labels"]), spec.limit)

    def part(name: str, stored: str) -> ImageSet:
        return ImageSet(arrays[f"{stored}_images"], arrays[f"{stored}_labels"], parts[name])

    return DataSet(
        spec=spec,
        train=part("train", "train"),
        validation=part("validation", "train"),
        test=part("test", "test"),
        class_names=tuple(meta["class_names"]),
        mean=tuple(meta["mean"]),
        std=tuple(meta["std"]),
        skipped=meta["skipped"],
    )


def spread(total: int, limit: int) -> NDArray[np.int64]:
    """At most `limit` (0: all) of so many rows, evenly: the images of a folder are sorted by class."""
    chosen = min(limit, total) if limit else total
    return np.arange(chosen) * total // chosen


def prepare(spec: DataSpec, data_dir: Path) -> Path:
    """Find, decode and cache the data set unless that was done; the folder of the cache."""
    identity: dict[str, Any] = {
        "format": FORMAT,
        "name": spec.name,
        "root": None if spec.root is None else str(Path(spec.root).resolve()),
        "fingerprint": spec.fingerprint,
        "channels": spec.channels,
        "stored_size": spec.stored_size,
        "on_corrupt": spec.on_corrupt,
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    folder = data_dir / "cache" / f"{spec.name}-{digest}"
    sources.check_root(spec)
    if _is_whole(folder, identity):
        return folder
    try:
        with locked(data_dir / "cache" / f".{folder.name}.lock"):  # one process decodes, the others wait
            if not _is_whole(folder, identity):
                _build(spec, data_dir, folder, identity)
    except OSError as error:
        raise DataError(f"data_dir {data_dir} cannot be used: {error}") from error
    return folder


def _build(spec: DataSpec, data_dir: Path, folder: Path, identity: dict[str, Any]) -> None:
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        decoded = sources.decode(spec, data_dir, temporary)
        files = {}
        for name, array in decoded.arrays.items():
            if not isinstance(array, np.memmap):
                np.save(temporary / f"{name}.npy", array)
            files[name] = {"shape": array.shape, "bytes": (temporary / f"{name}.npy").stat().st_size}
        mean, std = _moments(decoded.arrays["train_images"])
        meta = {
            "identity": identity,
            "files": files,
            "class_names": decoded.class_names,
            "mean": mean,
            "std": std,
            "skipped": decoded.skipped,
        }
        write(temporary / "meta.json", json.dumps(meta, indent=1))
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_whole(folder: Path, identity: dict[str, Any]) -> bool:
    try:
        meta = json.loads((folder / "meta.json").read_text())
        return bool(meta["identity"] == identity) and all(
            (folder / f"{name}.npy").stat().st_size == file["bytes"] for name, file in meta["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _moments(images: Images) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, from its histogram: exact, and small in memory."""
    values = np.arange(256)
    means, deviations = [], []
    for channel in range(images.shape[1]):
        histogram = np.zeros(256, np.int64)
        for start in range(0, len(images), 1024):
            histogram += np.bincount(images[start : start + 1024, channel].ravel(), minlength=256)
        mean = float((histogram * values).sum() / histogram.sum())
        variance = float((histogram * (values - mean) ** 2).sum() / histogram.sum())
        means.append(mean)
        deviations.append(max(variance**0.5, 1.0))  # a constant channel must not divide by 0
    return means, deviations
