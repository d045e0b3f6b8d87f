"""Runs whose process dies at any of its file operations, and searches over what such runs leave."""

import dataclasses
import errno
import os
import resource
from dataclasses import replace
from pathlib import Path

import pytest

from fire.files import locked
from sweep import store
from sweep.commands.command import run_one
from sweep.commands.exits import described
from sweep.config import Options
from sweep.manifests import Sweep
from sweep.preparation import make_ready, unfinished
from sweep.record import Record
from sweep.run import run
from sweep.store import Store, StoreError
from tests.crashing import Died, operations
from tests.records import record_of
from tests.sweeping import TINY, Launch, launch, point, write_curve
from tests.test_search_campaign import campaign

QUICK = (*TINY, "train.epochs=2", "data.limit=96", "train.batch_size=32", "arch.fires=2", "train.kernels=torch")
MEASURED = ("latency_seconds", "train_seconds", "images_per_second", "start", "end")


@pytest.fixture(autouse=True)
def no_latency(monkeypatch):
    """Its 20 passes take as long as the rest of a run."""
    monkeypatch.setattr("sweep.run.latency", lambda *arguments: 0.001)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("data")


def launches(results: Path, data_dir: Path) -> list[Launch]:
    """A run that is stopped after its first epoch, as a search does it, and then trained to its end."""
    whole = launch(*QUICK, f"data_dir={data_dir}", f"results_dir={results}")
    return [whole.having(stop_epoch=1), whole]


def left(results: Path) -> tuple[Record, list[tuple[float, ...]], bytes, set[str]]:
    """What the run has left: its record and curve but for what was measured, its weights, its files."""
    store = Store(results)
    (record,) = store.records()
    folder = store.folder(record.key)
    curve = [dataclasses.astuple(row)[:5] for row in store.curve(record.key)]
    record = replace(record, **dict.fromkeys(MEASURED))
    return record, curve, (folder / "weights.safetensors").read_bytes(), {path.name for path in folder.iterdir()}


def test_a_run_that_dies_at_any_file_operation_ends_as_if_it_had_not(data_dir, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        whole = operations(patch, tmp_path / "whole")
        for each in launches(tmp_path / "whole", data_dir):
            run(*each)
    expected = left(tmp_path / "whole")
    assert len(expected[1]) == 2
    for number, operation in enumerate(whole.done):
        results = tmp_path / str(number)
        with monkeypatch.context() as patch, pytest.raises(Died):  # noqa: PT012 (whichever launch it is)
            operations(patch, results, limit=number)
            for each in launches(results, data_dir):
                run(*each)
        for each in launches(results, data_dir):
            run(*each)
        assert left(results) == expected, f"died before {operation}, number {number}"


def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_named_wherever_it_strikes_and_is_no_failure_of_the_run(data_dir, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        whole = operations(patch, tmp_path / "whole")
        run(*launches(tmp_path / "whole", data_dir)[-1])
    places = [whole.done.index(operation) for operation in dict.fromkeys(whole.done) if "unlink" not in operation]
    assert len(places) >= 11, "six files are opened, five renamed"
    for number in places:
        made = launches(tmp_path / str(number), data_dir)[-1]
        with monkeypatch.context() as patch:
            operations(patch, tmp_path / str(number), limit=number, fail=full)
            with pytest.raises((OSError, StoreError), match="No space left") as caught:
                run(*made)
        line = str(caught.value) if isinstance(caught.value, StoreError) else described(caught.value)
        assert str(tmp_path / str(number)) in line, whole.done[number]
        assert list(made.store.keys()) == []


def test_results_that_are_moved_in_the_midst_of_a_run_are_not_made_anew(data_dir, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        whole = operations(patch, tmp_path / "whole")
        run(*launches(tmp_path / "whole", data_dir)[-1])
    for number in [number for number, operation in enumerate(whole.done) if "unlink" not in operation]:
        results, moved = tmp_path / str(number), tmp_path / f"{number} moved"

        def move(results: Path = results, moved: Path = moved) -> None:
            if results.exists():
                results.rename(moved)

        with monkeypatch.context() as patch:
            operations(patch, results, limit=number, fail=move)
            with pytest.raises((OSError, StoreError)):
                run(*launches(results, data_dir)[-1])
        assert not results.exists(), whole.done[number]
        assert moved.exists()


def test_a_worker_does_not_make_a_results_folder_that_is_gone(data_dir, tmp_path):
    with pytest.raises(StoreError, match="No such file"):
        run(*launches(tmp_path / "results", data_dir)[-1], anew=False)
    assert not (tmp_path / "results").exists()


def test_a_network_to_compress_or_export_is_not_trained_where_its_results_were(tmp_path):
    options = Options(results_dir=str(tmp_path / "results"), data_dir=str(tmp_path / "data"))
    with pytest.raises(StoreError, match="No such file"):
        run_one(point(*TINY), options, anew=False)
    assert list(tmp_path.iterdir()) == []


def test_giving_a_title_removes_what_a_killed_launch_left(tmp_path):
    made = Store(tmp_path)
    made.write(record_of(point(*TINY).config))
    (key,) = made.keys()
    (made.folder(key) / ".record.json.7.tmp").touch()
    made.set_title(key, "a title")
    assert {path.name for path in made.folder(key).iterdir()} == {"record.json", ".lock"}


@pytest.mark.parametrize(
    ("most_bytes", "file"), [(2**15, "results_dir must be a writable"), (100, "config.yaml"), (4096, "checkpoint.pt")]
)
def test_a_write_that_the_system_refuses_names_its_file(most_bytes, file, data_dir, tmp_path, monkeypatch):
    made = launches(tmp_path / "whole", data_dir)[-1]
    run(*made)  # now the data is decoded
    if most_bytes < 2**15:
        monkeypatch.setattr(store, "LEAST_SPACE", 1)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
    try:
        with pytest.raises((OSError, StoreError), match="File too large") as caught:
            run(*made.having(results_dir=str(tmp_path / "results")))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert file in str(caught.value)
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".tmp"]


def test_a_search_does_not_ask_again_for_what_a_record_has_although_curves_lost_rows(tmp_path):
    made = campaign(tmp_path, budget=4)
    asked = []
    while (job := made.next(())) is not None:
        config, stop_epoch = job[0], job[1].stop_epoch
        asked.append((config.key, stop_epoch))
        assert len(asked) <= 4 * 3, "four networks, three rungs"
        epochs = stop_epoch or config.train.epochs
        record = record_of(config, 0.5)
        made.store.write(replace(record, epochs=epochs, status="stopped" if stop_epoch else "finished"))
        write_curve(made.store.folder(config.key), *[0.5] * max(1, epochs - 1))
    assert len(set(asked)) == len(asked) >= 4


def test_the_next_launch_removes_what_is_left_of_a_finished_run(tmp_path):
    finished, other = (point(*QUICK, f"seed={seed}") for seed in (0, 1))
    options = Options(results_dir=str(tmp_path))
    Store(tmp_path).write(record_of(finished.config, 0.5))
    names = ("checkpoint.pt", ".checkpoint.pt.7.tmp")  # the second one of a copy that was merged into these results
    left = [Store(tmp_path).folder(each.key) / name for each in (finished, other) for name in names]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert unfinished([finished, other], options) == [other]
    assert all(path.exists() for path in left), "a dry run, which asks only that, changes nothing"
    with locked(left[0].with_name(".lock")):
        make_ready([finished, other], [other], options)
    assert all(path.exists() for path in left), "another process is at the run"
    make_ready([finished, other], [other], options)
    assert [path.exists() for path in left] == [False, False, True, True]


def test_the_next_manifest_removes_what_killed_launches_left(tmp_path):
    store = Store(tmp_path)
    sweep = Sweep(name="sr", varied=("arch.sr",), points=())
    path = store.write_sweep(sweep)
    path.with_name(".another.json.12345.tmp").write_text('{"name": "ano')
    store.write_sweep(sweep)
    assert sorted(entry.name for entry in path.parent.iterdir()) == [".lock", "sr.json"]
