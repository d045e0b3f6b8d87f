"""What a person sees of a sweep."""

import pytest

from fire.train.progress import Epoch, Note, Progress
from sweep.commands import display
from sweep.commands.display import Display, duration, percent
from sweep.config import Options
from tests.records import record_of
from tests.sweeping import point


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0:00"),
        (59.4, "0:59"),
        (59.6, "1:00"),
        (245, "4:05"),
        (3599, "59:59"),
        (3600, "1:00:00"),
        (3723, "1:02:03"),
        (100 * 3600, "100:00:00"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (0.0, "0.00 %"), (0.57512, "57.51 %"), (1, "100.00 %")])
def test_percentages(value, text):
    assert percent(value) == text


@pytest.fixture
def points(monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("TTY_COMPATIBLE", raising=False)
    return [point("data=digits", f"arch.sr={sr}") for sr in (0.25, 0.5)]


def progress_after(epochs: float) -> Progress:
    rows = [
        Epoch(
            epoch=i + 1,
            lr=0.1,
            train_loss=2 - i,
            validation_loss=2,
            validation_top1=(i + 1) / 8,
            train_seconds=1,
            seconds=1,
        )
        for i in range(int(epochs))
    ]
    return Progress(epochs_done=epochs, epochs=2, loss=1.5, images_per_second=1234, curve=tuple(rows))


def test_no_terminal_gets_a_line_an_epoch(points, capsys):
    first, second = points
    with Display(points, Options()) as display:
        display.started(first.key)
        for epochs in (0.3, 0.7, 1, 1.5, 2):
            display.progress(first.key, progress_after(epochs))
        display.ended(first.key, record_of(first.config, 0.75, validation_top1=0.25))
        display.started(second.key)
        display.ended(second.key, None, "killed")
    lines = capsys.readouterr().out.splitlines()
    begins = ["sr=0.25: started", "sr=0.25: epoch 1/2, ", "sr=0.25: epoch 2/2, ", "finished sr=0.25: "]
    begins += ["sr=0.5: started", "failed sr=0.5: killed, after 0:0"]
    assert [line[: len(begin)] for line, begin in zip(lines, begins, strict=True)] == begins
    assert "validation top-1 12.50 %" in lines[1]
    assert "validation top-1 25.00 %" in lines[2]
    assert "test top-1 75.00 %, validation 25.00 %" in lines[3]
    assert not any("\x1b" in line for line in lines), "no colours in a file"


def test_runs_may_end_while_the_live_table_is_drawn(points, monkeypatch):
    """A thread of rich's draws it, and reads what the launcher changes meanwhile."""
    with Display(points, Options()) as shown:
        for each in points:
            shown.started(each.key)
            shown.progress(each.key, progress_after(1.5))

        def meanwhile(label: str, run: display._Running) -> dict:
            for each in points:
                if each.key in shown._running:
                    shown.ended(each.key, None, "killed")
            return cells(label, run)

        cells = display._cells
        monkeypatch.setattr(display, "_cells", meanwhile)
        head, table = shown._render().renderables
    assert str(head).startswith("0 done, 2 running, ")
    assert table.row_count == 2


def test_a_note_is_a_line_and_changes_nothing(points, capsys):
    with Display(points, Options()) as display:
        display.started(points[0].key)
        display.progress(points[0].key, Note(text="the checkpoint is damaged; the run starts anew"))
        display.progress(points[0].key, progress_after(1))
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "note sr=0.25: the checkpoint is damaged; the run starts anew"
    assert lines[2].startswith("sr=0.25: epoch 1/")


def test_the_time_left_is_that_to_where_the_run_leaves_off(points, capsys):
    point = points[0]
    with Display(points, Options()) as display:
        display.started(point.key, stop_epoch=1)
        for epochs in (0.5, 1):
            display.progress(point.key, progress_after(epochs))
    line = capsys.readouterr().out.splitlines()[1]
    assert "epoch 1/2" in line
    assert line.endswith(", 0:00 left")


def test_the_time_left_of_a_sweep_counts_what_was_done_in_this_launch_alone(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("sweep.commands.display.time.monotonic", lambda: clock[0])
    first, second, _ = runs = [point("data=digits", f"seed={seed}") for seed in (0, 1, 2)]
    with Display(runs, Options()) as shown:
        shown.started(first.key)
        shown.progress(first.key, progress_after(1.5))  # of 2: its checkpoint is of epoch 1
        shown.started(second.key)
        shown.elsewhere(second.key)
        shown.ended(first.key, None, "it failed")
        clock[0] = 60.0
        left = shown._sweep_seconds_left(shown._running, shown._ended)
    assert left == pytest.approx(120.0), "half a run took a minute, one run is to come"


def test_the_time_left_of_a_second_attempt_is_by_its_own_epochs(points, monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr("sweep.commands.display.time.monotonic", lambda: clock[0])
    point = points[0]
    with Display(points, Options()) as shown:
        shown.started(point.key)
        shown.progress(point.key, progress_after(0.5))
        shown.retried(point.key, "its process was killed")
        shown.started(point.key)
        clock[0] = 60.0
        shown.progress(point.key, progress_after(1.5))  # its checkpoint is of epoch 1
        assert shown._running[point.key].seconds_left == pytest.approx(60.0), "half an epoch took a minute"
