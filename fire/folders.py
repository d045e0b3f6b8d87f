"""Folders of images: root/train/<class>/* and root/val/<class>/*, of any sizes and modes. ImageNet is such a folder.

root/val serves as the test set, as usual for ImageNet, whose test labels are not public.
"""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from PIL import Image

from fire.errors import DataError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".ppm", ".pgm", ".tif", ".tiff"}


class ImageFile(NamedTuple):
    path: Path
    label: int
    size_bytes: int


class Listing(NamedTuple):
    """The image files of a folder, sorted by class and name; labels follow the sorted names of the classes."""

    class_names: tuple[str, ...]
    train: list[ImageFile]
    test: list[ImageFile]

    @property
    def fingerprint(self) -> str:
        """Tells folders apart by the names and sizes of their files, wherever they lie."""
        digest = hashlib.sha256()
        for part, files in (("train", self.train), ("val", self.test)):
            for file in files:
                digest.update(f"{part}/{self.class_names[file.label]}/{file.path.name}:{file.size_bytes}\n".encode())
        return digest.hexdigest()[:16]


def scan(root: Path) -> Listing:
    """List the folder. Raises DataError if a part or a class is missing or empty."""
    names, train = scan_part(root, "train")
    if len(names) < 2:
        raise DataError(f"{root / 'train'} must hold at least 2 class folders, got {len(names)}")
    names_of_test, test = scan_part(root, "val")
    differing = sorted(set(names) ^ set(names_of_test))
    if differing:
        raise DataError(f"train and val in {root} must hold the same classes, got {differing[0]!r} in one only")
    return Listing(names, train, test)


def scan_part(root: Path, part: str) -> tuple[tuple[str, ...], list[ImageFile]]:
    """The classes and images of root/part, "train" or "val". Raises DataError if it or a class is missing or empty."""
    if not root.is_dir():
        raise DataError(f"data.root must be an existing folder, got {str(root)!r}")
    if not (root / part).is_dir():
        raise DataError(f"data.root must hold train/<class>/* and val/<class>/*, got {root} without {part}/")
    names = sorted(entry.name for entry in os.scandir(root / part) if entry.is_dir())
    if not names:
        raise DataError(f"{root / part} must hold class folders with images, got none")
    files: list[ImageFile] = []
    for label, name in enumerate(names):
        folder = root / part / name
        images = [
            ImageFile(Path(entry.path), label, entry.stat().st_size)
            for entry in sorted(os.scandir(folder), key=lambda entry: entry.name)
            if entry.is_file() and Path(entry.name).suffix.lower() in SUFFIXES
        ]
        if not images:
            raise DataError(f"class folder {folder} must hold images ({' '.join(sorted(SUFFIXES))}), got none")
        files += images
    return tuple(names), files


def decode(files: list[ImageFile], path: Path, channels: int, size: int, skip_corrupt: bool) -> list[int]:
    """Decode the images into the .npy file `path`, (N, channels, size, size) uint8; the positions of those in it.

    The shorter side is resized to `size`, then the central square is kept. Raises DataError naming the corrupt
    images, unless they are to be skipped.
    """
    images = open_memmap(path, mode="w+", dtype=np.uint8, shape=(len(files), channels, size, size))

    def decode_one(position: int) -> str:
        try:
            images[position] = _read(files[position].path, channels, size)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:  # what Pillow raises
            return f"{files[position].path} ({error})"
        return ""

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes and resizes outside of the interpreter lock
        complaints = list(pool.map(decode_one, range(len(files))))
    corrupt = [complaint for complaint in complaints if complaint]
    if corrupt and not skip_corrupt:
        more = f" and {len(corrupt) - 3} more" if len(corrupt) > 3 else ""
        raise DataError(
            f"images must be readable, got {len(corrupt)} corrupt of {len(files)}: {', '.join(corrupt[:3])}{more}; "
            "data.on_corrupt=skip leaves them out"
        )
    kept = [position for position, complaint in enumerate(complaints) if not complaint]
    if not kept:
        raise DataError(f"at least 1 image must be readable, got {len(corrupt)} corrupt: {corrupt[0]}")
    if corrupt:
        whole = path.with_suffix(".kept.npy")
        compact = open_memmap(whole, mode="w+", dtype=np.uint8, shape=(len(kept), channels, size, size))
        for target, position in enumerate(kept):
            compact[target] = images[position]
        compact.flush()
        whole.replace(path)
    else:
        images.flush()
    return kept


def _read(path: Path, channels: int, size: int) -> NDArray[np.uint8]:
    """One image as (channels, size, size)."""
    with Image.open(path) as opened:
        opened.load()
        image: Image.Image = opened
        if image.mode.startswith("I"):  # 16 bits: convert() would clip it to white
            image = Image.fromarray((np.asarray(image, np.float64) / 257).clip(0, 255).astype(np.uint8))
        image.info.pop("transparency", None)  # it is dropped anyway, but of palettes Pillow would warn
        image = image.convert("RGB" if channels == 3 else "L")
    scale = size / min(image.size)
    wide, high = (max(size, round(side * scale)) for side in image.size)
    image = image.resize((wide, high), Image.Resampling.BILINEAR)
    left, top = (wide - size) // 2, (high - size) // 2
    pixels = np.asarray(image.crop((left, top, left + size, top + size)), np.uint8)
    return pixels.transpose(2, 0, 1) if channels == 3 else pixels[None]
