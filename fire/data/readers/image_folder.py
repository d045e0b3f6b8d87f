"""A folder of pictures: train/<class>/ and val/<class>/; the pictures in val/ are the test set."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fire.data import contents, decoding, folders
from fire.data.sources import Decoded
from fire.data.spec import DataSpec
from fire.data.split import check_classes, places, split
from fire.data.streaming import is_streamed
from fire.errors import DataError


def read(spec: DataSpec, data_dir: Path, out: Path) -> Decoded:
    """Decode the pictures, those that data.limit chooses, into files in `out`; many are only looked through, once.

    Raises DataError if the folder changes, or is not the one meant.
    """
    root = Path(str(spec.root))
    listing = folders.scan(root)
    found = contents.fingerprint(listing, data_dir)
    if spec.fingerprint and spec.fingerprint != found:
        raise DataError(
            f"data.root must hold the images of fingerprint {spec.fingerprint}, got {found} in {folders.shown(root)}"
        )
    check_classes(spec, len(listing.class_names))
    chosen = split(spec, len(listing.train), len(listing.test))
    training = np.sort(np.concatenate([chosen.train, chosen.validation]))
    streamed = is_streamed(spec, len(training) + len(chosen.test))
    decoded: dict[str, NDArray[Any]] = {}
    histograms: dict[str, NDArray[np.int64]] = {}
    skipped = 0
    for part, files, positions in (("train", listing.train, training), ("test", listing.test, chosen.test)):
        if streamed:
            readable, histograms[part] = decoding.survey(files.at(positions), spec)
            kept = decoded[f"{part}_files"] = positions[readable]
        else:
            path = out / f"{part}_images.npy"
            kept = positions[decoding.decode(files.at(positions), path, spec)]
            decoded[f"{part}_images"] = np.load(path, mmap_mode="r")
        decoded[f"{part}_labels"] = files.labels[kept]
        skipped += len(positions) - len(kept)
        if part == "train" and spec.limit:
            decoded["train_rows"] = places(chosen.train, kept)
            decoded["validation_rows"] = places(chosen.validation, kept)
    if folders.scan(root).state != listing.state:
        raise DataError(f"data.root must not change while it is decoded, got other files in {folders.shown(root)}")
    left_out = folders.summary(listing.left_out)
    return Decoded(decoded, listing.class_names, skipped, left_out, histograms.get("train"))
