"""What a person sees while runs train, and at the end: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from fire.progress import Note, Progress
from sweep.plan import Point, labels
from sweep.store import Damage, Record, Store

MOST_DAMAGED = 5  # lines


def console() -> Console:
    """The standard output; lines are not broken where it is no terminal."""
    terminal = Console(highlight=False, markup=False)
    return terminal if terminal.is_terminal else Console(highlight=False, markup=False, width=200, soft_wrap=True)


class Display:
    """The progress of some runs. A context; `started`, `progress` and `ended` are told what happens."""

    def __init__(self, points: Sequence[Point], open_ended: bool = False) -> None:
        self._open_ended = open_ended  # more points will be added
        self._console = console()
        self._points = {point.key: point for point in points}
        self._labels = labels(points)
        self._running: dict[str, tuple[float, Progress | None]] = {}
        self._ended: set[str] = set()
        self._began = time.monotonic()
        self._done_before: dict[str, float] = {}  # epochs done when a run went on from its checkpoint
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
        """A run is to come that was not among the points, or that goes on."""
        self._points[point.key] = point
        self._labels[point.key] = label

    def started(self, key: str) -> None:
        """A run has been started."""
        self._running[key] = (time.monotonic(), None)
        self._ended.discard(key)  # a search goes on with runs that it had stopped
        if not self._console.is_terminal:
            self._console.print(f"{self._labels[key]}: started")

    def progress(self, key: str, progress: Progress | Note) -> None:
        """News from a running run."""
        if isinstance(progress, Note):
            self._console.print(Text.assemble(("note ", "yellow"), f"{self._labels[key]}: {progress.text}"))
            return
        started, _ = self._running[key]
        whole = progress.epochs_done == len(progress.curve)
        self._done_before.setdefault(key, len(progress.curve) - (1 if whole else 0))
        self._running[key] = (started, progress)
        if whole and not self._console.is_terminal:
            top1 = progress.curve[-1].validation_top1
            self._console.print(
                f"{self._labels[key]}: epoch {int(progress.epochs_done)}/{progress.epochs}, "
                f"loss {progress.loss:.4f}, validation top-1 {100 * top1:.2f} %, "
                f"{progress.images_per_second:,.0f} images/s, {duration(self._seconds_left(key))} left"
            )

    def retried(self, key: str, reason: str) -> None:
        """A run has ended early, for this reason, and will be started once more."""
        self._running.pop(key)
        self._console.print(Text.assemble(("once more ", "yellow"), f"{self._labels[key]}: {reason}"))

    def elsewhere(self, key: str) -> None:
        """A run has been found under way in another process."""
        self._running.pop(key)
        self._ended.add(key)
        self._console.print(Text.assemble(("elsewhere ", "yellow"), f"{self._labels[key]}: another process is at it"))

    def ended(self, key: str, record: Record | None, message: str = "") -> None:
        """A run has ended, with this record or, if it left none, for this reason."""
        started, _ = self._running.pop(key)
        self._ended.add(key)
        self._done_before.pop(key, None)
        label, took = self._labels[key], duration(time.monotonic() - started)
        if record is not None and record.status == "finished":
            scores = f"test top-1 {percent(record.top1)}, validation {percent(record.validation_top1)}"
            self._console.print(Text.assemble(("finished ", "green"), f"{label}: {scores}, {took}"))
        elif record is not None and record.status == "stopped":
            scores = f"after epoch {record.epochs}, validation top-1 {percent(record.validation_top1)}"
            self._console.print(Text.assemble(("stopped ", "yellow"), f"{label}: {scores}, {took}"))
        else:
            reason = message if record is None else record.error
            self._console.print(Text.assemble(("failed ", "red"), f"{label}: {reason}, after {took}"))

    def _seconds_left(self, key: str) -> float | None:
        """Of one run, at the speed it has had."""
        started, progress = self._running[key]
        if progress is None:
            return None
        gained = progress.epochs_done - self._done_before[key]
        if gained <= 0:
            return None
        until = self._points[key].config.stop_epoch or progress.epochs
        return (time.monotonic() - started) * max(0.0, until - progress.epochs_done) / gained

    def _sweep_seconds_left(self) -> float | None:
        """Of all runs, at the rate of multiply-accumulates since the start."""
        total = sum(point.work for point in self._points.values())
        gained = sum(self._points[key].work for key in self._ended)
        at_hand = gained
        for key, (_, progress) in self._running.items():
            if progress is not None:
                share = self._points[key].work / progress.epochs
                gained += int(share * (progress.epochs_done - self._done_before[key]))
                at_hand += int(share * progress.epochs_done)
        return (time.monotonic() - self._began) * (total - at_hand) / gained if gained else None

    def _render(self) -> Group:
        waiting = len(self._points) - len(self._ended) - len(self._running)
        to_come = "" if self._open_ended else f"{waiting} to come, "
        left = "" if self._open_ended else f", {duration(self._sweep_seconds_left())} left"
        head = (
            f"{len(self._ended)} done, {len(self._running)} running, {to_come}"
            f"{duration(time.monotonic() - self._began)} so far{left}"
        )
        table = Table(box=None, pad_edge=False)
        for name in ("run", "", "epoch", "loss", "validation", "images/s", "left"):
            table.add_column(name, justify="left" if name in ("run", "") else "right")
        for key, (_, progress) in self._running.items():
            label = self._labels[key]
            if progress is None:
                table.add_row(label, ProgressBar(total=1, completed=0, width=20), "starting")
                continue
            table.add_row(
                label,
                ProgressBar(total=progress.epochs, completed=progress.epochs_done, width=20),
                f"{progress.epochs_done:.1f}/{progress.epochs}",
                f"{progress.loss:.4f}",
                percent(progress.curve[-1].validation_top1 if progress.curve else None),
                f"{progress.images_per_second:,.0f}",
                duration(self._seconds_left(key)),
            )
        return Group(Text(head, style="bold"), table)


def print_summary(store: Store, points: Sequence[Point]) -> bool:
    """Print a table of the points' results, and one of failures if there are any; whether none has failed."""
    out = console()
    table = Table(title=f"results in {store.root}/")
    compressed = any(point.config.is_compressed for point in points)
    table.add_column("point")
    for name in ("MiB", *(["file, bytes"] * compressed), "MMACs", "validation top-1", "test top-1", "training"):
        table.add_column(name, justify="right")
    warnings: list[str] = []
    failures: list[tuple[str, str, str]] = []
    names = labels(points)
    for point in points:
        record = store.read(point.key)
        stopped = _stopped_as_asked(point, record)
        if record is not None and (record.status == "finished" or stopped):
            table.add_row(
                names[point.key],
                f"{point.cost.size_mib:.3f}",
                *(["-" if record.file_bytes is None else f"{record.file_bytes:,}"] * compressed),
                f"{point.cost.macs / 1e6:,.1f}",
                percent(record.validation_top1),
                f"stopped after epoch {record.epochs}" if stopped else percent(record.top1),
                duration(record.train_seconds),
            )
            if record.warning is not None:
                warnings.append(f"{names[point.key]}: {record.warning}")
        else:
            reason = why_unfinished(store, point.key)
            start = point.config.uncompressed.key
            if record is None and start != point.key and not (store.is_done(start) or store.is_busy(point.key)):
                reason = f"run {start}, whose network it compresses, did not finish"
            failures.append((names[point.key], point.key, reason))
    out.print(table)
    for warning in warnings:
        out.print(Text.assemble(("warning ", "yellow"), warning))
    print_failures(failures)
    return not failures


def why_unfinished(store: Store, key: str) -> str:
    """Why the run has not finished, as far as the store tells."""
    if store.is_busy(key):
        return "under way in another process"
    record = store.read(key)
    if record is None:
        return "ended without a record"
    return record.error or f"left off after epoch {record.epochs}"


def damage_lines(damaged: Sequence[Damage]) -> list[str]:
    """A line for each of the first files that cannot be read, and one that counts the others."""
    more = len(damaged) - MOST_DAMAGED
    lines = [f"damaged: {each}" for each in damaged[:MOST_DAMAGED]]
    return [*lines, f"damaged: {more:,} more files cannot be read"] if more > 0 else lines


def print_failures(failures: Sequence[tuple[str, str, str]]) -> None:
    """Print a table of failures, each with its point, key and reason; nothing if there are none."""
    table = Table(title="failures", title_style="bold red")
    for name in ("point", "key", "reason"):
        table.add_column(name, overflow="fold")
    for failure in failures:
        table.add_row(*failure)
    if failures:
        console().print(table)


def _stopped_as_asked(point: Point, record: Record | None) -> bool:
    """Whether the run was to be left off before its end, and has come that far."""
    return record is not None and record.status == "stopped" and 0 < point.config.stop_epoch <= (record.epochs or 0)


def percent(value: float | None) -> str:
    """A fraction of 1 as a percentage; a dash where there is none."""
    return "-" if value is None else f"{100 * value:.2f} %"


def duration(seconds: float | None) -> str:
    """Seconds as 4:05 or 1:02:03; a dash where there is none."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
