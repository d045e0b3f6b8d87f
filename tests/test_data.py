import gzip
import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from fire import data, sources
from fire.errors import DataError
from fire.recipe import DataSpec

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
def fashion_root(fashion_arrays, tmp_path) -> Path:
    """A folder with the four files, two of them gzipped."""
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
        raise OSError("no route to host\nand more lines")

    monkeypatch.setattr(sources, "DEBIAN", Path("no/such/fashion-mnist"))
    monkeypatch.setattr(sources, "_download_by_torchvision", fail)
    monkeypatch.setattr(sources, "_download_by_apt", fail)


def the_cache(data_dir: Path) -> Path:
    (folder,) = [path for path in (data_dir / "cache").iterdir() if path.is_dir()]
    return folder


def refuse_to_decode(*arguments):
    raise AssertionError("decoded again")


def test_digits_are_split_into_disjoint_sets_that_hold_all_images(digits):
    assert (len(digits.train), len(digits.validation), len(digits.test)) == (1797 - 359 - 200, 200, 359)
    assert not set(digits.train.rows) & set(digits.validation.rows)
    assert sorted([*digits.train.rows, *digits.validation.rows]) == list(range(1797 - 359))
    assert sorted(digits.test.rows) == list(range(359))
    bundled = load_digits()
    stored = np.concatenate([digits.train.images, digits.test.images])[:, 0]
    labels = np.concatenate([digits.train.labels, digits.test.labels])
    ours = sorted((label, image.tobytes()) for label, image in zip(labels, stored, strict=True))
    grey = np.round(bundled.images * 255 / 16).astype(np.uint8)
    assert ours == sorted((label, image.tobytes()) for label, image in zip(bundled.target, grey, strict=True))


def test_split_is_part_of_the_data_set(digits, digits_spec, tmp_path):
    again = data.load(digits_spec, tmp_path)
    for part in ("train", "validation", "test"):
        assert np.array_equal(getattr(again, part).rows, getattr(digits, part).rows)
        assert np.array_equal(getattr(again, part).images, getattr(digits, part).images)


def test_moments_are_numpys(digits):
    assert digits.mean == pytest.approx([digits.train.images.mean()], rel=1e-12)
    assert digits.std == pytest.approx([digits.train.images.std()], rel=1e-12)


def test_moments_of_each_channel():
    images = np.random.default_rng(0).integers(0, 256, (2000, 3, 4, 4)).astype(np.uint8)
    images[:, 1] //= 2
    images[:, 2] = 9
    mean, std = data._moments(images)
    assert mean == pytest.approx(images.mean((0, 2, 3)), rel=1e-12)
    assert std == pytest.approx([images[:, 0].std(), images[:, 1].std(), 1.0], rel=1e-12)  # constant: not 0


def test_limit_takes_fewer_of_each_set(digits, digits_spec, tmp_path):
    limited = data.load(DataSpec(**{**vars(digits_spec), "limit": 50}), tmp_path)
    assert [len(part) for part in (limited.train, limited.validation, limited.test)] == [50, 50, 50]
    assert set(limited.train.rows) <= set(digits.train.rows)


def test_second_load_reads_the_cache(digits, digits_spec, tmp_path, monkeypatch):
    data.load(digits_spec, tmp_path)
    monkeypatch.setattr(sources, "decode", refuse_to_decode)
    again = data.load(digits_spec, tmp_path)
    assert np.array_equal(again.test.images, digits.test.images)
    assert (again.class_names, again.mean, again.std) == (digits.class_names, digits.mean, digits.std)


def truncate(folder):
    path = folder / "train_images.npy"
    path.write_bytes(path.read_bytes()[:-1])


def remove_an_array(folder):
    (folder / "test_labels.npy").unlink()


def remove_meta(folder):
    (folder / "meta.json").unlink()


def garble_meta(folder):
    (folder / "meta.json").write_text("{")


def meta_of_another_data_set(folder):
    meta = json.loads((folder / "meta.json").read_text())
    meta["identity"]["stored_size"] = 9
    (folder / "meta.json").write_text(json.dumps(meta))


def meta_of_another_kind(folder):
    (folder / "meta.json").write_text("[1, 2]")


@pytest.mark.parametrize(
    "damage", [truncate, remove_an_array, remove_meta, garble_meta, meta_of_another_data_set, meta_of_another_kind]
)
def test_damaged_cache_is_built_again(damage, digits, digits_spec, tmp_path, monkeypatch):
    data.load(digits_spec, tmp_path)
    damage(the_cache(tmp_path))
    again = data.load(digits_spec, tmp_path)
    assert np.array_equal(again.train.images, digits.train.images)
    assert np.array_equal(again.test.labels, digits.test.labels)
    monkeypatch.setattr(sources, "decode", refuse_to_decode)
    data.load(digits_spec, tmp_path)


def test_failed_decoding_leaves_no_cache(digits_spec, tmp_path, monkeypatch):
    def fail(*arguments):
        raise DataError("half of it is missing")

    monkeypatch.setattr(sources, "decode", fail)
    with pytest.raises(DataError, match="half of it is missing"):
        data.load(digits_spec, tmp_path)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"root": "no/such/folder"}, "data.root must be an existing folder, got 'no/such/folder'"),
        ({"classes": 12}, "data.classes must be 10 for digits, got 12"),
        (
            {"stored_size": 28, "image_size": 28},
            "data.channels and data.stored_size must be 1 and 8 for digits, got 1 and 28",
        ),
        ({"channels": 3}, "data.channels and data.stored_size must be 1 and 8 for digits, got 3 and 8"),
        ({"validation": 1438}, "data.validation must be below the 1438 training images there are, got 1438"),
    ],
    ids=str,
)
def test_configuration_that_does_not_fit_is_refused(changes, message, digits_spec, tmp_path):
    with pytest.raises(DataError) as caught:
        data.load(DataSpec(**{**vars(digits_spec), **changes}), tmp_path)
    assert str(caught.value) == message


def test_classes_are_checked_against_the_cache_too(digits_spec, tmp_path):
    data.load(digits_spec, tmp_path)
    with pytest.raises(DataError, match=r"data\.classes must be 10 for digits, got 7"):
        data.load(DataSpec(**{**vars(digits_spec), "classes": 7}), tmp_path)


def test_data_dir_that_is_a_file_is_refused(digits_spec, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"data_dir .*file cannot be used: "):
        data.load(digits_spec, tmp_path / "file")


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
    assert sources._find_fashion_mnist(spec, tmp_path) == tmp_path / "other" / "FashionMNIST" / "raw"


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
    with pytest.raises(DataError, match="Fashion-MNIST must have 60000 train images of 28x28 pixels, not so in"):
        sources.decode(DataSpec(root=str(fashion_root)), tmp_path, tmp_path)


def test_where_nothing_is_found_the_message_lists_what_was_tried(no_fashion_anywhere, tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(DataError) as caught:
        data.load(DataSpec(root=str(tmp_path / "mine")), tmp_path)
    message = str(caught.value)
    for part in (
        str(tmp_path / "mine"),
        "/no/such/fashion-mnist",
        "torchvision's download: no route to host",
        "apt-get download: no route to host",
        "Debian's package dataset-fashion-mnist",
        "data=digits",
    ):
        assert part in message
    assert "\n" not in message


def test_apt_download_is_unpacked_and_found_again(fashion_root, tmp_path, monkeypatch):
    commands = []

    def run(command, folder):
        commands.append(command[0])
        if command[0] == "apt-get":
            Path(folder, "dataset-fashion-mnist_0.1_all.deb").write_bytes(b"")
        else:
            shutil.copytree(fashion_root, Path(command[3]) / "no/such/fashion-mnist")

    monkeypatch.setattr(sources, "DEBIAN", Path("no/such/fashion-mnist"))
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(sources, "_run", run)
    monkeypatch.setattr(sources, "_download_by_torchvision", lambda home: None)  # it ends well, and leaves nothing
    found = sources._find_fashion_mnist(FASHION, tmp_path)
    assert commands == ["apt-get", "dpkg-deb"]
    assert (found / "train-images-idx3-ubyte.gz").is_file()
    assert sources._find_fashion_mnist(FASHION, tmp_path) == found
    assert len(commands) == 2


def test_command_that_fails_is_reported_by_its_first_line(tmp_path):
    with pytest.raises(OSError, match=r"^E: no such package$"):
        sources._run(["sh", "-c", "echo 'E: no such package' >&2; echo more >&2; exit 100"], str(tmp_path))


@pytest.mark.skipif(not Path("/", sources.DEBIAN).is_dir(), reason="Debian's dataset-fashion-mnist is not installed")
def test_the_real_fashion_mnist():
    # Xiao et al. 2017: 6,000 and 1,000 images a class. 0.2860 and 0.3530 are the moments usually published.
    with tempfile.TemporaryDirectory() as data_dir:
        fashion = data.load(FASHION, Path(data_dir))
        assert (len(fashion.train), len(fashion.validation), len(fashion.test)) == (55_000, 5_000, 10_000)
        assert np.bincount(fashion.train.labels).tolist() == [6_000] * 10
        assert np.bincount(fashion.test.labels).tolist() == [1_000] * 10
        assert round(fashion.mean[0] / 255, 4) == 0.2860
        assert round(fashion.std[0] / 255, 4) == 0.3530
