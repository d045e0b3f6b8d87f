"""Results read by way of the index are those of the folder, whatever happened to either."""

import dataclasses
import json
import os
import shutil

import pandas as pd
import pytest

from analysis import index, results
from analysis.results import read
from fire.arch import AlexNetSpec
from fire.compress.spec import CompressSpec
from fire.files import WriteError, locked
from sweep.store import Store
from tests.records import failed, record


@pytest.fixture
def store(tmp_path, monkeypatch) -> Store:
    """A store with an index, of runs of several kinds: each has columns that others lack."""
    monkeypatch.setattr(results, "MANY", 1)
    monkeypatch.setattr(index, "SETTLED", 0)
    made = Store(tmp_path / "results")
    for i, sr in enumerate((0.25, 0.5, 0.75)):
        made.write(record(f"s{i}", sr=sr, top1=sr, seed=i, latency_seconds=sr if i else None))
    made.write(record("a", arch=AlexNetSpec(version="small", classes=10), warning="odd"))
    made.write(record("c", compress=CompressSpec(method="entropy"), float_key="s1", file_bytes=1000, git_dirty=True))
    made.write(failed("f"))
    read(made.root)
    assert (made.root / index.NAME).is_file()
    return made


@pytest.fixture
def read_keys(monkeypatch) -> list[str]:
    """The keys of the records that are read from their files, as they are read."""
    keys: list[str] = []
    whole = Store.read

    def listening(self, key, *arguments):
        keys.append(key)
        return whole(self, key, *arguments)

    monkeypatch.setattr(Store, "read", listening)
    return keys


def without_index(store: Store, folder) -> results.Results:
    """The content of a copy of the folder that has no index."""
    shutil.copytree(store.root, folder, symlinks=True, ignore=shutil.ignore_patterns(".index*"))
    return read(folder)


def assert_same(store: Store, folder) -> None:
    """The index changes nothing: neither values nor types, nor the order of rows or columns, nor what is unreadable."""
    with_index, anew = read(store.root), without_index(store, folder)
    pd.testing.assert_frame_equal(with_index.runs, anew.runs, check_exact=True)
    assert [damage.reason for damage in with_index.unreadable] == [damage.reason for damage in anew.unreadable]


def test_records_that_are_unchanged_are_not_read_again(store, read_keys, tmp_path):
    runs = read(store.root).runs
    assert read_keys == []
    assert list(runs["key"]) == ["a", "c", "f", "s0", "s1", "s2"]
    assert_same(store, tmp_path / "copy")


def changed(store: Store) -> None:
    store.write(record("s1", sr=0.5, top1=0.125, seed=1))


def changed_in_place(store: Store) -> None:
    """The same size, and the time of change that programs can set."""
    path = store.folder("s1") / "record.json"
    status, content = path.stat(), path.read_text()
    assert '"top1": 0.5,' in content
    path.write_text(content.replace('"top1": 0.5,', '"top1": 0.7,'))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert (path.stat().st_mtime_ns, path.stat().st_size) == (status.st_mtime_ns, status.st_size)


def appeared(store: Store) -> None:
    store.write(record("b", train=dataclasses.replace(record("s0").config.train, lr=0.5), seed=2**63))


def vanished(store: Store) -> None:
    for key in ("a", "c", "f", "s0"):  # the others have all values of top1 and latency_seconds, and fewer columns
        shutil.rmtree(store.folder(key))


def all_vanished(store: Store) -> None:
    for key in list(store.keys()):
        shutil.rmtree(store.folder(key))


def damaged(store: Store) -> None:
    (store.folder("s1") / "record.json").write_bytes(b"{")


def no_file(store: Store) -> None:
    path = store.folder("s1") / "record.json"
    path.unlink()
    path.symlink_to(path)


def impossible(store: Store) -> None:
    path = store.folder("s1") / "record.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"top1": 1.5}))


def renamed(store: Store) -> None:
    store.folder("s1").rename(store.folder("b"))


CHANGES = (changed, changed_in_place, appeared, vanished, all_vanished, damaged, no_file, impossible, renamed)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_changed_in_the_folder_is_seen(change, store, tmp_path):
    before = read(store.root).runs
    change(store)
    assert_same(store, tmp_path / "copy")
    assert not before.equals(read(store.root).runs)


@pytest.mark.parametrize("change", [changed, appeared, vanished], ids=lambda change: change.__name__)
def test_an_index_that_was_written_again_is_right(change, store, tmp_path, read_keys):
    change(store)
    read(store.root)
    read_keys.clear()
    read(store.root)
    assert read_keys == []
    assert_same(store, tmp_path / "copy")


def test_only_new_records_are_read(store, read_keys):
    appeared(store)
    changed(store)
    read(store.root)
    assert read_keys == ["b", "s1"]


def cut(content: bytes) -> bytes:
    return content[:-1]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [cut, flipped, lambda content: content + b"x", lambda content: b"", lambda content: b"\0" * len(content)],
    ids=["cut", "a bit flipped", "longer", "empty", "zeros"],
)
def test_a_damaged_index_is_as_none(damage, store, tmp_path, read_keys):
    path = store.root / index.NAME
    path.write_bytes(damage(path.read_bytes()))
    assert len(read(store.root).runs) == 6
    assert len(read_keys) == 6
    assert_same(store, tmp_path / "copy")


def test_an_index_that_is_no_file_is_as_none(store, tmp_path):
    (store.root / index.NAME).unlink()
    os.mkfifo(store.root / index.NAME)
    assert_same(store, tmp_path / "copy")


def test_an_index_of_another_version_is_as_none(store, monkeypatch, read_keys):
    monkeypatch.setattr(index, "PACKAGES", ("fire", "sweep"))
    read(store.root)
    assert len(read_keys) == 6


def test_a_folder_that_cannot_be_written_is_read(store, monkeypatch, tmp_path):
    def refuse(path, content):
        raise WriteError(30, "Read-only file system", str(path))

    (store.root / index.NAME).unlink()
    monkeypatch.setattr(index, "write", refuse)
    assert_same(store, tmp_path / "copy")
    assert not (store.root / index.NAME).exists()


def test_of_two_readers_one_writes_and_both_read(store, tmp_path):
    (store.root / index.NAME).unlink()
    with locked(store.root / index.LOCK):
        assert_same(store, tmp_path / "copy")
        assert not (store.root / index.NAME).exists()
    read(store.root)
    assert (store.root / index.NAME).exists()


def test_what_a_killed_reader_left_is_removed(store):
    left = store.root / f".{index.NAME}.1.tmp"
    left.touch()
    appeared(store)
    read(store.root)
    assert not left.exists()


def test_a_record_that_has_just_changed_is_read_again(store, monkeypatch, read_keys):
    monkeypatch.setattr(index, "SETTLED", 10**12)
    appeared(store)
    read(store.root)
    read_keys.clear()
    read(store.root)
    assert len(read_keys) == 7


def test_few_records_get_no_index(store, monkeypatch):
    (store.root / index.NAME).unlink()
    monkeypatch.setattr(results, "MANY", 7)
    read(store.root)
    assert not list(store.root.glob(".index*.tmp"))
    assert not (store.root / index.NAME).exists()
