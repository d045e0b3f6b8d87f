"""Data sets that torchvision downloads, from made-up files in its formats."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torchvision
from scipy.io import savemat

from fire.data import dataset, sources
from fire.data.spec import DATA_SETS, DataSpec
from fire.errors import MissingDataError

COLOUR = {"channels": 3, "stored_size": 32, "image_size": 32}


def made_up(images: int, seed: int) -> np.ndarray:
    """Random images (N, C, S, S)."""
    return np.random.default_rng(seed).integers(0, 256, (images, 3, 32, 32), np.uint8)


@pytest.fixture
def svhn(tmp_path, monkeypatch) -> DataSpec:
    """SVHN's files: X (32, 32, 3, N), y (N, 1) in which 10 is the digit 0, as its page says."""
    root = tmp_path / "svhn"
    root.mkdir()
    split_list = {}
    for part, count in (("train", 30), ("test", 20)):
        path = root / f"{part}_32x32.mat"
        labels = np.arange(1, count + 1, dtype=np.uint8) % 10
        labels[labels == 0] = 10
        savemat(path, {"X": made_up(count, seed=count).transpose(2, 3, 1, 0), "y": labels[:, None]})
        digest = hashlib.md5(path.read_bytes()).hexdigest()  # torchvision compares it
        split_list[part] = ["http://localhost/none", path.name, digest]
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", split_list)
    return DataSpec(name="svhn", root=str(root), validation=5, mirror=False, **COLOUR)


def test_svhn_comes_back_value_by_value(svhn, tmp_path):
    decoded = sources.decode(svhn, tmp_path, tmp_path)
    assert np.array_equal(decoded.arrays["train_images"], made_up(30, seed=30))
    assert np.array_equal(decoded.arrays["test_images"], made_up(20, seed=20))
    assert decoded.arrays["train_labels"].tolist() == [i % 10 for i in range(1, 31)]
    assert decoded.class_names == tuple("0123456789")


def test_svhn_is_loaded_through_the_cache(svhn, tmp_path):
    loaded = dataset.load(svhn, tmp_path)
    assert [len(part) for part in (loaded.train, loaded.validation, loaded.test)] == [25, 5, 20]
    assert np.allclose(loaded.mean, made_up(30, seed=30).mean(axis=(0, 2, 3)), atol=0.01)


def test_svhn_that_is_nowhere_is_one_line(svhn, tmp_path):
    (tmp_path / "svhn" / "test_32x32.mat").unlink()
    with pytest.raises(MissingDataError) as caught:
        sources.decode(svhn, tmp_path, tmp_path)
    message = str(caught.value)
    assert message.startswith("svhn is missing or damaged there (")
    assert message.endswith(f"). Put train_32x32.mat and test_32x32.mat into {tmp_path / 'svhn'}")


def test_cifar10_comes_back_value_by_value(tmp_path, monkeypatch):
    # Its page: each file a pickle of rows of 3,072 bytes, red first; five files for training.
    root = tmp_path / "cifar10"
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    files = {}
    for seed, name in enumerate(["data_batch_1", "data_batch_2", "test_batch"]):
        content = {"data": made_up(10, seed).reshape(10, -1), "labels": list(range(10))}
        (folder / name).write_bytes(pickle.dumps(content))
        files[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": [f"class {i}" for i in range(10)]}))
    meta = hashlib.md5((folder / "batches.meta").read_bytes()).hexdigest()
    reader = torchvision.datasets.CIFAR10
    monkeypatch.setattr(reader, "train_list", [[name, md5] for name, md5 in files.items() if name != "test_batch"])
    monkeypatch.setattr(reader, "test_list", [["test_batch", files["test_batch"]]])
    monkeypatch.setattr(reader, "meta", {**reader.meta, "md5": meta})
    decoded = sources.decode(DataSpec(name="cifar10", root=str(root), **COLOUR), tmp_path, tmp_path)
    assert np.array_equal(decoded.arrays["train_images"], np.concatenate([made_up(10, 0), made_up(10, 1)]))
    assert np.array_equal(decoded.arrays["test_images"], made_up(10, 2))
    assert decoded.arrays["test_labels"].tolist() == list(range(10))
    assert decoded.class_names[3] == "class 3"


def test_a_reader_is_a_data_set():
    # Adding fire/data/readers/NAME.py adds data.name=NAME: there is no other list.
    folder = Path(sources.__file__).parent / "readers"
    assert set(DATA_SETS) == {path.stem for path in folder.glob("[!_]*.py")}
    assert {"fashion_mnist", "cifar10", "cifar100", "svhn", "digits", "image_folder"} <= set(DATA_SETS)
