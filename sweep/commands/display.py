"""What a person sees while runs train: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fire.train.progress import Note, Progress
from sweep.config import Options
from sweep.points import Point, labels
from sweep.record import Record
from sweep.store import Damage, Store

# Columns that a live table has only on terminals of this width.
WIDTH_FOR = {"": 90, "loss": 60, "images/s": 70}
MOST_DAMAGED = 5  # lines


def console() -> Console:
    """The standard output; lines are not broken where it is no terminal."""
    terminal = Console(highlight=False, markup=False)
    return terminal if terminal.is_terminal else Console(highlight=False, markup=False, width=200, soft_wrap=True)


class _Running(NamedTuple):
    """A run under way. began: on the monotonic clock; before: epochs done when it went on from its checkpoint."""

    began: float
    last_epoch: int  # where it stops; 0: at its recipe's end
    progress: Progress | None = None
    before: float = 0.0

    @property
    def seconds_left(self) -> float | None:
        """Until it stops, at its speed so far; None while that is not known."""
        gained = self.progress.epochs_done - self.before if self.progress else 0.0
        if self.progress is None or gained <= 0:
            return None
        until = self.last_epoch or self.progress.epochs
        return (time.monotonic() - self.began) * max(0.0, until - self.progress.epochs_done) / gained


class Display:
    """The progress of some runs, as a context. Call `started`, `progress` and `ended` when that happens.

    A thread of rich's draws the live table meanwhile: it takes copies of what changes.
    """

    def __init__(self, points: Sequence[Point], options: Options, open_ended: bool = False) -> None:
        self._open_ended = open_ended  # more points will be added
        self._console = console()
        self._points = {point.key: point for point in points}
        self._labels = labels(points)
        self._store = Store(options.results_dir)
        self._running: dict[str, _Running] = {}
        self._ended: dict[str, float] = {}  # which part of the run was done here, the rest in earlier launches
        self._began = time.monotonic()
        self.reasons: dict[str, str] = {}  # why runs left no record, by their keys
        self.left_alone: set[str] = set()  # runs that were under way elsewhere, when last they were to start
        self._live = Live(get_renderable=self._render, console=self._console, refresh_per_second=4, transient=True)

    def __enter__(self) -> "Display":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def add(self, point: Point, label: str) -> None:
        """Take up a run that was not among the points, or that goes on."""
        self._points[point.key] = point
        self._labels[point.key] = label

    def started(self, key: str, stop_epoch: int = 0) -> None:
        """A run has been started. stop_epoch: where it stops; 0: at its end."""
        self._running[key] = _Running(time.monotonic(), stop_epoch)
        self._ended.pop(key, None)  # a search goes on with runs that it had stopped
        self.left_alone.discard(key)
        if not self._console.is_terminal:
            self._console.print(f"{self._labels[key]}: started")

    def progress(self, key: str, progress: Progress | Note) -> None:
        """News from a running run."""
        if isinstance(progress, Note):
            self._console.print(Text.assemble(("note ", "yellow"), f"{self._labels[key]}: {progress.text}"))
            return
        running = self._running[key]
        whole = progress.epochs_done == len(progress.curve)
        before = running.before if running.progress else len(progress.curve) - (1 if whole else 0)
        self._running[key] = running = running._replace(progress=progress, before=before)
        if whole and not self._console.is_terminal:
            top1 = progress.curve[-1].validation_top1
            self._console.print(
                f"{self._labels[key]}: epoch {int(progress.epochs_done)}/{progress.epochs}, "
                f"loss {progress.loss:.4f}, validation top-1 {100 * top1:.2f} %, "
                f"{progress.images_per_second:,.0f} images/s, {duration(running.seconds_left)} left"
            )

    def remark(self, line: str) -> None:
        """Print a line that is about no run."""
        self._console.print(line)

    def retried(self, key: str, reason: str) -> None:
        """A run has ended early, for this reason, and will be started once more."""
        self._running.pop(key)
        self._console.print(Text.assemble(("once more ", "yellow"), f"{self._labels[key]}: {reason}"))

    def elsewhere(self, key: str) -> None:
        """A run has been found under way in another process."""
        self._running.pop(key)
        self._ended[key] = 0.0
        self.left_alone.add(key)
        holder = self._store.holder(key) or "another process"
        self._console.print(Text.assemble(("elsewhere ", "yellow"), f"{self._labels[key]}: under way on {holder}"))

    def ended(self, key: str, record: Record | None, message: str = "") -> None:
        """A run has ended, with this record or, if it left none, for this reason."""
        run = self._running.pop(key)
        self._ended[key] = 1 - (run.before / run.progress.epochs if run.progress else 0.0)
        label, took = self._labels[key], duration(time.monotonic() - run.began)
        if record is not None and record.status == "finished":
            scores = f"test top-1 {percent(record.top1)}, validation {percent(record.validation_top1)}"
            self._console.print(Text.assemble(("finished ", "green"), f"{label}: {scores}, {took}"))
        elif record is not None and record.status == "stopped":
            scores = f"after epoch {record.epochs}, validation top-1 {percent(record.validation_top1)}"
            self._console.print(Text.assemble(("stopped ", "yellow"), f"{label}: {scores}, {took}"))
        else:
            reason = message if record is None else record.error
            if record is None:
                self.reasons[key] = message
            self._console.print(Text.assemble(("failed ", "red"), f"{label}: {reason}, after {took}"))

    def _sweep_seconds_left(self, running: Mapping[str, _Running], ended: Mapping[str, float]) -> float | None:
        """Until all runs have ended, at the rate of multiply-accumulates since the start."""
        total = sum(point.work for point in list(self._points.values()))
        gained = sum(self._points[key].work * part for key, part in ended.items())
        done: float = sum(self._points[key].work for key in ended)  # also in earlier launches
        for key, run in running.items():
            if run.progress is not None:
                share = self._points[key].work / run.progress.epochs
                gained += share * (run.progress.epochs_done - run.before)
                done += share * run.progress.epochs_done
        return (time.monotonic() - self._began) * (total - done) / gained if gained else None

    def _render(self) -> Group:
        running, ended = self._running.copy(), self._ended.copy()
        waiting = len(self._points) - len(ended | running.keys())
        to_come = "" if self._open_ended else f"{waiting} to come, "
        left = "" if self._open_ended else f", {duration(self._sweep_seconds_left(running, ended))} left"
        head = (
            f"{len(ended)} done, {len(running)} running, {to_come}"
            f"{duration(time.monotonic() - self._began)} so far{left}"
        )
        names = ["run", "", "epoch", "loss", "validation", "images/s", "left"]
        shown = [name for name in names if self._console.width >= WIDTH_FOR.get(name, 0)]
        table = Table(box=None, pad_edge=False)
        for name in shown:
            text = name in ("run", "")
            table.add_column(name, justify="left" if text else "right", no_wrap=not text, overflow="fold")
        for key, run in running.items():
            cells = _cells(self._labels[key], run)
            table.add_row(*(cells[name] for name in shown))
        return Group(Text(head, style="bold"), table)


def damage_lines(damaged: Sequence[Damage]) -> list[str]:
    """A line for each of the first files that cannot be read, and one that counts the others."""
    more = len(damaged) - MOST_DAMAGED
    lines = [f"damaged: {each}" for each in damaged[:MOST_DAMAGED]]
    return [*lines, f"damaged: {more:,} more files cannot be read"] if more > 0 else lines


def _cells(label: str, run: _Running) -> dict[str, RenderableType]:
    """A row of the live table, by the columns' names."""
    progress = run.progress
    if progress is None:
        bar = ProgressBar(total=1, completed=0, width=20)
        return {"run": label, "": bar, "epoch": "starting", "loss": "", "validation": "", "images/s": "", "left": ""}
    return {
        "run": label,
        "": ProgressBar(total=progress.epochs, completed=progress.epochs_done, width=20),
        "epoch": f"{progress.epochs_done:.1f}/{progress.epochs}",
        "loss": f"{progress.loss:.4f}",
        "validation": percent(progress.curve[-1].validation_top1 if progress.curve else None),
        "images/s": f"{progress.images_per_second:,.0f}",
        "left": duration(run.seconds_left),
    }


def print_table(table: Table) -> None:
    """Print the table; on a terminal too narrow for its numbers without frames, or each row as lines."""
    out = console()
    for column in table.columns:
        column.no_wrap = column.overflow != "fold"
    for frame in (table.box, None):
        table.box = frame
        if Measurement.get(out, out.options, table).minimum < out.width:
            out.print(table)
            return
    out.print(Text(str(table.title or ""), style="bold"))
    for first, *others in zip(*(column.cells for column in table.columns), strict=True):
        out.print(Text(str(first), style="bold"))
        named = zip(table.columns[1:], others, strict=True)
        out.print(Text("  " + ", ".join(f"{column.header} {cell}" for column, cell in named)))


def percent(value: float | None) -> str:
    """A fraction of 1 as a percentage; a dash where there is none."""
    return "-" if value is None else f"{100 * value:.2f} %"


def duration(seconds: float | None) -> str:
    """Seconds as 4:05 or 1:02:03; a dash where there is none."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
