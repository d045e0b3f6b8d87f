"""A search and its store: what becomes of runs that end early, are run elsewhere, or come from elsewhere."""

import contextlib
from dataclasses import replace
from pathlib import Path

import pytest

from fire.files import locked
from sweep import origin
from sweep.commands.display import Display
from sweep.commands.exits import ELSEWHERE, FAILED, RunsError
from sweep.config import Options
from sweep.grid import manifest
from sweep.manifests import Sweep
from sweep.run import run
from sweep.search import history, latencies
from sweep.search.campaign import Campaign
from sweep.search.searcher import Searcher
from sweep.search.space import Space
from sweep.search.spec import SearchSpec
from sweep.store import Store, StoreError
from tests.records import record_of
from tests.sweeping import TINY, composed, launch, planner, write_curve

EPOCHS = 3  # rungs 1, 2, 3


def campaign(results: Path, budget: int = 2) -> Campaign:
    """A search over four networks, as it finds the store."""
    store = Store(results)
    options = Options(results_dir=str(results))
    base = [*TINY, "arch.fires=4"]
    space = Space(planner(), base, {"arch.sr": ["0.25", "0.5"], "arch.bypass": ["none", "simple"]})
    searcher = Searcher(space, SearchSpec(budget_runs=budget, sampler="grid", reduction=2), EPOCHS)
    return Campaign(
        manifest=Sweep(name="search", varied=("arch.sr", "arch.bypass"), points=(), search=searcher.spec.asked_for),
        store=store,
        options=options,
        space=space,
        searcher=searcher,
        trials=history.trials(store, space, history.records(store, space), store.read_sweep("search")),
        display=Display([], options, open_ended=True),
    )


def stop(made: Campaign, index: int, curve: tuple[float, ...], epochs: int) -> str:
    """Leave the run of the point as one that was stopped; its key."""
    run = made.space.point(index).config
    stopped = replace(record_of(run, curve[-1]), status="stopped", top1=None, epochs=epochs)
    made.store.write(stopped)
    write_curve(made.store.folder(run.key), *curve)
    return run.key


def code_of(made: Campaign) -> int:
    """The exit code that the search ends with."""
    try:
        made.print_summary()
    except RunsError as error:
        return error.code
    return 0


def test_a_run_that_does_not_get_to_its_rung_is_left_alone(tmp_path, capsys):
    for index in (0, 1):
        stop(campaign(tmp_path), index, (0.5 + index / 10,), epochs=1)
    made = campaign(tmp_path)
    given = []
    while (job := made.next(())) is not None and len(given) < 20:  # each ends at once, and leaves what was there
        given.append((job[0].key, job[1].stop_epoch))
    assert len(given) == len(set(given)) > 0
    assert code_of(made) == FAILED
    assert f"0 stopped early, {len(given)} failed" in capsys.readouterr().out
    assert campaign(tmp_path).next(()) is not None, "the next launch tries again"


def fail(made: Campaign, index: int, error: str) -> None:
    """Leave the run of the point as one that has failed."""
    failed = replace(record_of(made.space.point(index).config, 0), status="failed", top1=None, validation_top1=None)
    made.store.write(replace(failed, error=error))


def test_failures_are_listed_with_their_reasons_by_the_launch_in_which_they_happened(tmp_path, capsys):
    made = campaign(tmp_path, budget=1)
    job = made.next(())
    (index,) = made.trials
    fail(made, index, "diverged: the loss is nan")
    assert made.next(()) is None
    assert code_of(made) == FAILED
    out, _, failures = capsys.readouterr().out.partition("failures")
    assert "search.retry_failed" not in out
    assert all(text in failures for text in (made.space.label(index), job[0].key, "diverged: the loss is nan"))
    again = campaign(tmp_path, budget=1)
    assert again.next(()) is None
    assert code_of(again) == 0, "nothing of this launch has failed"
    out = capsys.readouterr().out
    assert "1 of them failed in other launches: search.retry_failed=true tries them again" in out
    assert "diverged" not in out


def test_latencies_are_in_the_summary_if_they_are_an_objective(tmp_path, capsys):
    made = campaign(tmp_path)
    record = replace(record_of(made.space.point(0).config, 0.9), latency_seconds=0.5, host="elsewhere")
    made.store.write(record)
    made.trials[0] = history.trial_of(made.store, record.key, record)
    made.print_summary()
    assert "latency" not in capsys.readouterr().out
    made.latencies = latencies.Latencies(threads=1, device="cpu", host="here", measured={record.key: 0.00125})
    made.trials[0] = history.trial_of(made.store, record.key, record, made.latencies)
    made.print_summary()
    out = capsys.readouterr().out
    assert "latency, ms" in out
    assert "1.250" in out, "as measured again, not as recorded"


def test_a_run_that_got_there_is_taken_as_it_is(tmp_path):
    for index in (0, 1):
        stop(campaign(tmp_path), index, (0.5 + index / 10,), epochs=1)
    made = campaign(tmp_path)
    job = made.next(())
    (index,) = (i for i in (0, 1) if made.space.point(i).key == job[0].key)
    stop(made, index, (0.5, 0.6, 0.7)[: job[1].stop_epoch], epochs=job[1].stop_epoch)
    made.next(())
    assert len(made.trials[index].curve) == job[1].stop_epoch
    assert made.trials[index].status != "failed"


def test_a_run_that_another_sweep_ended_just_now_is_no_failure(tmp_path):
    for index in (0, 1):
        stop(campaign(tmp_path), index, (0.5 + index / 10,), epochs=1)
    made = campaign(tmp_path)
    job = made.next(())
    assert job[1].stop_epoch != 1
    made.display.started(job[0].key)
    made.display.elsewhere(job[0].key)  # our worker found it under way, and now it is not
    assert made.next(()) == job, "it goes on here"


def test_runs_of_another_sweep_are_left_to_it_and_are_no_failures(tmp_path, capsys):
    made = campaign(tmp_path, budget=4)
    keys = [made.space.point(index).key for index in range(4)]
    with contextlib.ExitStack() as others:
        for key in keys:
            others.enter_context(locked(tmp_path / key / ".lock", patience=0))
        assert made.next(()) is None
        assert code_of(made) == ELSEWHERE
        assert "0 failed, 4 under way elsewhere" in capsys.readouterr().out
        stop(made, 0, (0.5,), epochs=1)
    # The other sweep is gone: what it has stopped counts, what it has left is gone on with.
    job = made.next(())
    assert made.trials[0].curve == (0.5,)
    assert job[0].key in keys[1:]


def test_a_run_that_another_sweep_began_in_the_meantime_is_no_failure(tmp_path):
    made = campaign(tmp_path, budget=1)
    job = made.next(())
    with locked(tmp_path / job[0].key / ".lock", patience=0):  # so our worker has ended with a BusyError
        assert made.next(()) is None
        assert code_of(made) == ELSEWHERE


def test_the_manifest_names_a_run_before_it_begins(tmp_path):
    made = campaign(tmp_path)
    made.write_manifest()
    assert made.store.read_sweep("search").points == (), "it is there before anything runs"
    job = made.next(())
    assert made.store.read_sweep("search").keys == (job[0].key,)
    again = campaign(tmp_path, budget=4)
    assert [trial.status for trial in again.trials.values()] == ["killed"], "it left no record"
    assert again.next(())[0].key == job[0].key


def test_a_search_whose_results_were_moved_does_not_make_them_anew(tmp_path):
    results = tmp_path / "results"
    made = campaign(results)
    made.write_manifest()
    assert made.next(()) is not None
    results.rename(tmp_path / "moved")
    with pytest.raises(StoreError, match="until the end"):
        made.next(())
    assert not results.exists()


def test_a_search_over_an_experiment_has_a_name_of_its_own():
    cfg = composed("experiment=sr", "arch.conv1=24", "results_dir=elsewhere")
    left_out = {"results_dir"}
    assert manifest(cfg, left_out, ()).name == "sr_arch.conv1=24"
    assert manifest(cfg, left_out, (), kind="search").name == "search_sr_arch.conv1=24"
    assert manifest(composed("experiment=search"), left_out, (), kind="search").name == "search"


def test_a_manifest_says_its_experiment_and_overrides_where_its_name_is_cut(tmp_path):
    given = ("arch.conv1=24", "arch.base_e=24", "arch.incr_e=24", "train.epochs=7", "train.lr=0.05", "data.limit=1000")
    launch = manifest(composed("experiment=sr", *given, "results_dir=elsewhere"), {"results_dir"}, ("arch.sr",))
    assert len(launch.name) < len("_".join(("sr", *given)))
    assert len(manifest(composed(f"train.weights='{'文' * 79}'"), (), ()).name.encode()) <= 80, "of 255 bytes"
    assert (launch.experiment, launch.overrides, launch.varied) == ("sr", given, ("arch.sr",))
    store = Store(tmp_path)
    store.write_sweep(launch)
    assert store.read_sweep(launch.name) == launch


def test_the_manifest_of_a_plain_sweep_is_none_of_a_search(tmp_path):
    made = campaign(tmp_path)
    points = (({"arch.sr": "0.5", "arch.bypass": "none"}, made.space.point(2).key),)
    made.store.write_sweep(Sweep(name="search", varied=("arch.sr",), points=points))
    assert campaign(tmp_path).trials == {}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run, and its store."""
    folder = tmp_path_factory.mktemp("latencies")
    made = launch(*TINY, "train.epochs=1", "data.limit=100", f"results_dir={folder}", f"data_dir={folder}/data")
    return made, run(*made), Store(folder)


def test_only_latencies_of_the_same_machine_device_and_threads_are_compared(trained):
    made, record, store = trained
    here = latencies.take_here(*made, [record])
    assert (here.threads, here.device, here.host, here.measured) == (1, "cpu", origin.host(), {})
    assert here.of(record) == record.latency_seconds > 0
    for elsewhere in ({"threads": 64}, {"host": "a faster one"}, {"device": "a GPU"}, {"latency_seconds": None}):
        other = replace(record, **elsewhere)
        measured = latencies.take_here(*made, [other])
        assert measured.of(other) == measured.measured[record.key] > 0, "its weights are here"
        assert latencies.take_here(*made, [replace(other, status="stopped")]).of(other) is None
        assert history.trial_of(store, other.key, other, here).latency_seconds is None


def test_latencies_are_taken_in_a_process_of_their_own(trained, tmp_path):
    made, record, _ = trained
    without_weights = made.having(results_dir=str(tmp_path))
    found = latencies.take(*without_weights, [replace(record, threads=64)])
    assert (found.threads, found.device, found.measured) == (1, "cpu", {})
