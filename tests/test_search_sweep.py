"""Searches in processes of their own: what they leave in the store, killed and launched again, and their summary."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fire.stats import pareto_front
from sweep.pool import Pool
from sweep.record import Record
from sweep.run import run
from sweep.search import best
from sweep.search.spec import AtMost
from sweep.store import Store
from tests.processes import session, wait_until
from tests.records import record_of
from tests.sweeping import ROOT, TINY, answered, command, config, finish, launch, point, start
from tests.test_launcher import trained_epochs

NETWORK = (*TINY, "arch.fires=4", "data.limit=300")
EARLIER = (*NETWORK, "arch.pct_3x3=0.25", "arch.sr=0.25")
BASE = ("experiment=search", *NETWORK, "workers=2", "search.reduction=2")
AXES = (
    "arch.incr_e=8,16",
    "arch.freq=2",
    "arch.pct_3x3=0.25,0.75",
    "arch.bypass=none,simple",
    "arch.sr=0.125,0.25,0.5",
)
AT_MOST = ("search.at_most.parameters=12e3", "search.at_most.macs=20e6")


def arguments(results: Path, *more: str) -> tuple[str, ...]:
    return (*BASE, *AXES, *AT_MOST, f"data_dir={results.parent}/data", f"results_dir={results}", *more)


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> tuple[Path, list[str]]:
    """A search that is launched, killed, launched to its end, and launched again; the outputs of the last two."""
    results = tmp_path_factory.mktemp("search") / "results"
    run(*launch(*EARLIER, f"data_dir={results.parent}/data", f"results_dir={results}"))
    again = arguments(results, "search.budget_runs=8")
    process = start(*again)
    try:
        assert wait_until(lambda: len(list(Store(results).keys())) > 2, seconds=240)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        code, out, _ = finish(process)
    assert code == -signal.SIGKILL, out
    assert wait_until(lambda: not session(process.pid), seconds=20), "orphans"
    outputs = []
    for relaunch in (command, answered):  # of the second, nothing is left to train
        code, out, err = relaunch(*again, *(["data_title=Digits", "export=onnx"] if relaunch is answered else []))
        assert (code, err) == (0, ""), out
        outputs.append(out)
    return results, outputs


def records(results: Path) -> list[Record]:
    return list(Store(results).records())


def test_as_many_networks_are_tried_as_the_budget_says(searched):
    results, outputs = searched
    assert re.search(r"24 points, (\d+) within the bounds; \d+ tried before, 8 to be", outputs[0])
    assert "8 networks tried: " in outputs[0]
    assert "8 tried before" in outputs[1]
    assert "started" not in outputs[1], "a search that is over trains nothing"
    assert len(records(results)) == 8
    more = answered(*arguments(results, "search.budget_runs=12", "search.first=[]", "dry_run=true"))[1]
    assert "8 tried before, 12 to be" in more, "the same search with more budget goes on"


def test_no_epoch_is_trained_twice(searched):
    results, _ = searched
    for record in records(results):
        trained = trained_epochs(results, record.key)
        assert trained == sorted(set(trained)), record.key


def test_a_search_that_is_over_gives_its_title_to_finished_runs_and_says_what_they_lack(searched):
    results, outputs = searched
    titles = {record.status: record.data_title for record in records(results)}
    assert titles == {"finished": "Digits", "stopped": None}
    finished = [record.key for record in records(results) if record.status == "finished"]
    line = re.search(r"(\d+) trained before lack the files of export=onnx: python -m sweep.export ([^ ,]+)", outputs[1])
    assert int(line[1]) == len(finished)
    assert Path(line[2]).name in finished


def test_earlier_results_are_trials(searched):
    results, _ = searched
    (sweep,) = [sweep for sweep in Store(results).sweeps() if sweep.search is not None]
    assert sweep.search == {
        "objectives": ["top1", "size_bytes"],
        "constraints": ["parameters<=12000", "macs<=20000000"],
    }
    assert sorted(sweep.keys) == sorted(record.key for record in records(results))
    assert point(*EARLIER).key in sweep.keys
    assert all(set(overrides) <= set(sweep.varied) for overrides, _ in sweep.points)


def test_nothing_breaks_a_constraint(searched):
    assert all(record.parameters <= 12e3 and record.macs <= 20e6 for record in records(searched[0]))


def test_stopped_runs_keep_their_checkpoint_and_know_nothing_of_the_test_set(searched):
    results, _ = searched
    stopped = [record for record in records(results) if record.status == "stopped"]
    assert stopped
    for record in stopped:
        assert record.epochs in (1, 2)
        assert (record.top1, record.loss, record.weights_bytes) == (None, None, None)
        assert record.validation_top1 == Store(results).validation_curve(record.key)[-1]
        assert (results / record.key / "checkpoint.pt").exists()
        assert record.latency_seconds > 0
    for record in records(results):
        if record.status == "finished":
            assert (record.epochs, record.top1 is None) == (3, False)
            assert not (results / record.key / "checkpoint.pt").exists()


def test_the_summary_shows_the_front_of_what_is_fully_trained(searched):
    results, outputs = searched
    finished = [record for record in records(results) if record.status == "finished"]
    losses = [(-record.validation_top1, record.size_bytes) for record in finished]
    front = {record.key for record, is_best in zip(finished, pareto_front(losses), strict=True) if is_best}
    assert set(re.findall(r"[0-9a-f]{16}", outputs[1].partition("not beaten")[2])) == front


def test_the_best_network_is_printed_with_its_command(searched):
    results, _ = searched
    chosen = best.candidates(records(results), AtMost(size_bytes=30e3))[0]
    among = [r for r in records(results) if r.status == "finished" and r.size_bytes <= 30e3]
    assert chosen.validation_top1 == max(record.validation_top1 for record in among)
    done = subprocess.run(
        [sys.executable, "-m", "sweep.search", "best", str(results), "--size-bytes", "30e3"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    again = re.search(r"again +python -m sweep (.*) results_dir=again", done.stdout)
    assert config(*shlex.split(again[1])).key == chosen.records[0].key


@pytest.mark.parametrize(
    ("overrides", "shown", "points"),
    [
        (
            ["search.first=[{arch.pct_3x3: 0.25, arch.incr_e: 8}]", "search.budget_runs=5"],
            "1 point, the first of 5; nothing",
            1,
        ),
        (
            ["arch.pct_3x3=0.25,0.75", "search.budget_runs=5"],
            "left out of search.first: {}: is not on the axes",
            0,
        ),
        (["search.first=[]", "search.budget_runs=5"], "0 tried before, 5 to be\nnothing is trained\n", 0),
        (["search.first=[]", "arch.sr=0.125"], "8 points, 8 within the bounds; 0 tried before, 8 to be\n", 0),
    ],
)
def test_a_dry_run_says_how_many_networks_would_be_tried(overrides, shown, points, tmp_path):
    code, out, err = answered(*arguments(tmp_path / "results", "dry_run=true", *overrides))
    assert (code, err) == (0, "")
    assert shown in out
    assert out.count("to do") == points
    assert ("activations" in out) == (points > 0), "a table of none would be empty"


def test_a_dry_run_lists_what_goes_on_and_leaves_out_what_has_failed(tmp_path):
    for sr, status in ((0.25, "stopped"), (0.5, "failed")):
        made = config(*NETWORK, "arch.incr_e=8", "arch.pct_3x3=0.25", f"arch.sr={sr}")
        record = replace(record_of(made, 0.5), status=status, top1=None, epochs=1)
        Store(tmp_path / "results").write(record)
    values = (f"{{arch.incr_e: 8, arch.pct_3x3: 0.25, arch.sr: {sr}}}" for sr in (0.125, 0.25, 0.5))
    first = f"search.first=[{', '.join(values)}]"
    for budget, goes_on, to_do in ((9, 1, 1), (2, 1, 0)):
        _, out, _ = answered(*arguments(tmp_path / "results", "dry_run=true", first, f"search.budget_runs={budget}"))
        assert f"the first of {budget - 1}" in out
        assert (out.count("stopped, goes on"), out.count("to do")) == (goes_on, to_do)
    again = arguments(tmp_path / "results", "dry_run=true", first, "search.retry_failed=true", "search.budget_runs=9")
    assert answered(*again)[1].count("to do") == 2, "the one that failed is chosen again"


def test_a_second_launch_of_a_search_ends_at_once(tmp_path, monkeypatch):
    results = tmp_path / "results"
    second = []

    def launch_again(pool: Pool) -> None:
        second.append(command(*arguments(results, "search.budget_runs=9")))  # the same search with more budget

    monkeypatch.setattr(Pool, "run", launch_again)
    assert answered(*arguments(results, "search.budget_runs=5"))[0] == 0
    ((code, out, err),) = second
    where = re.escape(f"host {socket.gethostname()}, process {os.getpid()}")
    assert (code, out) == (75, "")
    assert re.fullmatch(rf"sweep: search search_\S+ is under way elsewhere \({where}\)\n", err), err


def test_a_yaml_file_of_an_earlier_version_is_refused_with_what_to_write_instead(tmp_path):
    (tmp_path / "experiment").mkdir()
    yaml = "# @package _global_\nsearch:\n  constraints: [size_bytes<=500e3]\n"
    (tmp_path / "experiment" / "small.yaml").write_text(yaml)
    code, _, err = answered("--config-dir", str(tmp_path), "experiment=small", "-m", "hydra/sweeper=search")
    assert code == 2
    assert err.startswith("sweep: search.constraints must be written as search.at_most.size_bytes=500e3, likewise ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["search.constraints=[size_bytes<=5]"],
            "search.constraints must be written as search.at_most.size_bytes=500e3",
        ),
        (
            ["search.first=[{arch.sr: 0.3}]"],
            "search.first must be networks of the space, got arch.sr=0.3: is not on the axes",
        ),
        (
            ["search.first=[{arch.srr: 0.3}]"],
            "search.first must be networks of the space, got arch.srr=0.3: arch.srr must be one of",
        ),
        (["search.at_most.size_bytes=few"], "search.at_most.size_bytes must be a number, got 'few'"),
        (["search.at_most.top1=1"], "search.at_most.top1 must be one of size_bytes, parameters, macs, activations"),
        (["+search.at_most.top1=1"], "search.at_most.top1 must be one of size_bytes, parameters, macs, activations"),
        (["search.at_most.size_bytes=5"], "search.at_most must leave a network of the space, got size_bytes<=5, "),
        (["arch.sr=0.5,7"], "sweep: arch.sr must be in (0, 1], got 7.0"),
        (
            ["arch.base_e=range(1,1e8)"],
            "arch.base_e must be an axis of at most 10,000 choices, got",
        ),
        (["compress.density=0.2"], "compress.density must be a setting that compress=none reads"),
        (["search.first_rung=3"], "search.first_rung must be below train.epochs, 3, got 3"),
        (["+search.budget=5"], "search.budget must be one of budget_runs, "),
        (["stop_epoch=2"], "stop_epoch must be 0 in a search"),
        (["hydra/launcher=basic"], "hydra/launcher must be local, ray or slurm for a search"),
    ],
)
def test_bad_input_is_refused_on_one_line_and_nothing_trains(overrides, message, tmp_path):
    code, _, err = answered(*arguments(tmp_path / "results", *overrides))
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "results").exists()
