import numpy as np
import pytest
from sklearn.datasets import load_digits

from fire.data import dataset
from fire.data.spec import DataSpec
from fire.errors import DataError


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
    again = dataset.load(digits_spec, tmp_path)
    for part in ("train", "validation", "test"):
        assert np.array_equal(getattr(again, part).rows, getattr(digits, part).rows)
        assert np.array_equal(getattr(again, part).images, getattr(digits, part).images)


def test_limit_takes_fewer_of_each_set(digits, digits_spec, tmp_path):
    limited = dataset.load(DataSpec(**{**vars(digits_spec), "limit": 50}), tmp_path)
    assert [len(part) for part in (limited.train, limited.validation, limited.test)] == [50, 50, 50]
    assert set(limited.train.rows) <= set(digits.train.rows)


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
        dataset.load(DataSpec(**{**vars(digits_spec), **changes}), tmp_path)
    assert str(caught.value) == message


def test_classes_are_checked_against_the_cache_too(digits_spec, tmp_path):
    dataset.load(digits_spec, tmp_path)
    with pytest.raises(DataError, match=r"data\.classes must be 10 for digits, got 7"):
        dataset.load(DataSpec(**{**vars(digits_spec), "classes": 7}), tmp_path)
