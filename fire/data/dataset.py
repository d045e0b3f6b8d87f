"""Data sets: uint8 images and labels, in disjoint sets for training, validation and test. No torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fire.data import cache, contents, decoding, folders
from fire.data.spec import DataSpec
from fire.errors import DataError

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

    skipped: images left out because they could not be decoded. left_out: what else an image folder held when it was
    decoded, such as "3 .txt, 2 hidden".
    """

    spec: DataSpec
    train: ImageSet
    validation: ImageSet
    test: ImageSet
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skipped: int
    left_out: str = ""


def load(spec: DataSpec, data_dir: Path) -> DataSet:
    """The data set, from the cache or through it. Raises DataError if it cannot be had or does not fit the spec."""
    stored = cache.stored(spec, data_dir)
    total = len(stored.arrays["train_labels"])
    held_out = _held_out(spec, len(stored.class_names), total)
    order = np.random.default_rng(0).permutation(total)  # fixed: the split is part of the data set, not of a run
    parts = {"train": order[held_out:], "validation": order[:held_out]}
    parts["test"] = np.arange(len(stored.arrays["test_labels"]))
    if spec.limit:
        parts = {name: rows[: spec.limit] for name, rows in parts.items()}
        if spec.name == "image_folder":
            parts["test"] = spread(len(stored.arrays["test_labels"]), spec.limit)

    def part(name: str, origin: str) -> ImageSet:
        return ImageSet(stored.arrays[f"{origin}_images"], stored.arrays[f"{origin}_labels"], parts[name])

    return DataSet(
        spec=spec,
        train=part("train", "train"),
        validation=part("validation", "train"),
        test=part("test", "test"),
        class_names=stored.class_names,
        mean=stored.mean,
        std=stored.std,
        skipped=stored.skipped,
        left_out=stored.left_out,
    )


def load_test(spec: DataSpec, data_dir: Path) -> DataSet:
    """The data set for a test: of an image folder only val/ is read, and decoded anew.

    Its other parts are then empty, its mean and std 0. Raises DataError as `load` does.
    """
    if spec.name != "image_folder":
        return load(spec, data_dir)
    part = folders.scan_part(Path(str(spec.root)), "val")
    files = [part.files[position] for position in spread(len(part.files), spec.limit)]
    with cache.scratch(data_dir, "val") as scratch:
        kept = decoding.decode(files, scratch / "images.npy", spec)
        # The file loses its name at the end of the block, and goes when the last map of it does.
        images = np.load(scratch / "images.npy", mmap_mode="c")
    test = ImageSet(images, np.array([files[position].label for position in kept], np.int64), np.arange(len(kept)))
    none = ImageSet(test.images, test.labels, test.rows[:0])
    nothing = (0.0,) * spec.channels
    return DataSet(
        spec=spec,
        train=none,
        validation=none,
        test=test,
        class_names=part.class_names,
        mean=nothing,
        std=nothing,
        skipped=len(files) - len(kept),
        left_out=folders.summary(part.left_out),
    )


def spread(total: int, limit: int) -> NDArray[np.int64]:
    """At most `limit` (0: all) of `total` rows, evenly: the images of a folder are sorted by class."""
    chosen = min(limit, total) if limit else total
    return np.arange(chosen) * total // chosen


def remarks(spec: DataSpec) -> list[str]:
    """Lines that a person should read before an image folder is decoded: what is left out of it, or not looked at.

    Raises DataError if the folder cannot be used, or does not fit the spec.
    """
    if spec.name != "image_folder":
        return []
    listing = folders.scan(Path(str(spec.root)))
    _held_out(spec, len(listing.class_names), len(listing.train))
    lines = []
    if listing.left_out:
        lines.append(
            f"{folders.shown(listing.root)}: {len(listing.train):,} training and {len(listing.test):,} test images; "
            f"left out: {folders.summary(listing.left_out)}"
        )
    step = contents.stride(listing.files)
    if step > 1:
        lines.append(
            f"{folders.shown(listing.root)} is large: runs are known by the names and sizes of all files and the "
            f"contents of one in {step}"
        )
    return lines


def prepare(spec: DataSpec, data_dir: Path) -> int:
    """Find, decode and cache the data set unless that was done. Returns how many images were left out as unreadable.

    Raises DataError if it cannot be had or does not fit the spec.
    """
    stored = cache.stored(spec, data_dir)
    _held_out(spec, len(stored.class_names), len(stored.arrays["train_labels"]))
    return stored.skipped


def _held_out(spec: DataSpec, classes: int, total: int) -> int:
    """How many of `total` training images are set aside for validation.

    Raises DataError if that leaves none for training, or if the data set has other classes than the spec says.
    """
    if classes != spec.classes:
        raise DataError(f"data.classes must be {classes} for {spec.name}, got {spec.classes}")
    if spec.validation < 1:
        return min(max(round(spec.validation * total), 1), total - 1)
    if spec.validation >= total:
        raise DataError(
            f"data.validation must be below the {total} training images there are, such as 0.1 for a tenth or "
            f"{max(total // 10, 1)}, got {spec.validation}"
        )
    return int(spec.validation)
