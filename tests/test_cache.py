"""The cache of decoded data sets: whole or built again, also after kills, and on a full disk."""

import errno
import fcntl
import json
import os
from pathlib import Path

import numpy as np
import pytest

from fire.data import arrays, cache, dataset, sources
from fire.errors import DataError
from tests.pictures import spec, two_classes


def the_cache(data_dir: Path) -> Path:
    (folder,) = [path for path in (data_dir / "cache").iterdir() if path.is_dir()]
    return folder


def refuse_to_decode(*arguments):
    raise AssertionError("decoded again")


def test_moments_are_numpys(digits):
    assert digits.mean == pytest.approx([digits.train.images.mean()], rel=1e-12)
    assert digits.std == pytest.approx([digits.train.images.std()], rel=1e-12)


def test_moments_of_each_channel():
    images = np.random.default_rng(0).integers(0, 256, (2000, 3, 4, 4)).astype(np.uint8)
    images[:, 1] //= 2
    images[:, 2] = 9
    mean, std = cache._moments(cache._histograms(images))
    assert mean == pytest.approx(images.mean((0, 2, 3)), rel=1e-12)
    assert std == pytest.approx([images[:, 0].std(), images[:, 1].std(), 1.0], rel=1e-12)  # constant: not 0


def test_second_load_reads_the_cache(digits, digits_spec, tmp_path, monkeypatch):
    dataset.load(digits_spec, tmp_path)
    monkeypatch.setattr(sources, "decode", refuse_to_decode)
    again = dataset.load(digits_spec, tmp_path)
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


def nest_meta(folder):
    (folder / "meta.json").write_text("[" * 100_000)


def meta_without_a_key(folder):
    meta = json.loads((folder / "meta.json").read_text())
    del meta["class_names"]
    (folder / "meta.json").write_text(json.dumps(meta))


def overwrite(folder, name: str, place: int, content: bytes) -> None:
    """Change bytes of a file, whose size stays."""
    path = folder / name
    whole = path.read_bytes()
    path.write_bytes(whole[:place] + content + whole[place + len(content) :])
    assert path.stat().st_size == len(whole)


def garble_the_header_of_an_array(folder):
    overwrite(folder, "train_images.npy", 0, bytes(64))


def end_the_header_of_an_array_early(folder):
    overwrite(folder, "train_images.npy", 20, b"'{[(\n" * 10)


def other_type_in_the_header(folder):
    place = (folder / "test_images.npy").read_bytes().index(b"|u1")
    overwrite(folder, "test_images.npy", place, b"|i1")


def label_beyond_the_classes(folder):
    overwrite(folder, "test_labels.npy", 128, (10).to_bytes(8, "little"))


@pytest.mark.parametrize(
    "damage",
    [
        truncate,
        remove_an_array,
        remove_meta,
        garble_meta,
        nest_meta,
        meta_without_a_key,
        meta_of_another_data_set,
        meta_of_another_kind,
        garble_the_header_of_an_array,
        end_the_header_of_an_array_early,
        other_type_in_the_header,
        label_beyond_the_classes,
    ],
)
def test_damaged_cache_is_built_again(damage, digits, digits_spec, tmp_path, monkeypatch):
    dataset.load(digits_spec, tmp_path)
    damage(the_cache(tmp_path))
    again = dataset.load(digits_spec, tmp_path)
    assert np.array_equal(again.train.images, digits.train.images)
    assert np.array_equal(again.test.labels, digits.test.labels)
    monkeypatch.setattr(sources, "decode", refuse_to_decode)
    dataset.load(digits_spec, tmp_path)


def test_failed_decoding_leaves_no_cache(digits_spec, tmp_path, monkeypatch):
    def fail(*arguments):
        raise DataError("half of it is missing")

    monkeypatch.setattr(sources, "decode", fail)
    with pytest.raises(DataError, match="half of it is missing"):
        dataset.load(digits_spec, tmp_path)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.is_dir()]


def test_data_dir_that_is_a_file_is_refused(digits_spec, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"data_dir .*file cannot be used: "):
        dataset.load(digits_spec, tmp_path / "file")


def full(*arguments):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("kind", ["digits", "image_folder"])
def test_a_full_disk_is_named_and_nothing_is_left(kind, digits_spec, tmp_path, monkeypatch):
    wanted = digits_spec if kind == "digits" else spec(two_classes(tmp_path / "images"))
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError) as caught:
        dataset.prepare(wanted, tmp_path / "data")
    assert str(caught.value) == f"data_dir {tmp_path / 'data'} cannot be used: No space left on device"
    assert not [path for path in (tmp_path / "data" / "cache").iterdir() if path.is_dir()]


def test_a_full_disk_is_named_by_an_evaluation_too(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match=r"cannot be used: No space left on device$"):
        dataset.load_test(spec(two_classes(tmp_path / "images")), tmp_path / "data")


def test_arrays_have_their_space_before_they_are_written(tmp_path):
    array = arrays.allocate(tmp_path / "a.npy", (1000, 1000), np.uint8)
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= 1000 * 1000
    array[-1] = 7
    array.flush()
    assert np.array_equal(np.load(tmp_path / "a.npy")[-2:, 0], [0, 7])


def test_what_killed_decoders_left_is_removed_and_what_living_ones_have_is_not(digits_spec, tmp_path):
    folder = tmp_path / "cache"
    names = [
        f".image_folder-{name}" for name in (f"dead.a{cache.HERE}", f"alive.a{cache.HERE}", "far.a@far", "old.a@far")
    ]
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "train_images.npy").write_bytes(bytes(100))
    os.utime(folder / names[-1], (0, 0))
    with open(folder / ".image_folder-alive.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        dataset.prepare(digits_spec, tmp_path)
        assert [(folder / name / "train_images.npy").is_file() for name in names] == [False, True, True, False]


def test_the_images_of_an_evaluation_leave_nothing_behind(tmp_path):
    test = dataset.load_test(spec(two_classes(tmp_path / "images")), tmp_path / "data").test
    assert test.images[:, 0, 0, 0].tolist() == [0, 10, 20, 100, 110, 120]
    assert [path.name for path in (tmp_path / "data" / "cache").iterdir()] == [".val.lock"]
