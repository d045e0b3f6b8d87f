"""What faults leave is compared: files, searches, records that are half counted, epochs trained twice, errors."""

import json
from pathlib import Path

import pytest

from bench.chaos import damage
from bench.chaos.__main__ import Row, markdown
from bench.chaos.commands import Ended
from bench.chaos.results import differences, differences_of_search, half_counted, left, trained_twice, untidy
from tests.sweeping import ROOT


def make(results: Path) -> Path:
    """Results of one run."""
    folder = results / "0123456789abcdef"
    folder.mkdir(parents=True)
    (folder / "record.json").write_text('{"top1": 0.5, "start": "2026-01-01", "latency_seconds": 1.0}')
    (folder / "curve.csv").write_text("epoch,validation_top1,seconds\n1,0.5,2.0\n")
    (folder / "weights.safetensors").write_bytes(b"weights")
    (folder / "log").write_text("2026-01-01T00:00:00+00:00 epoch 1: {'seconds': 2.0}\n")
    return folder


def test_the_documented_rows_are_those_that_were_made():
    folder = ROOT / "docs/chaos"
    rows = [Row(**row) for row in json.loads((folder / "faults.json").read_text())]
    assert (folder / "table.md").read_text() == markdown(rows)
    documented = (ROOT / "docs/reliability.md").read_text().splitlines()
    listed = [line for line in documented if line.startswith("|")]
    assert listed == [line for line in markdown(rows).splitlines() if line.startswith("|")]


def test_times_are_no_difference(tmp_path):
    one, other = make(tmp_path / "one"), make(tmp_path / "other")
    (other / "record.json").write_text('{"top1": 0.5, "start": "2026-01-02", "latency_seconds": 2.0}')
    (other / "curve.csv").write_text("epoch,validation_top1,seconds\n1,0.5,3.0\n")
    (other / "log").unlink()
    assert differences(left(one.parent), left(other.parent)) == []


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("record.json", '{"top1": 0.6}', "differs"),
        ("curve.csv", "epoch,validation_top1,seconds\n1,0.6,2.0\n", "differs"),
        ("weights.safetensors", "other weights", "differs"),
        (".record.json.5.tmp", "", "should not be there"),
        ("weights.safetensors", None, "is missing"),
    ],
)
def test_other_files_are_differences(name, content, found, tmp_path):
    one, other = make(tmp_path / "one"), make(tmp_path / "other")
    path = other / name
    path.unlink() if content is None else path.write_text(content)
    assert differences(left(one.parent), left(other.parent)) == [f"{other.name}/{name} {found}"]


def searched(results: Path, *keys: str) -> Path:
    """Results of a search that trained networks to the end."""
    (results / "sweeps").mkdir(parents=True)
    (results / "sweeps/search.json").write_text(json.dumps({"points": [{"key": key} for key in keys]}))
    for key in keys:
        (results / key).mkdir()
        (results / key / "record.json").write_text(json.dumps({"key": key, "status": "finished", "top1": 0.5}))
        (results / key / "weights.safetensors").write_text(key)
    return results


def test_a_search_may_choose_other_networks(tmp_path):
    one, other = searched(tmp_path / "one", "a", "b"), searched(tmp_path / "other", "b", "c")
    assert differences_of_search(left(one), left(other)) == []


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("b/record.json", None, ["1 runs have ended, not 2", "1 manifests name 2 runs, of which 1 have ended"]),
        ("b/record.json", "{", ["1 runs have ended, not 2", "1 manifests name 2 runs, of which 1 have ended"]),
        ("sweeps/search.json", None, ["0 manifests name 0 runs, of which 0 have ended"]),
        ("sweeps/search.json", "{}", ["1 manifests name 0 runs, of which 0 have ended"]),
        ("sweeps/more.json", "{}", ["2 manifests name 2 runs, of which 2 have ended"]),
        ("c/weights.safetensors", None, ["c has no weights"]),
        ("c/checkpoint.pt", "", ["c still has a checkpoint"]),
        ("b/checkpoint.pt", "", ["b still has a checkpoint", "b/checkpoint.pt should not be there"]),
        ("b/record.json", '{"status": "finished", "top1": 0.6}', ["b/record.json differs"]),
        ("b/weights.safetensors", "others", ["b/weights.safetensors differs"]),
        ("c/.record.json.5.tmp", "", ["c/.record.json.5.tmp should not be there"]),
    ],
)
def test_a_search_that_lost_something_differs(name, content, found, tmp_path):
    one, other = searched(tmp_path / "one", "a", "b"), searched(tmp_path / "other", "b", "c")
    (other / name).unlink() if content is None else (other / name).write_text(content)
    assert differences_of_search(left(one), left(other)) == found


def test_where_results_lie_is_no_difference(tmp_path):
    one, other = make(tmp_path / "one/results"), make(tmp_path / "other/results")
    for folder in (one, other):
        (folder / "config.yaml").write_text(f"root: {folder.parents[1]}/images\n")
    assert differences(left(one.parent), left(other.parent)) == []


def test_a_torn_record_differs_and_ends_nothing(tmp_path):
    one, other = make(tmp_path / "one"), make(tmp_path / "other")
    (other / "record.json").write_text('{"top1": 0.')
    assert differences(left(one.parent), left(other.parent)) == [f"{other.name}/record.json differs"]


def test_what_is_left_over_in_a_cache_beside_the_results_is_a_difference(tmp_path):
    one, other = make(tmp_path / "one/results"), make(tmp_path / "other/results")
    for folder, key in ((one, "0123456789ab"), (other, "ba9876543210")):
        (folder.parents[1] / "data").mkdir()
        (folder.parents[1] / f"data/contents-{key}.json").touch()
    assert differences(left(one.parent), left(other.parent)) == []
    (other.parents[1] / "data/.contents.tmp").touch()
    assert differences(left(one.parent), left(other.parent)) == ["data/.contents.tmp should not be there"]


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ('{"status": "finished"}', ""),
        ('{"status": "stopped"}', ""),
        ('{"status": "failed", "error": "OSError: x"}', "counts as failed: OSError: x"),
        ('{"status": "fin', "has a torn record"),
    ],
)
def test_a_record_of_a_failure_is_half_counted(content, wrong, tmp_path):
    folder = make(tmp_path)
    (folder / "record.json").write_text(content)
    assert half_counted(tmp_path) == ([f"{folder.name} {wrong}"] if wrong else [])


def test_a_finished_record_without_weights_is_half_counted(tmp_path):
    folder = make(tmp_path)
    (folder / "record.json").write_text('{"status": "finished"}')
    (folder / "weights.safetensors").unlink()
    assert half_counted(tmp_path) == [f"{folder.name} counts as finished and has no weights"]
    (folder / "network.fcn").touch()
    assert half_counted(tmp_path) == []


def test_an_epoch_that_was_trained_twice_is_counted_once_however_often_it_was_logged(tmp_path):
    log = make(tmp_path) / "log"
    assert trained_twice(tmp_path) == 0
    log.write_text(log.read_text() + "2026-01-01T00:00:09+00:00 epoch 1: {'seconds': 2.0}\n")
    assert trained_twice(tmp_path) == 0  # the same epoch, from its checkpoint
    log.write_text(log.read_text() + "2026-01-01T00:00:09+00:00 epoch 1: {'seconds': 2.5}\n")
    assert trained_twice(tmp_path) == 1


def test_a_traceback_more_than_a_line_and_another_exit_code_are_untidy():
    assert untidy(Ended(code=1, out="", err="sweep: a line\n"), (1,)) == []
    assert len(untidy(Ended(code=2, out="", err="sweep: a line\n"), (1,))) == 1
    assert len(untidy(Ended(code=1, out="", err="sweep: a line\nand another\n"), (1,))) == 1
    assert len(untidy(Ended(code=1, out="", err="Traceback (most recent call last):\n  x\nKeyError\n"), (1,))) == 1


def test_an_error_without_a_line_and_an_orphan_are_untidy():
    assert untidy(Ended(code=2, out="", err=""), (2,)) == ["0 lines of error: ''"]
    assert untidy(Ended(code=1, out="", err=""), (1,)) == ["0 lines of error: ''"]
    assert untidy(Ended(code=1, out="failures\n point  key  reason\n", err=""), (1,)) == []
    assert untidy(Ended(code=0, out="", err="", orphans=2), (0,)) == ["orphans: 2"]


def test_an_output_that_changes_must_say_why(tmp_path):
    path = tmp_path / "chaos-x/7/results/0123456789abcdef/record.json"
    usual = Ended(code=0, out="/tmp/chaos-x/3/results: 0.5\n", err="")
    same = Ended(code=0, out="/tmp/chaos-x/7/results: 0.5\n", err="")
    other = Ended(code=0, out="/tmp/chaos-x/7/results: 0.6\n", err="")
    named = Ended(code=0, out="/tmp/chaos-x/7/results: 0.6 of 0123456789abcdef\n", err="")
    assert damage._unnoticed(same, usual, path) == damage._unnoticed(named, usual, path) == []
    assert len(damage._unnoticed(other, usual, path)) == 1
