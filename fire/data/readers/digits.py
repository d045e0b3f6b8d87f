"""Digits: scikit-learn's bundled 1,797 grey images, 8x8; no files, no network."""

from pathlib import Path

import numpy as np

from fire.data.sources import Decoded
from fire.data.spec import DataSpec


def read(spec: DataSpec, data_dir: Path, out: Path) -> Decoded:
    """Read the images; a fixed random fifth is the test set."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images[:, None] * (255 / 16)).astype(np.uint8)  # 17 grey levels
    labels = digits.target.astype(np.int64)
    # The file is ordered by writer.
    order = np.random.default_rng(0).permutation(len(labels))
    test, train = order[: len(order) // 5], order[len(order) // 5 :]
    arrays = {
        "train_images": images[train],
        "train_labels": labels[train],
        "test_images": images[test],
        "test_labels": labels[test],
    }
    return Decoded(arrays, tuple(str(name) for name in digits.target_names))
