"""Runs as event files of TensorBoard: their training curves as scalars, their settings as hyperparameters."""

from datetime import datetime
from importlib import util
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.results import Results
from fire.errors import InputError, require
from fire.train.progress import Epoch
from sweep.axes import AXES
from sweep.rows import SETTINGS
from sweep.store import Store

ACCURACIES = ("top1", "top5", "validation_top1", "int8_top1")
OF_A_CURVE = ("train_loss", "validation_loss", "validation_top1", "lr")


def write(results: Results, folder: Path) -> int:
    """Write a folder of event files for each run that has a training curve or has finished; returns how many.

    Raises InputError unless `folder` is new or empty, since TensorBoard would mix former files with these, or without
    the package tensorboard; OSError if it cannot be written.
    """
    installed = util.find_spec("tensorboard") is not None
    require(installed, "the package tensorboard", "installed (pip install tensorboard)", "none")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"--tensorboard must be a new or empty folder, got {str(folder)!r}")
    store, written = Store(results.folder), 0
    for row in results.runs.to_dict("records"):
        curve = store.curve(row["key"])
        if curve or row["status"] == "finished":
            _write(folder / row["key"], row, curve)
            written += 1
    return written


def _write(folder: Path, row: dict[Any, Any], curve: tuple[Epoch, ...]) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import summary_v2
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    start = _seconds(row["start"])
    writer = EventFileWriter(str(folder))
    settings = {name: row[name] for names in SETTINGS.values() for name in names if name in row}
    known = {name: _plain(value) for name, value in settings.items() if not pd.isna(value)}
    made = summary_v2.hparams_pb({**known, "seed": int(row["seed"])}, trial_id=row["key"], start_time_secs=start)
    writer.add_event(Event(wall_time=start, summary=made))
    for epoch in curve:
        values = [Summary.Value(tag=f"curve/{name}", simple_value=getattr(epoch, name)) for name in OF_A_CURVE]
        writer.add_event(Event(wall_time=start + epoch.seconds, step=epoch.epoch, summary=Summary(value=values)))
    last = dict.fromkeys((*ACCURACIES, "parameters", *(axis.column for axis in AXES.values())))
    found = {name: float(row[name]) for name in last if name in row and not pd.isna(row[name])}
    values = [Summary.Value(tag=f"run/{name}", simple_value=value) for name, value in found.items()]
    end = start + (curve[-1].seconds if curve else 0.0)
    writer.add_event(Event(wall_time=end, step=len(curve), summary=Summary(value=values)))
    writer.close()


def _seconds(start: Any) -> float:
    """The time in seconds since 1970; 0 for what is none: records may be edited, and old ones lack it."""
    try:
        return datetime.fromisoformat(start).timestamp()
    except (TypeError, ValueError, OverflowError, OSError):  # the last two: of years that clocks do not reach
        return 0.0


def _plain(value: Any) -> Any:
    """The value as Python's own type, of numbers a float: columns of tables may have types of NumPy."""
    return value if isinstance(value, str | bool) else float(value)
