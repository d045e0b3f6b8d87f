"""What a person sees when a sweep has ended: results, warnings, failures, and runs that are under way elsewhere."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rich.table import Table
from rich.text import Text

from sweep.commands.display import console, duration, percent, print_table
from sweep.commands.exits import ELSEWHERE, RunsError
from sweep.config import Options
from sweep.points import Point, labels
from sweep.record import Record
from sweep.store import Store


class Failure(NamedTuple):
    """A run that has not finished: its name for people, its key, and why."""

    name: str
    key: str
    reason: str


def print_summary(points: Sequence[Point], options: Options, reasons: Mapping[str, str] | None = None) -> None:
    """Print the points' results, warnings and failures.

    reasons: why runs of this launch left no record, by their keys. Raises RunsError if runs have failed, or are under
    way elsewhere.
    """
    store = Store(options.results_dir)
    compressed = any(point.config.is_compressed for point in points)
    place = store.folder(points[0].key) if len(points) == 1 else store.root
    table = Table(title=f"results in {place}/")
    table.add_column("point", overflow="fold")
    for name in ("MiB", *(["file, bytes"] * compressed), "MMACs", "validation top-1", "test top-1", "training"):
        table.add_column(name, justify="right")
    warnings: list[str] = []
    failures: list[Failure] = []
    elsewhere: dict[str, str] = {}
    names = labels(points)
    for point in points:
        name, record = names[point.key], store.read(point.key)
        stopped = _stopped_as_asked(options, record)
        if record is not None and (record.status == "finished" or stopped):
            table.add_row(
                name,
                f"{point.cost.size_mib:.3f}",
                *(["-" if record.file_bytes is None else f"{record.file_bytes:,}"] * compressed),
                f"{point.cost.macs / 1e6:,.1f}",
                percent(record.validation_top1),
                f"stopped after epoch {record.epochs}" if stopped else percent(record.top1),
                duration(record.train_seconds),
            )
            if record.warning is not None:
                warnings.append(f"{name}: {record.warning}")
            if record.status == "finished" and not store.is_exported(record, options.export):
                reason = (reasons or {}).get(point.key, "its process ended early")
                failures.append(Failure(name, point.key, f"trained, but not exported: {reason}"))
        elif holder := store.holder(point.key) or store.holder(point.config.uncompressed.key):
            elsewhere[name] = holder
        else:
            failures.append(Failure(name, point.key, _why_unfinished(store, point, reasons or {})))
    if table.rows:
        print_table(table)
    for warning in warnings:
        console().print(Text.assemble(("warning ", "yellow"), warning))
    conclude(failures, elsewhere)


def conclude(failures: Sequence[Failure], elsewhere: Mapping[str, str]) -> None:
    """Print failures, and raise RunsError if there are any, or if runs are under way elsewhere.

    elsewhere: the holders of those runs, by the runs' names.
    """
    runs = "1 run is" if len(elsewhere) == 1 else f"{len(elsewhere)} runs are"
    listed = ", ".join(f"{name} ({holder})" for name, holder in elsewhere.items())
    under_way = f"{runs} under way elsewhere: {listed}"
    if failures:
        if elsewhere:
            console().print(under_way)
        table = Table(title="failures", title_style="bold red")
        table.add_column("point", overflow="fold")
        table.add_column("key")
        table.add_column("reason", overflow="fold")
        for failure in failures:
            table.add_row(*failure)
        print_table(table)
        raise RunsError
    if elsewhere:
        raise RunsError(under_way, ELSEWHERE)


def why_unfinished(store: Store, key: str, reasons: Mapping[str, str]) -> str:
    """Why the run has not finished: as this launch has seen it, else as the store has it."""
    if key in reasons:
        return reasons[key]
    record = store.read(key)
    if record is None:
        return "ended without a record"
    return record.error or f"left off after epoch {record.epochs}"


def _why_unfinished(store: Store, point: Point, reasons: Mapping[str, str]) -> str:
    start = point.config.uncompressed.key
    if start != point.key and store.read(point.key) is None and not store.is_done(start):
        return f"run {start}, whose network it compresses, did not finish"
    return why_unfinished(store, point.key, reasons)


def _stopped_as_asked(options: Options, record: Record | None) -> bool:
    """Whether the run was to be left off before its end, and has come that far."""
    return record is not None and record.status == "stopped" and 0 < options.stop_epoch <= (record.epochs or 0)
