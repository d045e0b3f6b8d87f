import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from fire import cache, data, sources
from fire.errors import DataError
from fire.recipe import DataSpec


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
    mean, std = cache._moments(images)
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
        (
            {"validation": 1438},
            "data.validation must be below the 1438 training images there are, such as 0.1 for a tenth or 143, "
            "got 1438",
        ),
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
