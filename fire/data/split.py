"""Which images are for training, for validation and for testing, by their positions. No torch."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fire.data.spec import DataSpec
from fire.errors import DataError

Rows = NDArray[np.int64]


class Split(NamedTuple):
    """Positions among the training images (train and validation) and among the test images."""

    train: Rows
    validation: Rows
    test: Rows


def split(spec: DataSpec, train: int, test: int) -> Split:
    """Split `train` training images, and choose among `test` test images, as data.limit says.

    Raises DataError if nothing is left for training.
    """
    held = held_out(spec, train)
    order = np.random.default_rng(0).permutation(train)  # fixed: the split is part of the data set, not of a run
    most = spec.limit or None
    # The images of a folder are sorted by class.
    tested = spread(test, spec.limit) if spec.name == "image_folder" else np.arange(test)[:most]
    return Split(order[held:][:most], order[:held][:most], tested)


def images(spec: DataSpec, train: int, test: int) -> int:
    """How many images the three sets have together. Raises DataError as `split` does."""
    return sum(map(len, split(spec, train, test))) if spec.limit else train + test


def places(chosen: Rows, among: Rows) -> Rows:
    """Where each of the chosen positions is `among` sorted ones; those that are not there are left out."""
    found = np.searchsorted(among, chosen)
    there = found < len(among)
    there[there] = among[found[there]] == chosen[there]
    return found[there]


def spread(total: int, limit: int) -> Rows:
    """At most `limit` (0: all) of `total` positions, evenly."""
    chosen = min(limit, total) if limit else total
    return np.arange(chosen) * total // chosen


def check_classes(spec: DataSpec, classes: int) -> None:
    """Raise DataError unless the data set has as many classes as the specification says."""
    if classes != spec.classes:
        raise DataError(f"data.classes must be {classes} for {spec.name}, got {spec.classes}")


def held_out(spec: DataSpec, total: int) -> int:
    """How many of `total` training images are set aside for validation. Raises DataError as `split` does."""
    if spec.validation < 1:
        return min(max(round(spec.validation * total), 1), total - 1)
    if spec.validation >= total:
        raise DataError(
            f"data.validation must be below the {total} training images there are, such as 0.1 for a tenth or "
            f"{max(total // 10, 1)}, got {spec.validation}"
        )
    return int(spec.validation)
