"""Publishing: finished and stopped runs are added to the committed ones, and none is lost."""

import os
from contextlib import contextmanager
from dataclasses import replace

import pytest

from fire.files import locked
from sweep.publish import TOO_LARGE, publish
from sweep.store import Store
from tests.crashing import Died, operations
from tests.records import failed, record, sweep

OLD, NEW = "2026-01-01T00:00:00", "2026-01-02T00:00:00"


@pytest.fixture
def stores(tmp_path) -> tuple[Store, Store]:
    """results/ and docs/results."""
    return Store(tmp_path / "results"), Store(tmp_path / "published")


def names(store: Store, key: str) -> set[str]:
    return set(os.listdir(store.folder(key))) - {".lock"}  # which stays where a run was written


def test_runs_that_ended_are_added_and_none_is_lost(stores):
    source, target = stores
    target.write(record("a"))
    target.write_sweep(sweep("committed", (), "a"))
    source.write(record("b"))
    source.write(failed("c"))
    source.write(record("d", status="stopped"))
    source.write(failed("a"))
    source.write_sweep(sweep("mine", (), "bcd"))
    assert publish(*stores) == (2, 1, [])
    assert {each.key: each.status for each in target.records()} == {"a": "finished", "b": "finished", "d": "stopped"}
    assert [each.name for each in target.sweeps()] == ["committed", "mine"]
    assert publish(*stores) == (0, 0, []), "all of it is there"


def test_a_stopped_run_replaces_no_finished_one(stores):
    source, target = stores
    source.write(record("a", status="stopped", end=NEW))
    target.write(record("a", end=OLD))
    assert publish(*stores) == (0, 0, [])
    assert target.is_done("a")
    assert publish(target, source) == (0, 0, []), "of a later time"
    source.write(record("a", status="stopped", end=OLD))
    assert publish(target, source) == (1, 0, [])


def test_a_run_that_is_under_way_stays(stores):
    source, target = stores
    source.write(record("a"))
    target.folder("a").mkdir(parents=True)
    (target.folder("a") / "checkpoint.pt").write_bytes(b"half")
    with locked(target.folder("a") / ".lock"):
        assert publish(*stores) == (0, 0, [])
        assert names(target, "a") == {"checkpoint.pt"}
    assert publish(*stores) == (1, 0, [])
    assert names(target, "a") == {"record.json"}


def test_a_run_that_ends_while_publish_waits_for_its_lock_is_kept(stores, monkeypatch):
    source, target = stores
    source.write(record("a", end=OLD))

    @contextmanager
    def locked_late(path, patience):
        target.write(record("a", end=NEW))  # by the process that held the lock
        with locked(path, patience) as held:
            yield held

    monkeypatch.setattr("sweep.publish.locked", locked_late)
    assert publish(*stores) == (0, 0, [])
    assert target.read("a").end == NEW


def test_without_results_nothing_changes(stores):
    source, target = stores
    target.write(record("a"))
    assert publish(source, target) == (0, 0, [])
    assert target.is_done("a")
    assert not source.root.exists()


def test_weights_onnx_files_and_large_files_stay_where_they_are(stores):
    source, target = stores
    for key, size in (("a", TOO_LARGE - 1), ("b", TOO_LARGE)):
        source.write(record(key))
        for name in ("config.yaml", "curve.csv", "log", "checkpoint.pt", ".lock", "weights.safetensors"):
            (source.folder(key) / name).write_text(name)
        for name in ("network.onnx", "network.int8.onnx"):
            (source.folder(key) / name).write_bytes(b"small")
        (source.folder(key) / "network.fcn").write_bytes(bytes(size))
    publish(source, target)
    assert names(target, "a") == {"record.json", "config.yaml", "curve.csv", "network.fcn"}
    assert names(target, "b") == {"record.json", "config.yaml", "curve.csv"}


@pytest.mark.parametrize(
    ("ours", "theirs", "winner"), [(NEW, OLD, 0.7), (OLD, NEW, 0.6), (OLD, OLD, 0.7), (NEW, None, 0.7)]
)
def test_of_a_run_in_both_the_newer_record_stays_whole(stores, ours, theirs, winner):
    source, target = stores
    source.write(record("a", top1=0.7, end=ours))
    target.write(record("a", top1=0.6, end=theirs))
    (target.folder("a") / "network.fcn").write_bytes(b"former")
    publish(source, target)
    assert target.read("a").top1 == winner
    assert ("network.fcn" in names(target, "a")) == (winner == 0.6), "a file belongs to its record"


def test_a_new_title_leaves_the_files_where_they_are(stores):
    source, target = stores
    target.write(record("a"))
    (target.folder("a") / "weights.safetensors").write_bytes(b"weights")
    source.write(record("a", data_title="mine"))
    assert publish(source, target) == (1, 0, [])
    assert names(target, "a") == {"record.json", "weights.safetensors"}


def test_links_are_not_followed(stores, tmp_path):
    source, target = stores
    source.write(record("a"))
    (tmp_path / "private").write_text("secret")
    (source.folder("a") / "network.fcn").symlink_to(tmp_path / "private")
    publish(source, target)
    assert names(target, "a") == {"record.json"}


@pytest.mark.parametrize(("ours", "theirs", "keys"), [(NEW, OLD, "ab"), (OLD, NEW, "a"), (NEW, None, "ab")])
def test_of_a_sweep_in_both_the_newer_launch_stays(stores, ours, theirs, keys):
    source, target = stores
    source.write_sweep(sweep("sr", (), "ab", launched=ours))
    target.write_sweep(sweep("sr", (), "a", launched=theirs))
    publish(source, target)
    assert target.read_sweep("sr").keys == tuple(keys)


def test_damaged_files_are_named_and_replace_nothing(stores):
    source, target = stores
    target.write(record("a"))
    source.write(replace(record("b"), end=NEW))
    source.folder("a").mkdir()
    (source.folder("a") / "record.json").write_text("{")
    runs, _, (damage,) = publish(source, target)
    assert (runs, damage.path.parent.name) == (1, "a")
    assert target.is_done("a")


def test_killed_at_any_file_operation_the_run_stays_and_a_second_call_completes_it(tmp_path):
    limit = 0
    while True:
        source, target = Store(tmp_path / str(limit) / "results"), Store(tmp_path / str(limit) / "published")
        source.write(record("a", top1=0.7, end=NEW))
        target.write(record("a", top1=0.6, end=OLD))
        for store, text in ((source, "new"), (target, "former")):
            (store.folder("a") / "curve.csv").write_text(text)
        (target.folder("a") / "network.fcn").write_bytes(b"former")
        with pytest.MonkeyPatch.context() as patch:
            done = operations(patch, target.root, limit).done
            try:
                publish(source, target)
            except Died:
                ended = False
            else:
                ended = True
        assert target.read("a").top1 == (0.7 if ended else 0.6)
        publish(source, target)
        assert target.read("a").top1 == 0.7
        assert names(target, "a") == {"record.json", "curve.csv"}
        assert (target.folder("a") / "curve.csv").read_text() == "new"
        if ended:
            break
        limit += 1
    assert limit == len(done) > 3
