"""What a person sees when a sweep has ended, and the exit code that goes with it."""

import re

import pytest

from fire.files import locked
from sweep.commands.display import Display
from sweep.commands.exits import ELSEWHERE, FAILED, RunsError
from sweep.commands.summary import print_summary
from sweep.config import Options
from sweep.points import labels
from sweep.preparation import print_dry_run
from sweep.store import Store
from tests.records import record_of
from tests.sweeping import point
from tests.test_display import progress_after

WIDE = ("arch.base_e=32", "arch.incr_e=32", "arch.pct_3x3=0.125", "arch.bypass=complex", "arch.fires=4")


@pytest.fixture
def points(monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("TTY_COMPATIBLE", raising=False)
    return [point("data=digits", f"arch.sr={sr}") for sr in (0.25, 0.5)]


def ended(store, points, reasons=None, **options) -> tuple[int, str]:
    """The exit code of a sweep with this summary, and the line that goes with it."""
    try:
        print_summary(points, Options(results_dir=str(store.root), **options), reasons)
    except RunsError as error:
        return error.code, str(error)
    return 0, ""


TITLE = re.compile(r"^ *failures *$", re.MULTILINE)


def has_failures(out: str) -> bool:
    return TITLE.search(out) is not None


def test_results_and_failures(points, tmp_path, capsys):
    first, second = points
    store = Store(tmp_path)
    store.write(record_of(first.config, 0.75, validation_top1=0.5, train_seconds=61))
    assert ended(store, [first]) == (0, "")
    assert not has_failures(capsys.readouterr().out)

    assert ended(store, points) == (FAILED, "")
    results, failures = re.split(TITLE, capsys.readouterr().out)
    assert all(text in results for text in ("sr=0.25", "75.00 %", "50.00 %", "1:01"))
    assert "sr=0.5" not in results
    assert all(text in failures for text in ("sr=0.5", second.key, "ended without a record"))

    store.write(record_of(second.config, None, status="failed", error="diverged: the loss is nan"))
    assert ended(store, points) == (FAILED, "")
    assert "diverged: the loss is nan" in capsys.readouterr().out


def test_runs_under_way_elsewhere_are_named_with_their_processes(points, tmp_path, capsys):
    first, second = points
    store = Store(tmp_path)
    with locked(store.folder(second.key) / ".lock"):
        holder = store.holder(second.key)
        assert re.fullmatch(r"host \S+, process \d+", holder)
        line = f"1 run is under way elsewhere: sr=0.5 ({holder})"
        store.write(record_of(first.config, 0.75))
        assert ended(store, points) == (ELSEWHERE, line)
        assert not has_failures(capsys.readouterr().out)
        store.write(record_of(first.config, None, status="failed", error="diverged"))
        assert ended(store, points) == (FAILED, ""), "a failure is the user's to mend"
        assert line in capsys.readouterr().out


def test_a_network_to_compress_that_is_trained_elsewhere_is_no_failure(tmp_path):
    compressed = point("data=digits", "compress=entropy")
    store = Store(tmp_path)
    with locked(store.folder(compressed.uncompressed.key) / ".lock"):
        assert ended(store, [compressed])[0] == ELSEWHERE
    assert ended(store, [compressed])[0] == FAILED


def test_why_a_run_left_no_record_is_said_where_the_launch_knows_it(points, tmp_path, capsys):
    late = "its process ended early (timeout=6 seconds are over)"
    with Display(points, Options()) as display:
        display.started(points[0].key)
        display.ended(points[0].key, None, late)
    capsys.readouterr()
    store = Store(tmp_path)
    store.write(record_of(points[0].config, None, status="stopped", epochs=1))
    assert ended(store, points, display.reasons)[0] == FAILED
    failures = capsys.readouterr().out
    assert late in failures
    assert "ended without a record" in failures, "the other one"


def test_warnings_are_no_failures(points, tmp_path, capsys):
    store = Store(tmp_path)
    store.write(record_of(points[0].config, 0.1, warning="at chance after 2 steps"))
    store.write(record_of(points[1].config, 0.9))
    assert ended(store, points) == (0, "")
    out = capsys.readouterr().out
    assert "\nwarning sr=0.25: at chance after 2 steps\n" in out
    assert not has_failures(out)
    assert "warning sr=0.5" not in out


def test_a_run_left_off_by_an_earlier_launch_is_a_success_only_if_that_was_asked_for(points, tmp_path, capsys):
    (point, _), store = points, Store(tmp_path)
    store.write(record_of(point.config, None, status="stopped", epochs=1, validation_top1=0.5))
    for stop_epoch, succeeded in ((0, False), (1, True), (2, False)):
        assert ended(store, [point], stop_epoch=stop_epoch)[0] == (0 if succeeded else FAILED)
        out = capsys.readouterr().out
        assert ("stopped after epoch 1" in out) == succeeded
        assert ("left off after epoch 1" in out) != succeeded


def on_terminal(width: int, monkeypatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))


def plain(text: str) -> str:
    """The text without the colours and cursor movements of a terminal."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_tables_stay_readable_on_narrow_terminals(width, tmp_path, capsys, monkeypatch):
    points = [point("data=digits", *WIDE, f"seed={seed}", f"arch.sr={sr}") for seed, sr in ((10, 0.125), (11, 0.25))]
    on_terminal(width, monkeypatch)
    store = Store(tmp_path)
    store.write(record_of(points[0].config, 0.7512, validation_top1=0.5034, train_seconds=4000))
    assert ended(store, points)[0] == FAILED
    print_dry_run(points, points, store)
    out = plain(capsys.readouterr().out)
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= width
    cost = points[0].cost
    for text in ("75.12 %", "50.34 %", "1:06:40", f"{cost.parameters:,}", f"{cost.size_mib:.3f}", points[1].key):
        assert text in out
    if width >= 120:
        rows = [
            line.replace("│", " ").split() for line in out.splitlines() if points[1].key in line and "to do" in line
        ]
        costs = ["13,146", "0.2", "8,552", "0.050", "5.0", "15.6"]
        assert [row[-8:] for row in rows] == [[*costs, "to", "do"]], "a row of the dry run"
    for name in labels(points).values():
        assert all(word in out for word in name.split())


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_live_display_stays_readable_on_narrow_terminals(width, capsys, monkeypatch):
    points = [point("data=digits", *WIDE, f"seed={seed}", f"arch.sr={sr}") for seed, sr in ((10, 0.125), (11, 0.25))]
    on_terminal(width, monkeypatch)
    with Display(points, Options()) as display:
        for each in points:
            display.started(each.key)
        display.progress(points[0].key, progress_after(1.5))
    out = plain(capsys.readouterr().out)
    assert "…" not in out
    assert max(map(len, out.splitlines())) <= width
    assert all(text in out for text in ("seed=10", "seed=11", "sr=0.125", "1.5/2", "12.50 %", "starting"))
