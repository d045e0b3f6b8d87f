"""What the tests of image folders share: image files, folders of them, and how one file is read."""

import os
import time
from pathlib import Path

import numpy as np
from PIL import Image

from fire.data import decoding, folders
from fire.data.spec import DataSpec


def add(root: Path, name: str, pixels: np.ndarray, mode: str | None = None, **options) -> Path:
    """An image file of these pixels, converted to the mode."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert(mode, palette=Image.Palette.ADAPTIVE) if mode else image).save(path, **options)
    return path


def grey(value: int, high: int = 20, wide: int = 20) -> np.ndarray:
    return np.full((high, wide, 3), value, np.uint8)


def two_classes(root: Path, suffix: str = ".png") -> Path:
    """Two classes in folders made in the wrong order; an image's grey value tells which it is."""
    for part in ("val", "train"):
        for label, name in ((1, "zebra"), (0, "ant")):
            for i in range(3):
                add(root, f"{part}/{name}/{i}{suffix}", grey(100 * label + 10 * i))
    return root


def spec(root: Path, **fields) -> DataSpec:
    defaults = {"channels": 3, "classes": 2, "stored_size": 8, "image_size": 8, "validation": 1}
    return DataSpec(name="image_folder", root=str(root), **{**defaults, **fields})


def listed(path: Path, label: int = 0) -> folders.ImageFile:
    return folders.ImageFile(str(path), f"train/{label}/{path.name}", label, path.stat().st_size, 0, 0)


def read(path: Path, channels: int, size: int, tmp_path: Path, **fields) -> np.ndarray:
    shape = spec(tmp_path, channels=channels, stored_size=size, image_size=1, **fields)
    assert decoding.decode([listed(path)], tmp_path / "out.npy", shape) == [0]
    return np.load(tmp_path / "out.npy")[0]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def age(root: Path) -> Path:
    """Set all times of the files back by an hour: nothing was written just now."""
    for path in root.rglob("*"):
        os.utime(path, ns=(then := time.time_ns() - 3600 * 10**9, then))
    return root
