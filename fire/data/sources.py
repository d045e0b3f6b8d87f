"""Where data sets come from, and how their files become uint8 arrays (N, C, S, S). No torch; torchvision to download.

Fashion-MNIST: Xiao et al. 2017, arXiv:1708.07747. CIFAR: Krizhevsky 2009. Digits: scikit-learn's bundled images.
"""

import gzip
import math
import shutil
import socket
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fire.data import contents, decoding, folders
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
FASHION_CLASSES = (
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


class Decoded(NamedTuple):
    """train_images, train_labels, test_images, test_labels, and the classes by label.

    skipped: how many images could not be read. left_out: what else an image folder holds, as folders.summary says it.
    """

    arrays: dict[str, NDArray[Any]]
    class_names: tuple[str, ...]
    skipped: int = 0
    left_out: str = ""


def check_root(spec: DataSpec) -> None:
    """Raise DataError if a root is configured that is no folder."""
    if spec.root is not None and not Path(spec.root).is_dir():
        raise DataError(f"data.root must be an existing folder, got {spec.root!r}")


def decode(spec: DataSpec, data_dir: Path, out: Path) -> Decoded:
    """Find the data set, downloading it into data_dir if need be, and decode it. Large arrays are .npy maps in out.

    Raises MissingDataError if it cannot be found or downloaded, DataError if it cannot be read or does not fit the
    specification.
    """
    readers: dict[str, Callable[[], Decoded]] = {
        "fashion_mnist": lambda: _fashion_mnist(spec, data_dir),
        "cifar10": lambda: _cifar(spec, data_dir),
        "cifar100": lambda: _cifar(spec, data_dir),
        "digits": _digits,
        "image_folder": lambda: _image_folder(spec, data_dir, out),
    }
    decoded = readers[spec.name]()
    shape = decoded.arrays["train_images"].shape[1:]
    if shape != (spec.channels, spec.stored_size, spec.stored_size):
        raise DataError(
            f"data.channels and data.stored_size must be {shape[0]} and {shape[1]} for {spec.name}, "
            f"got {spec.channels} and {spec.stored_size}"
        )
    return decoded


def _fashion_mnist(spec: DataSpec, data_dir: Path) -> Decoded:
    folder = _find_fashion_mnist(spec, data_dir)
    arrays: dict[str, NDArray[Any]] = {}
    for part, images in (("train", 60_000), ("test", 10_000)):
        arrays[f"{part}_images"] = _read_idx(folder, IDX_FILES[f"{part}_images"], (images, 28, 28))[:, None]
        arrays[f"{part}_labels"] = _read_idx(folder, IDX_FILES[f"{part}_labels"], (images,)).astype(np.int64)
        largest = arrays[f"{part}_labels"].max()
        if largest >= len(FASHION_CLASSES):
            raise DataError(f"labels in {folder} must be below {len(FASHION_CLASSES)}, got {largest}")
    return Decoded(arrays, FASHION_CLASSES)


def _find_fashion_mnist(spec: DataSpec, data_dir: Path) -> Path:
    """The folder with the four IDX files: the configured root, Debian's package, torchvision's or apt's download."""
    home = data_dir / "fashion_mnist"
    torchvision_folder = home / "FashionMNIST" / "raw"
    debian_folder = home / "debian"
    root = [] if spec.root is None else [Path(spec.root), Path(spec.root) / "FashionMNIST" / "raw"]
    known = [*root, "/" / DEBIAN, torchvision_folder, debian_folder / DEBIAN]
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
            tried.append(f"{name}: {_one_line(error)}")
        else:
            if _has_idx_files(folder):
                return folder
            tried.append(f"{name}: left no files in {folder}")
    raise MissingDataError(
        f"Fashion-MNIST is not on this machine and cannot be downloaded ({'; '.join(tried)}). Install Debian's package "
        f"{DEBIAN_PACKAGE}, or set data.root to a folder with {', '.join(IDX_FILES.values())} (plain or .gz)"
    )


def _has_idx_files(folder: Path) -> bool:
    return all((folder / name).is_file() or (folder / f"{name}.gz").is_file() for name in IDX_FILES.values())


def _download_by_torchvision(home: Path) -> None:
    """Download into home/FashionMNIST; whole or not at all, for torchvision leaves what an interrupt cut short."""
    from torchvision.datasets import FashionMNIST

    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as temporary, _socket_timeout(20):
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


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    # Where a firewall drops packets, a download without a timeout would wait for ever.
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


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
        raise DataError(f"{path} is corrupt: {_one_line(error)}") from error


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _cifar(spec: DataSpec, data_dir: Path) -> Decoded:
    from torchvision import datasets

    reader = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[spec.name]
    home = data_dir / spec.name if spec.root is None else Path(spec.root)
    arrays: dict[str, NDArray[Any]] = {}
    try:
        for part, train in (("train", True), ("test", False)):
            with _socket_timeout(20):
                stored = reader(str(home), train=train, download=True)
            arrays[f"{part}_images"] = np.ascontiguousarray(stored.data.transpose(0, 3, 1, 2))
            arrays[f"{part}_labels"] = np.asarray(stored.targets, np.int64)
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise MissingDataError(
            f"{spec.name} is not on this machine and cannot be downloaded ({_one_line(error)}). "
            f"Put its unpacked python version into {home}"
        ) from error
    return Decoded(arrays, tuple(stored.classes))


def _digits() -> Decoded:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images[:, None] * (255 / 16)).astype(np.uint8)  # 17 grey levels
    labels = digits.target.astype(np.int64)
    # The file is ordered by writer; the test set is a fixed random fifth.
    order = np.random.default_rng(0).permutation(len(labels))
    test, train = order[: len(order) // 5], order[len(order) // 5 :]
    arrays = {
        "train_images": images[train],
        "train_labels": labels[train],
        "test_images": images[test],
        "test_labels": labels[test],
    }
    return Decoded(arrays, tuple(str(name) for name in digits.target_names))


def _image_folder(spec: DataSpec, data_dir: Path, out: Path) -> Decoded:
    root = Path(str(spec.root))
    listing = folders.scan(root)
    found = contents.fingerprint(listing, data_dir)
    if spec.fingerprint and spec.fingerprint != found:
        raise DataError(
            f"data.root must hold the images of fingerprint {spec.fingerprint}, got {found} in {folders.shown(root)}"
        )
    decoded: dict[str, NDArray[Any]] = {}
    skipped = 0
    for part, files in (("train", listing.train), ("test", listing.test)):
        path = out / f"{part}_images.npy"
        kept = decoding.decode(files, path, spec)
        decoded[f"{part}_images"] = np.load(path, mmap_mode="r")
        decoded[f"{part}_labels"] = np.array([files[i].label for i in kept], np.int64)
        skipped += len(files) - len(kept)
    if folders.scan(root).state != listing.state:
        raise DataError(f"data.root must not change while it is decoded, got other files in {folders.shown(root)}")
    return Decoded(decoded, listing.class_names, skipped, folders.summary(listing.left_out))


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
