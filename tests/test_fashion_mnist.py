"""Fashion-MNIST: its files, and where they come from."""

import gzip
import hashlib
import shutil
import subprocess
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torchvision

from fire.data import dataset, sources
from fire.data.readers import fashion_mnist
from fire.data.spec import DataSpec
from fire.errors import DataError, MissingDataError

FASHION = DataSpec(name="fashion_mnist")
SIZES = {"train_images": (60_000, 28, 28), "train_labels": (60_000,), "test_images": (10_000, 28, 28)}
SIZES["test_labels"] = (10_000,)
NAMES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}


def idx(array: np.ndarray) -> bytes:
    """The IDX format: 0, 0, 8 for unsigned bytes, the number of dimensions, big-endian sizes, the values."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


@pytest.fixture(scope="module")
def fashion_arrays() -> dict[str, np.ndarray]:
    """Black images but for a few; the labels repeat 0 .. 9."""
    arrays = {name: np.zeros(shape, np.uint8) for name, shape in SIZES.items()}
    random = np.random.default_rng(0)
    for part in ("train", "test"):
        arrays[f"{part}_images"][::5000] = random.integers(0, 256, arrays[f"{part}_images"][::5000].shape)
        arrays[f"{part}_labels"] += np.arange(len(arrays[f"{part}_labels"]), dtype=np.uint8) % 10
    return arrays


@pytest.fixture
def fashion_root(fashion_arrays, tmp_path, monkeypatch) -> Path:
    """A folder with the four files, two of them gzipped, whose labels count as Fashion-MNIST's."""
    labels = fashion_arrays["train_labels"].tobytes() + fashion_arrays["test_labels"].tobytes()
    monkeypatch.setattr(fashion_mnist, "LABELS", hashlib.sha256(labels).hexdigest())
    root = tmp_path / "fashion"
    root.mkdir()
    for name in ("train_images", "test_labels"):
        (root / f"{NAMES[name]}.gz").write_bytes(gzip.compress(idx(fashion_arrays[name]), 1))
    for name in ("train_labels", "test_images"):
        (root / NAMES[name]).write_bytes(idx(fashion_arrays[name]))
    return root


@pytest.fixture
def no_fashion_anywhere(monkeypatch) -> None:
    """No package installed, no network."""

    def fail(home):
        raise OSError("cannot download:\n\n no route to host\n")

    monkeypatch.setattr(fashion_mnist, "DEBIAN", Path("no/such/fashion-mnist"))
    monkeypatch.setattr(fashion_mnist, "_download_by_torchvision", fail)
    monkeypatch.setattr(fashion_mnist, "_download_by_apt", fail)


def test_fashion_mnist_files_come_back_value_by_value(fashion_root, fashion_arrays, tmp_path):
    decoded = sources.decode(DataSpec(root=str(fashion_root)), tmp_path, tmp_path)
    for name, array in fashion_arrays.items():
        shape = (len(array), 1, 28, 28) if name.endswith("images") else array.shape
        assert np.array_equal(decoded.arrays[name], array.reshape(shape))
    assert decoded.class_names[0] == "T-shirt/top"
    assert decoded.class_names[9] == "Ankle boot"


def test_torchvisions_folders_below_the_root_are_found(fashion_root, tmp_path):
    (tmp_path / "other" / "FashionMNIST").mkdir(parents=True)
    fashion_root.rename(tmp_path / "other" / "FashionMNIST" / "raw")
    spec = DataSpec(root=str(tmp_path / "other"))
    assert fashion_mnist._find(spec, tmp_path) == tmp_path / "other" / "FashionMNIST" / "raw"


@pytest.mark.parametrize(
    ("name", "keep"), [("train-images-idx3-ubyte.gz", 0.5), ("train-labels-idx1-ubyte", 0.5), ("t10k-", 0)], ids=str
)
def test_truncated_file_is_named(name, keep, fashion_root, tmp_path):
    path = next(path for path in sorted(fashion_root.iterdir()) if path.name.startswith(name))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])
    with pytest.raises(DataError) as caught:
        sources.decode(DataSpec(root=str(fashion_root)), tmp_path, tmp_path)
    assert str(caught.value).startswith(f"{path} is corrupt: ")


def test_another_number_of_images_is_refused(fashion_root, tmp_path):
    (fashion_root / NAMES["train_labels"]).write_bytes(idx(np.zeros(59_999, np.uint8)))
    with pytest.raises(DataError, match="it must be of 60000 bytes as in Fashion-MNIST, got 59999"):
        sources.decode(DataSpec(root=str(fashion_root)), tmp_path, tmp_path)


@pytest.mark.parametrize("sizes", [[60_000], [2**31, 2**31]], ids=["behind its array", "by its header"])
def test_no_more_is_unpacked_than_fashion_mnist_has(sizes, tmp_path):
    header = bytes([0, 0, 8, len(sizes)]) + b"".join(size.to_bytes(4, "big") for size in sizes)
    path = tmp_path / "labels.gz"
    path.write_bytes(gzip.compress(header + bytes(2**26), 1))
    tracemalloc.start()
    with pytest.raises(DataError, match=rf"{path} is corrupt: it must (be of 60000|have 60,000) bytes"):
        fashion_mnist._read_idx(tmp_path, "labels", (60_000,))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2**24


def test_labels_beyond_the_classes_are_refused(fashion_root, fashion_arrays, tmp_path):
    (fashion_root / NAMES["train_labels"]).write_bytes(idx(fashion_arrays["train_labels"] + 1))
    with pytest.raises(DataError, match=r"labels in .* must be below 10, got 10"):
        sources.decode(DataSpec(root=str(fashion_root)), tmp_path, tmp_path)


def test_files_of_another_data_set_are_refused(fashion_root, fashion_arrays, tmp_path):
    (fashion_root / NAMES["train_labels"]).write_bytes(idx(fashion_arrays["train_labels"][::-1].copy()))
    with pytest.raises(DataError, match=r"the files in .* must be Fashion-MNIST's, got other labels"):
        sources.decode(DataSpec(root=str(fashion_root)), tmp_path, tmp_path)


@pytest.mark.skipif(not Path("/", fashion_mnist.DEBIAN).is_dir(), reason="needs Debian's package of Fashion-MNIST")
def test_the_labels_of_debians_package_are_those_that_are_known(tmp_path):
    assert len(sources.decode(FASHION, tmp_path, tmp_path).arrays["train_labels"]) == 60_000


def test_a_root_without_the_files_is_refused_though_others_are_there(fashion_root, tmp_path, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "DEBIAN", fashion_root.relative_to("/"))
    assert fashion_mnist._find(FASHION, tmp_path) == fashion_root
    with pytest.raises(
        MissingDataError, match=r"data\.root must be a folder with train-images-idx3-ubyte, .*, got '/no'"
    ):
        fashion_mnist._find(DataSpec(root="/no"), tmp_path)


def test_where_nothing_is_found_the_message_lists_what_was_tried(no_fashion_anywhere, tmp_path):
    with pytest.raises(MissingDataError) as caught:
        dataset.load(FASHION, tmp_path)
    message = str(caught.value)
    for part in (
        "/no/such/fashion-mnist",
        "torchvision's download: cannot download: no route to host",
        "apt-get download: cannot download: no route to host",
        "Debian's package dataset-fashion-mnist",
    ):
        assert part in message
    assert "\n" not in message


def test_download_that_was_interrupted_is_begun_anew(fashion_root, tmp_path, monkeypatch):
    calls = []

    def fetch(root, download):
        raw = Path(root) / "FashionMNIST" / "raw"
        shutil.copytree(fashion_root, raw)
        calls.append(raw)
        if len(calls) == 1:
            (raw / NAMES["test_images"]).write_bytes(b"half of")
            raise KeyboardInterrupt

    monkeypatch.setattr(fashion_mnist, "DEBIAN", Path("no/such/fashion-mnist"))
    monkeypatch.setattr(torchvision.datasets, "FashionMNIST", fetch)
    with pytest.raises(KeyboardInterrupt):
        fashion_mnist._find(FASHION, tmp_path / "data")
    found = fashion_mnist._find(FASHION, tmp_path / "data")
    assert (found / NAMES["test_images"]).read_bytes() == (fashion_root / NAMES["test_images"]).read_bytes()
    assert [path.name for path in (tmp_path / "data/fashion_mnist").iterdir()] == ["FashionMNIST"]


class AptRepository:
    """A repository of apt with one package: the four files in usr/share/datasets/fashion-mnist-test."""

    def __init__(self, folder: Path, files: Path) -> None:
        self.folder = folder
        tree = folder / "tree"
        shutil.copytree(files, tree / "usr/share/datasets/fashion-mnist-test")
        (tree / "DEBIAN").mkdir()
        (folder / "sources.list").write_text(f"deb [trusted=yes] file:{folder} ./\n")
        self.lists = folder / "lists"
        (self.lists / "partial").mkdir(parents=True)
        # apt.conf(5). All that belongs to the system is replaced, so that only this repository is asked.
        self.config = folder / "apt.conf"
        self.config.write_text(
            f'Dir::Etc::sourcelist "{folder}/sources.list"; Dir::Etc::sourceparts "-"; APT::Sandbox::User "root";'
            f'Dir::State::lists "{self.lists}"; Dir::Cache "{folder}/apt-cache";'
        )

    def publish(self, version: str) -> None:
        """Put a version into the repository, in place of the one before."""
        for old in self.folder.glob("*.deb"):
            old.unlink()
        control = f"Package: dataset-fashion-mnist\nVersion: {version}\nArchitecture: all\nMaintainer: a test <a@b>\n"
        (self.folder / "tree/DEBIAN/control").write_text(f"{control}Description: a test\n")
        package = self.folder / f"dataset-fashion-mnist_{version}_all.deb"
        command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", self.folder / "tree", package]
        subprocess.run(command, check=True, capture_output=True)
        content = package.read_bytes()
        entry = f"{control}Filename: ./{package.name}\nSize: {len(content)}\nDescription: a test\n"
        (self.folder / "Packages").write_text(f"{entry}SHA256: {hashlib.sha256(content).hexdigest()}\n")

    def update(self) -> None:
        """What root does on a system: apt-get update."""
        subprocess.run(["apt-get", "update"], check=True, capture_output=True)


@pytest.fixture
def apt(fashion_root, tmp_path, monkeypatch) -> AptRepository:
    """The only source of Fashion-MNIST, for a user with an empty home folder, in an empty folder."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("this system has no apt-get")
    (tmp_path / "repository").mkdir()
    repository = AptRepository(tmp_path / "repository", fashion_root)
    for folder in ("home", "here"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("APT_CONFIG", str(repository.config))
    monkeypatch.setattr(fashion_mnist, "DEBIAN", Path("usr/share/datasets/fashion-mnist-test"))
    monkeypatch.setattr(
        fashion_mnist, "_download_by_torchvision", lambda home: None
    )  # it ends well, and leaves nothing
    return repository


def test_debians_package_is_downloaded_into_a_relative_data_dir(apt, fashion_arrays):
    apt.publish("1")
    apt.update()
    loaded = dataset.load(FASHION, Path("data"))
    assert np.array_equal(loaded.test.images[:, 0], fashion_arrays["test_images"])
    assert np.array_equal(loaded.train.labels, fashion_arrays["train_labels"])
    assert [path.name for path in Path("data/fashion_mnist").iterdir()] == ["debian"]  # nothing temporary is left


def test_package_that_was_downloaded_is_found_again(apt, monkeypatch):
    apt.publish("1")
    apt.update()
    found = fashion_mnist._find(FASHION, Path("data"))
    monkeypatch.setattr(fashion_mnist, "_download_by_apt", refuse_to_download)
    assert fashion_mnist._find(FASHION, Path("data")) == found


def refuse_to_download(target):
    raise AssertionError("downloaded again")


@pytest.mark.parametrize("lists", ["missing", "of an older version"])
def test_package_lists_of_its_own_where_the_systems_do_not_do(lists, apt):
    if lists == "of an older version":
        apt.publish("1")
        apt.update()
    before = sorted(apt.lists.rglob("*"))
    apt.publish("2")
    fashion_mnist._download_by_apt(Path("data/debian"))
    assert (Path("data/debian") / fashion_mnist.DEBIAN / "train-images-idx3-ubyte.gz").is_file()
    assert sorted(apt.lists.rglob("*")) == before


def test_package_that_no_source_has_is_an_error_of_one_line(apt):
    (apt.folder / "Packages").write_text("")
    with pytest.raises(
        OSError,
        match=r"^E: (Unable to locate package dataset-fashion-mnist|Can.t find a source to download version .*)$",
    ):
        fashion_mnist._download_by_apt(Path("data/debian"))


def test_command_that_fails_is_reported_by_its_first_error(tmp_path):
    script = "echo 'W: no sandbox' >&2; echo 'E: no such package' >&2; echo more >&2; exit 100"
    with pytest.raises(OSError, match=r"^E: no such package$"):
        fashion_mnist._run(["sh", "-c", script], tmp_path)


@pytest.mark.skipif(
    not Path("/", fashion_mnist.DEBIAN).is_dir(), reason="Debian's dataset-fashion-mnist is not installed"
)
def test_the_real_fashion_mnist():
    # Xiao et al. 2017: 6,000 and 1,000 images a class. 0.2860 and 0.3530 are the moments usually published.
    with tempfile.TemporaryDirectory() as data_dir:
        fashion = dataset.load(FASHION, Path(data_dir))
        assert (len(fashion.train), len(fashion.validation), len(fashion.test)) == (55_000, 5_000, 10_000)
        assert np.bincount(fashion.train.labels).tolist() == [6_000] * 10
        assert np.bincount(fashion.test.labels).tolist() == [1_000] * 10
        assert round(fashion.mean[0] / 255, 4) == 0.2860
        assert round(fashion.std[0] / 255, 4) == 0.3530
