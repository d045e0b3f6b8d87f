"""An image folder is the data set that its files hold: which one, wherever it lies and whatever its times."""

import os
import shutil
from pathlib import Path

import pytest

from fire.data import contents, dataset, decoding, folders, sources
from fire.errors import DataError
from tests.pictures import add, age, grey, spec, two_classes


@pytest.fixture
def root(tmp_path) -> Path:
    return two_classes(tmp_path / "images")


def fingerprint(root: Path) -> str:
    return contents.fingerprint(folders.scan(root), root.parent / "data")


def test_fingerprint_tells_contents_apart_and_not_places(root, tmp_path):
    before = fingerprint(root)
    assert fingerprint(shutil.copytree(root, tmp_path / "elsewhere")) == before
    path = root / "train" / "ant" / "0.png"
    path.rename(path.with_name("00.png"))
    renamed = fingerprint(root)
    path.with_name("00.png").rename(path)
    assert fingerprint(root) == before
    with open(path, "ab") as file:
        file.write(b"!")
    longer = fingerprint(root)
    (root / "val" / "ant").rename(root / "val" / "bee")
    (root / "train" / "ant").rename(root / "train" / "bee")
    assert len({before, renamed, longer, fingerprint(root)}) == 4


def test_a_folder_that_has_changed_is_not_taken_for_what_it_was(root, tmp_path):
    known = spec(root, fingerprint=fingerprint(root))
    dataset.load(known, tmp_path / "before")
    (root / "val" / "ant" / "2.png").unlink()
    with pytest.raises(
        DataError, match=rf"^data\.root must hold the images of fingerprint {known.fingerprint}, got \w+ in"
    ):
        dataset.load(known, tmp_path / "after")


def refuse_to_read(*arguments):
    raise AssertionError("read again")


def test_what_is_found_while_a_folder_is_gone_is_not_remembered(root, tmp_path):
    age(root)
    listing = folders.scan(root)
    root.rename(tmp_path / "moved")
    gone = contents.fingerprint(listing, tmp_path / "data")
    (tmp_path / "moved").rename(root)
    assert fingerprint(root) == contents.fingerprint(listing, tmp_path / "other") != gone


def test_what_a_killed_process_left_beside_the_index_is_removed(root, tmp_path):
    age(root)
    fingerprint(root)
    cache = tmp_path / "data/cache"
    (index,) = cache.glob("*.npz")
    (cache / f".{index.name}.7.tmp").touch()
    index.with_suffix(".json").unlink()
    fingerprint(root)
    assert {path.name for path in cache.iterdir()} == {
        index.name, f"{index.stem}.json", f".{index.stem}.lock"
    }  # fmt: skip


def test_an_unchanged_folder_is_not_read_again(root, tmp_path, monkeypatch):
    age(root)
    before = fingerprint(root)
    monkeypatch.setattr(contents, "_read", refuse_to_read)
    assert fingerprint(root) == before
    os.utime(root / "val" / "ant" / "0.png")
    with pytest.raises(AssertionError, match="read again"):
        fingerprint(root)


def test_a_folder_that_was_written_just_now_is_read_again(root, monkeypatch):
    fingerprint(root)
    monkeypatch.setattr(contents, "_read", refuse_to_read)
    with pytest.raises(AssertionError, match="read again"):
        fingerprint(root)


@pytest.mark.parametrize("kept", ["{", "[]", '{"state": 1}', "[" * 100_000, '{"state": "%s", "fingerprint": "x/y"}'])
def test_a_damaged_memory_is_made_again(kept, root):
    age(root)
    before = fingerprint(root)
    (memory,) = (root.parent / "data" / "cache").glob("contents-*.json")
    memory.write_text(kept.replace("%s", folders.scan(root).state))
    assert fingerprint(root) == before
    assert before in memory.read_text()


def test_where_nothing_can_be_kept_the_folder_is_read_at_each_launch(root, tmp_path):
    age(root)
    (tmp_path / "file").write_text("")
    assert contents.fingerprint(folders.scan(root), tmp_path / "file") == fingerprint(root)


def pixel(root: Path, data_dir: Path) -> int:
    return int(dataset.load(spec(root), data_dir).test.images[0, 0, 0, 0])


@pytest.mark.parametrize("keep_times", [False, True])
def test_a_file_replaced_by_another_of_its_size_is_noticed(keep_times, tmp_path):
    root = two_classes(tmp_path / "images", ".bmp")
    age(root)
    path = root / "val" / "ant" / "0.bmp"
    before, status = fingerprint(root), path.stat()
    assert pixel(root, tmp_path) == 0
    while path.stat().st_ctime_ns == status.st_ctime_ns:  # the clock of the file system has steps of some milliseconds
        add(root, "val/ant/0.bmp", grey(77))
        if keep_times:
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert path.stat().st_size == status.st_size
    assert fingerprint(root) != before
    assert pixel(root, tmp_path) == 77


def test_equal_copies_share_a_cache(root, tmp_path, monkeypatch):
    dataset.load(spec(root), tmp_path)
    copy = shutil.copytree(root, tmp_path / "copy")
    monkeypatch.setattr(sources, "decode", refuse_to_read)
    loaded = dataset.load(spec(copy), tmp_path)
    assert loaded.test.images[:, 0, 0, 0].tolist() == [0, 10, 20, 100, 110, 120]
    with pytest.raises(AssertionError, match="read again"):
        dataset.load(spec(copy, resize="squash"), tmp_path)


def test_of_a_large_folder_a_part_is_read_and_the_rest_known_by_its_times(tmp_path, monkeypatch):
    root = two_classes(tmp_path / "images", ".bmp")
    age(root)
    listing = folders.scan(root)
    files = list(listing.files)
    monkeypatch.setattr(contents, "READ_BYTES", sum(file.size_bytes for file in files) // 3)
    assert contents.stride(listing) == 3
    before = fingerprint(root)
    assert before.startswith("sampled-")
    assert dataset.remarks(spec(root), root.parent / "data")[0].endswith(
        "names and sizes of all files and the contents of one in 3"
    )
    assert pixel(root, tmp_path) == 0
    # The first file of val/ is at position 6 of all, so it is read; the next two are not.
    assert [position for position, file in enumerate(files) if file.name == "val/ant/0.bmp"] == [6]
    add(root, "val/ant/1.bmp", grey(99))
    assert fingerprint(root) == before
    assert dataset.load(spec(root), tmp_path).test.images[:3, 0, 0, 0].tolist() == [0, 99, 20]
    add(root, "val/ant/0.bmp", grey(88))
    assert fingerprint(root) != before
    assert pixel(root, tmp_path) == 88


def test_a_folder_must_not_change_while_it_is_decoded(root, tmp_path, monkeypatch):
    decode = decoding.decode

    def meanwhile(files, path, wanted):
        add(root, "train/ant/new.png", grey(1))
        return decode(files, path, wanted)

    monkeypatch.setattr(decoding, "decode", meanwhile)
    with pytest.raises(DataError, match=r"^data\.root must not change while it is decoded, got other files in "):
        dataset.load(spec(root), tmp_path)
    assert not list((tmp_path / "cache").glob("image_folder*"))
