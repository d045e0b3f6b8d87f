"""Data sets: uint8 images and labels, in disjoint sets for training, validation and test. No torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fire.data import cache, contents, decoding, folders
from fire.data.spec import DataSpec
from fire.data.split import Split, check_classes, held_out, images, split, spread
from fire.data.streaming import Streamed, decoded_bytes, is_streamed

Images = NDArray[np.uint8] | Streamed
Labels = NDArray[np.int64]


class ImageSet(NamedTuple):
    """Part of the stored images: `rows` are the positions in images (M, C, S, S) and labels (M,) that belong to it.

    Too many images to be kept decoded are `Streamed`, which has no pixels but gives them batch by batch.
    """

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
    arrays = stored.arrays
    check_classes(spec, len(stored.class_names))
    if "train_rows" in arrays:  # chosen before decoding
        rows = Split(arrays["train_rows"], arrays["validation_rows"], np.arange(len(arrays["test_labels"])))
    else:
        rows = split(spec, len(arrays["train_labels"]), len(arrays["test_labels"]))
    training, testing = _images(spec, data_dir, arrays)
    return DataSet(
        spec=spec,
        train=ImageSet(training, arrays["train_labels"], rows.train),
        validation=ImageSet(training, arrays["train_labels"], rows.validation),
        test=ImageSet(testing, arrays["test_labels"], rows.test),
        class_names=stored.class_names,
        mean=stored.mean,
        std=stored.std,
        skipped=stored.skipped,
        left_out=stored.left_out,
    )


def _images(spec: DataSpec, data_dir: Path, arrays: Mapping[str, NDArray[Any]]) -> tuple[Images, Images]:
    """The images for training (validation among them) and testing, as they are stored, or streamed from their files."""
    if "train_images" in arrays:
        return arrays["train_images"], arrays["test_images"]
    listing = contents.listing(spec, data_dir)
    train, test = listing.train.at(arrays["train_files"]), listing.test.at(arrays["test_files"])
    return Streamed(train, spec), Streamed(test, spec)


def load_test(spec: DataSpec, data_dir: Path) -> DataSet:
    """The data set for a test: of an image folder only val/ is read, and decoded anew.

    Its other parts are then empty, its mean and std 0. Raises DataError as `load` does.
    """
    if spec.name != "image_folder":
        return load(spec, data_dir)
    part = folders.scan_part(Path(str(spec.root)), "val")
    files = part.files.at(spread(len(part.files), spec.limit))
    pixels: Images
    if is_streamed(spec, len(files)):
        kept, _ = decoding.survey(files, spec)
        pixels = Streamed(files.at(kept), spec)
    else:
        with cache.scratch(data_dir, "val") as scratch:
            kept = decoding.decode(files, scratch / "images.npy", spec)
            # The file loses its name at the end of the block, and goes when the last map of it does.
            pixels = np.load(scratch / "images.npy", mmap_mode="c")
    test = ImageSet(pixels, files.labels[kept], np.arange(len(kept)))
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


def remarks(spec: DataSpec, data_dir: Path) -> list[str]:
    """Lines that a person should read before an image folder is decoded: what is left out of it, or not looked at.

    Raises DataError if the folder cannot be used, or does not fit the spec.
    """
    if spec.name != "image_folder":
        return []
    listing = contents.listing(spec, data_dir)
    check_classes(spec, len(listing.class_names))
    held_out(spec, len(listing.train))
    lines = []
    if listing.left_out:
        lines.append(
            f"{folders.shown(listing.root)}: {len(listing.train):,} training and {len(listing.test):,} test images; "
            f"left out: {folders.summary(listing.left_out)}"
        )
    step = contents.stride(listing)
    if step > 1:
        lines.append(
            f"{folders.shown(listing.root)} is large: runs are known by the names and sizes of all files and the "
            f"contents of one in {step}"
        )
    count = images(spec, len(listing.train), len(listing.test))
    if is_streamed(spec, count):
        size = f"{decoded_bytes(spec, count) / 1e9:,.1f} GB"
        lines.append(
            f"{folders.shown(listing.root)}: the {count:,} images would take {size} decoded: they are looked through "
            "once, then decoded batch by batch"
        )
    return lines


def prepare(spec: DataSpec, data_dir: Path) -> int:
    """Find, decode and cache the data set unless that was done. Returns how many images were left out as unreadable.

    Raises DataError if it cannot be had or does not fit the spec.
    """
    return load(spec, data_dir).skipped
