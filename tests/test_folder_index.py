"""The index of an image folder's files, and that data.limit chooses among them before anything is decoded."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fire.data import contents, dataset, decoding, folders, streaming
from fire.data.filelist import FileList
from fire.data.split import places
from tests.pictures import add, age, grey, spec, truncate, two_classes


@pytest.fixture
def root(tmp_path) -> Path:
    return age(two_classes(tmp_path / "images"))


def planned(root, data_dir):
    """The specification as a launch makes it, which looks at every file."""
    return spec(root, fingerprint=contents.fingerprint(folders.scan(root), data_dir))


def refuse(*arguments):
    raise AssertionError("scanned again")


def test_a_launch_looks_at_the_files_once(root, tmp_path, monkeypatch):
    (root / "val" / "ant" / "notes.txt").write_text("")
    wanted = planned(root, tmp_path)
    scanned = folders.scan(root)
    monkeypatch.setattr(contents, "scan", refuse)
    found = contents.listing(wanted, tmp_path)
    assert [*found.files] == [*scanned.files]
    assert found._replace(train=0, test=0) == scanned._replace(train=0, test=0)
    assert dataset.remarks(wanted, tmp_path) == [f"{root}: 6 training and 6 test images; left out: 1 .txt"]


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"[]"])
def test_a_damaged_index_is_not_used(content, root, tmp_path):
    wanted = planned(root, tmp_path)
    (index,) = (tmp_path / "cache").glob("contents-*.npz")
    index.write_bytes(content)
    assert [*contents.listing(wanted, tmp_path).files] == [*folders.scan(root).files]


def test_the_index_of_another_state_is_not_used(root, tmp_path):
    before = planned(root, tmp_path)
    add(root, "val/ant/3.png", grey(30))
    age(root)
    after = planned(root, tmp_path)
    assert after.fingerprint != before.fingerprint
    for wanted in (before, after, replace(after, fingerprint="")):
        assert len(contents.listing(wanted, tmp_path).test) == 7


def test_the_index_is_not_used_for_another_machine_s_copy(root, tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "RESIDENT_BYTES", 0)
    wanted = planned(root, tmp_path)
    dataset.prepare(wanted, tmp_path)
    root.rename(tmp_path / "the launcher's images")
    shutil.copytree(tmp_path / "the launcher's images", root, copy_function=shutil.copy)  # with times of its own
    assert [*contents.listing(wanted, tmp_path).files] == [*folders.scan(root).files]
    (pixels,) = dataset.load(wanted, tmp_path).test.images.batches([[0, 3]], 1)
    assert pixels[:, 0, 0, 0].tolist() == [0, 100]


def test_the_index_is_not_used_for_files_that_were_touched_just_now(root, tmp_path):
    before = planned(root, tmp_path)
    os.utime(root / "val" / "ant" / "0.png")
    after = planned(root, tmp_path)
    assert after.fingerprint == before.fingerprint
    assert [*contents.listing(after, tmp_path).files] == [*folders.scan(root).files]


@pytest.mark.parametrize(
    "name", ["with spaces  .png", "caf\u00e9 \u732b \U0001f408.png", "line\nbreak.png", "a.b..png"]
)
def test_paths_of_any_characters_are_listed(name, root):
    add(root, f"val/ant/{name}", grey(0))
    latin = os.fsdecode(b"caf\xe9.png")
    add(root, f"val/ant/{latin}", grey(0))
    listed = [file for file in folders.scan(root).test if file.label == 0]
    assert {Path(file.path).name for file in listed} == {"0.png", "1.png", "2.png", name, latin}
    assert "val/ant/caf\\xe9.png" in [file.name for file in listed]
    assert all(file.size_bytes == Path(file.path).stat().st_size for file in listed)


def test_a_list_of_files_has_chosen_ones_of_another(root):
    files = folders.scan(root).train
    some = files.at([4, 0])
    assert [*some] == [files[4], files[0]] == [[*files][4], files[-6]]
    assert some.labels.tolist() == [1, 0]
    assert some.size_bytes == files[0].size_bytes + files[4].size_bytes
    assert files[1:3] == [files[1], files[2]]


def test_a_million_files_take_some_hundred_megabytes(root):
    file = folders.scan(root).train[0]
    many = FileList.of(str(root / "train"), (file for _ in range(1000)))
    assert many.rows.nbytes + many.paths.nbytes == 1000 * (6 * 8 + len("ant/0.png"))


def many(root: Path) -> Path:
    """20 training and 6 test images of two classes, each of its own grey."""
    for label, name in enumerate(("ant", "zebra")):
        for i in range(10):
            add(root, f"train/{name}/{i}.png", grey(100 * label + 5 * i))
        for i in range(3):
            add(root, f"val/{name}/{i}.png", grey(100 * label + 10 * i))
    return root


def greys(part) -> list[int]:
    return part.images[part.rows][:, 0, 0, 0].tolist()


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_limit_chooses_the_images_that_it_chose_among_all(limit, tmp_path):
    root = many(tmp_path / "images")
    whole = dataset.load(spec(root, validation=4), tmp_path)
    limited = dataset.load(spec(root, validation=4, limit=limit), tmp_path)
    assert greys(limited.train) == greys(whole.train)[:limit]
    assert greys(limited.validation) == greys(whole.validation)[:limit]
    assert greys(limited.test) == {1: [0], 3: [0, 20, 110], 100: [0, 10, 20, 100, 110, 120]}[limit]
    for part in (limited.train, limited.validation, limited.test):
        assert [value >= 100 for value in greys(part)] == part.labels[part.rows].tolist()
    shown = greys(limited.train) + greys(limited.validation)
    assert limited.mean == pytest.approx([np.mean(shown)] * 3)


@pytest.mark.parametrize("on_corrupt", ["error", "skip"])
def test_images_beyond_the_limit_are_not_decoded(on_corrupt, tmp_path, monkeypatch):
    root = many(tmp_path / "images")
    wanted = spec(root, validation=4, limit=2, on_corrupt=on_corrupt)
    chosen = greys(dataset.load(wanted, tmp_path).train) + greys(dataset.load(wanted, tmp_path).validation)
    for label, name in enumerate(("ant", "zebra")):
        for i in range(10):
            if 100 * label + 5 * i not in chosen:
                truncate(root / "train" / name / f"{i}.png")
    decoded = []
    read = decoding.read
    monkeypatch.setattr(decoding, "read", lambda file, *rest: decoded.append(file.name) or read(file, *rest))
    again = dataset.load(wanted, tmp_path / "new")
    assert (greys(again.train) + greys(again.validation), again.skipped) == (chosen, 0)
    assert len(decoded) == len(chosen) + 2


def test_a_corrupt_image_among_the_chosen_is_left_out_of_its_own_part(tmp_path):
    root = many(tmp_path / "images")
    wanted = spec(root, validation=4, limit=3, on_corrupt="skip")
    before = dataset.load(wanted, tmp_path)
    value = greys(before.train)[1]
    truncate(root / "train" / ("zebra" if value >= 100 else "ant") / f"{value % 100 // 5}.png")
    after = dataset.load(wanted, tmp_path)
    assert greys(after.train) == [greys(before.train)[0], greys(before.train)[2]]
    assert (greys(after.validation), after.skipped) == (greys(before.validation), 1)


def test_places_are_those_of_a_list():
    among = np.array([2, 3, 5, 9])
    assert places(np.array([9, 4, 2, 10, 1, 5]), among).tolist() == [3, 0, 2]
    assert places(np.array([], np.int64), among).tolist() == []
