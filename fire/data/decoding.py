"""Image files become uint8 arrays of one size. Pillow reads them."""

import errno
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from fire.data.arrays import allocate
from fire.data.filelist import ImageFile
from fire.data.folders import formats, shown
from fire.data.spec import DataSpec
from fire.errors import DataError, unknown
from fire.machine import hardware

Pixels = NDArray[np.uint8]

AT_ONCE = 4096  # files that are handed to the threads together: a million at once would take a gigabyte
BILINEAR = Image.Resampling.BILINEAR
RESIZED_PIXELS = 2**23  # the most that a long image is resized to before its central square is cut out
LARGE_PIXELS = 2**24  # larger images are decoded one at a time
SCARCE = (errno.ENOMEM, errno.EMFILE, errno.ENFILE)
UPRIGHT = {  # from EXIF's orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(files: Sequence[ImageFile], path: Path, spec: DataSpec) -> list[int]:
    """Decode the images into the .npy file `path`, (N, C, S, S) uint8. Returns which of `files` these are.

    Raises DataError if images cannot be read, unless spec.on_corrupt is "skip"; if no image of a class can be read; or
    if images with 32-bit numbers differ in their range, or memory is scarce. Raises OSError if the disk is full.
    """
    images = allocate(path, (len(files), spec.channels, spec.stored_size, spec.stored_size), np.uint8)
    kept = _each(files, spec, images.__setitem__)
    if len(kept) < len(files):
        _compact(images, kept, path)
    else:
        images.flush()
    return kept


def survey(files: Sequence[ImageFile], spec: DataSpec) -> tuple[list[int], NDArray[np.int64]]:
    """Decode the images and forget their pixels: which can be read, and the histogram (C, 256) of all pixels of these.

    Raises DataError as `decode` does.
    """
    total = np.zeros((spec.channels, 256), np.int64)
    lock = threading.Lock()

    def count(position: int, pixels: NDArray[np.uint8]) -> None:
        found = histograms(pixels)
        with lock:
            np.add(total, found, out=total)

    return _each(files, spec, count), total


def histograms(pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How often each value occurs in each channel: (C, ...) -> (C, 256)."""
    return np.stack([np.bincount(channel.ravel(), minlength=256) for channel in pixels])


def read(file: ImageFile, spec: DataSpec, large: AbstractContextManager[Any] | None = None) -> tuple[int, Pixels]:
    """The number in the file that means white, and the pixels, (C, S, S) uint8. Raises whatever a decoder raises.

    The number is 0 unless the file has 32-bit numbers that are not all 0. large: held while a large image is decoded.
    """
    with Image.open(file.path, formats=formats()) as opened:
        with large if large and opened.width * opened.height > LARGE_PIXELS else nullcontext():
            return _read(opened, spec)


def complaint(file: ImageFile, error: Exception) -> str:
    """Which image cannot be read, and why, in one line."""
    return f"{shown(file.path)} ({_one_line(error)})"


def _each(files: Sequence[ImageFile], spec: DataSpec, use: Callable[[int, Pixels], None]) -> list[int]:
    """Decode the images, some at a time; `use` gets the position and the pixels of each. Returns which can be read."""
    large = threading.Lock()
    ranges: dict[int, str] = {}  # the largest number of each range of 32-bit numbers, and a file that has it

    def decode_one(position: int) -> str:
        file = files[position]
        try:
            white, pixels = read(file, spec, large)
        except Exception as error:  # whatever a decoder raises on a damaged file
            found = complaint(file, error)
            if isinstance(error, MemoryError) or getattr(error, "errno", None) in SCARCE:  # the file may be fine
                raise DataError(f"images must have memory and open files to be decoded, got {found}") from error
            return found
        use(position, pixels)
        if white:
            ranges[white] = file.path
        return ""

    complaints: list[str] = []
    with quiet(), ThreadPoolExecutor(hardware.cores()) as pool:  # Pillow works outside of the interpreter lock
        for start in range(0, len(files), AT_ONCE):
            complaints += pool.map(decode_one, range(start, min(start + AT_ONCE, len(files))))
    if len(ranges) > 1:
        raise DataError(
            "images of 32-bit numbers must have one range, got "
            + " and ".join(f"0..{white} in {shown(ranges[white])}" for white in sorted(ranges))
        )
    kept = [position for position, complaint in enumerate(complaints) if not complaint]
    unreadable = [complaint for complaint in complaints if complaint]
    if unreadable:
        match spec.on_corrupt:
            case "skip":
                pass
            case "error":
                more = f" and {len(unreadable) - 3} more" if len(unreadable) > 3 else ""
                raise DataError(
                    f"images must be readable, got {len(unreadable)} unreadable of {len(files)}: "
                    f"{', '.join(unreadable[:3])}{more}; data.on_corrupt=skip leaves them out"
                )
            case other:
                raise unknown("data.on_corrupt", other)
        _require_each_class(files, kept, complaints)
    return kept


@contextmanager
def quiet() -> Iterator[None]:
    """Load Pillow's plugins, before there are threads, and keep its warnings back."""
    formats()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of damaged EXIF data, and of large images that are read anyway
        yield


def _require_each_class(files: Sequence[ImageFile], kept: Sequence[int], complaints: Sequence[str]) -> None:
    readable = {files[position].label for position in kept}
    for file, complaint in zip(files, complaints, strict=True):
        if file.label not in readable:
            folder = "/".join(file.name.split("/")[:2])
            raise DataError(f"class folder {shown(folder)} must hold an image that can be read, got {complaint}")


def _compact(images: NDArray[np.uint8], kept: Sequence[int], path: Path) -> None:
    """Replace the file of the images by one of those that are kept."""
    whole = path.with_suffix(".kept.npy")
    compact = allocate(whole, (len(kept), *images.shape[1:]), np.uint8)
    for target, position in enumerate(kept):
        compact[target] = images[position]
    compact.flush()
    whole.replace(path)


def _read(opened: Image.Image, spec: DataSpec) -> tuple[int, Pixels]:
    """What `read` gives, upright as EXIF data says."""
    opened.load()
    turn = _orientation(opened)
    image, white = _shortened(opened, spec.stored_size) if spec.resize == "crop" else opened, 0
    if image.mode in ("I", "F"):
        white, image = _from_32_bits(image, opened.format or "")
    elif image.mode.startswith("I;16"):  # convert() would clip it to white
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    elif image.mode == "LAB":  # which Pillow converts to RGB only
        image = image.convert("RGB")
    image.info.pop("transparency", None)  # it is dropped anyway, but of palettes Pillow would warn
    image = image.convert("RGB" if spec.channels == 3 else "L")
    if turn in UPRIGHT:
        image = image.transpose(UPRIGHT[turn])
    pixels = np.asarray(_square(image, spec.stored_size, spec.resize), np.uint8)
    return white, pixels.transpose(2, 0, 1) if spec.channels == 3 else pixels[None]


def _orientation(opened: Image.Image) -> int:
    try:
        return int(opened.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # damaged EXIF data of an image that can be read
        return 1


def _longest(size: int) -> int:
    """The largest ratio of an image's sides with which it is resized as a whole."""
    return max(16, RESIZED_PIXELS // size**2)


def _shortened(image: Image.Image, size: int) -> Image.Image:
    """The image without the ends of a very long one, which resizing would take gigabytes for and cropping drop."""
    wide, high = image.size
    most = _longest(size)
    left, top = max(0, (wide - most * high) // 2), max(0, (high - most * wide) // 2)
    return image.crop((left, top, wide - left, high - top)) if left or top else image


def _from_32_bits(image: Image.Image, kind: str) -> tuple[int, Image.Image]:
    """The number that means white (1, 255 or 65535; 0 if all are 0), and the image with 8 bits.

    PPM and PNG have 16 bits. Other formats do not say which number is white, so the numbers must: they are in 0..1, or
    whole and in 0..255 or 0..65535. Raises ValueError if they are not.
    """
    numbers = np.asarray(image)
    low, high = float(numbers.min()), float(numbers.max())
    whole = image.mode == "I" or bool((numbers == np.floor(numbers)).all())
    if not (low >= 0 and (high <= 1 or (whole and high <= 65535))):
        raise ValueError(f"32-bit numbers must be in 0..1, or whole and in 0..65535, got {low:g}..{high:g}")
    if high == 0:
        white, scaled = 0, numbers
    elif kind in ("PPM", "PNG") and image.mode == "I":
        white, scaled = 65535, numbers // 257
    elif image.mode == "F" and high <= 1:
        white, scaled = 1, np.rint(numbers * 255)
    elif high <= 255:
        white, scaled = 255, numbers
    else:
        white, scaled = 65535, numbers // 257
    return white, Image.fromarray(scaled.astype(np.uint8))


def _square(image: Image.Image, size: int, resize: str) -> Image.Image:
    """The image as a square of that size, as DataSpec.resize says.

    Where Pillow's bilinear filter shrinks, it averages over all pixels. Caffe's tools (OpenCV) interpolate between four
    pixels and pass over the others; `squash` shares their geometry, not their filter.
    """
    wide, high = image.size
    match resize:
        case "crop":
            scale = size / min(wide, high)
            wide, high = (max(size, round(side * scale)) for side in image.size)
            image = image.resize((wide, high), BILINEAR)
            left, top = (wide - size) // 2, (high - size) // 2
            return image.crop((left, top, left + size, top + size))
        case "squash":
            if high > _longest(size) * wide:  # Pillow makes it `size` wide first, which could take gigabytes
                image = image.resize((wide, size), BILINEAR)
            return image.resize((size, size), BILINEAR)
        case _:
            raise unknown("data.resize", resize)


def _one_line(error: Exception) -> str:
    """The message of an exception, with its type unless it is one that Pillow raises on purpose."""
    lines = str(error).splitlines()
    message = lines[0].strip()[:200] if lines else ""
    if message and isinstance(error, OSError | ValueError | SyntaxError | Image.DecompressionBombError):
        return message
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
