"""Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747): 60,000 + 10,000 grey images of clothing, 28x28."""

import gzip
import hashlib
import math
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fire.data.downloads import one_line, socket_timeout
from fire.data.sources import Decoded
from fire.data.spec import DataSpec
from fire.errors import DataError, MissingDataError

DEBIAN_PACKAGE = "dataset-fashion-mnist"
DEBIAN = Path("usr/share/datasets/fashion-mnist")  # below /, or below a folder into which the package was unpacked
IDX_FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}
LABELS = "8ab940a680640f36c0bf1d2549cb2f3b3d4068c12547116cc7b1161b1d26663d"  # SHA-256, of both parts
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def read(spec: DataSpec, data_dir: Path, out: Path) -> Decoded:
    """Read the four files, which are found or downloaded in the order of `_find`."""
    folder = _find(spec, data_dir)
    arrays: dict[str, NDArray[Any]] = {}
    for part, images in (("train", 60_000), ("test", 10_000)):
        arrays[f"{part}_images"] = _read_idx(folder, IDX_FILES[f"{part}_images"], (images, 28, 28))[:, None]
        arrays[f"{part}_labels"] = _read_idx(folder, IDX_FILES[f"{part}_labels"], (images,)).astype(np.int64)
        largest = arrays[f"{part}_labels"].max()
        if largest >= len(CLASSES):
            raise DataError(f"labels in {folder} must be below {len(CLASSES)}, got {largest}")
    # MNIST and KMNIST have files of the same names and sizes.
    labels = hashlib.sha256(b"".join(arrays[f"{part}_labels"].astype(np.uint8).tobytes() for part in ("train", "test")))
    if labels.hexdigest() != LABELS:
        raise DataError(f"the files in {folder} must be Fashion-MNIST's, got other labels")
    return Decoded(arrays, CLASSES)


def _find(spec: DataSpec, data_dir: Path) -> Path:
    """The folder with the four IDX files: data.root; without one Debian's package, torchvision's or apt's download."""
    home = data_dir / "fashion_mnist"
    torchvision_folder = home / "FashionMNIST" / "raw"
    debian_folder = home / "debian"
    wanted = f"a folder with {', '.join(IDX_FILES.values())} (plain or .gz)"
    if spec.root is not None:
        for folder in (Path(spec.root), Path(spec.root) / "FashionMNIST" / "raw"):
            if _has_idx_files(folder):
                return folder
        raise MissingDataError(f"data.root must be {wanted}, got {spec.root!r}")
    known = ["/" / DEBIAN, torchvision_folder, debian_folder / DEBIAN]
    for folder in known:
        if _has_idx_files(folder):
            return folder
    tried = [f"no files in {', '.join(str(folder) for folder in known)}"]
    downloads: list[tuple[str, Callable[[], None], Path]] = [
        ("torchvision's download", lambda: _download_by_torchvision(home), torchvision_folder),
        ("apt-get download", lambda: _download_by_apt(debian_folder), debian_folder / DEBIAN),
    ]
    for name, fetch, folder in downloads:
        try:
            fetch()
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            tried.append(f"{name}: {one_line(error)}")
        else:
            if _has_idx_files(folder):
                return folder
            tried.append(f"{name}: left no files in {folder}")
    raise MissingDataError(
        f"Fashion-MNIST is not on this machine and cannot be downloaded ({'; '.join(tried)}). Install Debian's package "
        f"{DEBIAN_PACKAGE}, or set data.root to {wanted}"
    )


def _has_idx_files(folder: Path) -> bool:
    return all((folder / name).is_file() or (folder / f"{name}.gz").is_file() for name in IDX_FILES.values())


def _download_by_torchvision(home: Path) -> None:
    """Download into home/FashionMNIST; whole or not at all, for torchvision leaves what an interrupt cut short."""
    from torchvision.datasets import FashionMNIST

    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as temporary, socket_timeout(20):
        FashionMNIST(temporary, download=True)
        shutil.rmtree(home / "FashionMNIST", ignore_errors=True)
        (Path(temporary) / "FashionMNIST").rename(home / "FashionMNIST")


def _download_by_apt(target: Path) -> None:
    """Unpack Debian's package dataset-fashion-mnist below target, without being root."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise OSError("this system has no apt-get")
    target.parent.mkdir(parents=True, exist_ok=True)
    # Absolute, since the commands run in this folder.
    with tempfile.TemporaryDirectory(dir=target.parent.resolve()) as temporary:
        folder = Path(temporary)
        _apt_get_download(folder)
        packages = sorted(folder.glob("*.deb"))
        if not packages:
            raise OSError("apt-get left no package")
        unpacked = folder / "unpacked"
        _run(["dpkg-deb", "-x", str(packages[0]), str(unpacked)], folder)
        shutil.rmtree(target, ignore_errors=True)
        unpacked.rename(target)


def _apt_get_download(folder: Path) -> None:
    apt_get = ["apt-get", "-o", "Acquire::Retries=1"]
    apt_get += [part for method in ("http", "https") for part in ("-o", f"Acquire::{method}::Timeout=20")]
    try:
        _run([*apt_get, "download", DEBIAN_PACKAGE], folder)
    except OSError:
        # The system's package lists may be missing or old, and only root can refresh them: use lists of our own.
        (folder / "lists" / "partial").mkdir(parents=True)
        apt_get += ["-o", f"Dir::State::lists={folder / 'lists'}", "-o", f"Dir::Cache={folder / 'cache'}"]
        with suppress(OSError):  # another source may be broken, or a hook may need root: the download decides
            _run([*apt_get, "update"], folder)
        _run([*apt_get, "download", DEBIAN_PACKAGE], folder)


def _run(command: list[str], folder: Path) -> None:
    """Run a command in a folder. Raises OSError with the first line of its errors (not apt's warnings) if it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if not line.startswith(("W: ", "N: "))]
        raise OSError(errors[0] if errors else f"{command[0]} ended with {done.returncode}")


def _read_idx(folder: Path, name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """One IDX file of unsigned bytes, plain or gzipped: 0, 0, 8, dimensions; sizes as big-endian uint32; bytes.

    No more of it is read than an array of this shape has, however much a gzipped file may unpack to. Raises DataError
    if the file is damaged or of another shape.
    """
    path = folder / name if (folder / name).is_file() else folder / f"{name}.gz"
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            start = file.read(4)
            if start[:3] != b"\0\0\x08":
                raise ValueError("no IDX file of unsigned bytes")
            sizes = file.read(4 * start[3])
            found = tuple(map(int, np.frombuffer(sizes, ">u4")))
            if found != shape:
                raise ValueError(f"it must be of {_times(shape)} bytes as in Fashion-MNIST, got {_times(found)}")
            content = file.read(math.prod(shape) + 1)
            if len(content) != math.prod(shape):
                amount = "more" if len(content) > math.prod(shape) else f"{len(content):,}"
                raise ValueError(f"it must have {math.prod(shape):,} bytes behind its header, got {amount}")
            return np.frombuffer(content, np.uint8).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        raise DataError(f"{path} is corrupt: {one_line(error)}") from error


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
