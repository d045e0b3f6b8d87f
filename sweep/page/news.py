"""What a page gets of a store, as plain values. Standard library only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fire.train.progress import Epoch


@dataclass(frozen=True, kw_only=True)
class Running:
    """A run without a record of its end. seconds_left and epochs are None where they cannot be known."""

    key: str
    name: str
    holder: str | None  # the process that trains it; None: it was interrupted
    epoch: int
    epochs: int | None
    validation_top1: float | None
    seconds_left: float | None


@dataclass(frozen=True, kw_only=True)
class Launched:
    """How far a sweep is. A search stops runs early, and may go on with them."""

    name: str
    runs: int
    finished: int
    stopped: int
    failed: int


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """A map's table of the networks expected best, as texts, and a note on it."""

    name: str
    note: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class News:
    """What changed since a stamp. fresh: everything is here, and what was known before is void; more: ask again."""

    stamp: str
    fresh: bool
    more: bool
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]  # a value a column; None: the run has none
    removed: Sequence[str]  # keys
    running: Sequence[Running]
    sweeps: Sequence[Launched]
    maps: Sequence[Mapped]
    unreadable: Sequence[tuple[str, str]]  # a file and the reason


@dataclass(frozen=True, kw_only=True)
class Detail:
    """More about one run."""

    curve: Sequence[Epoch]
    traceback: str | None
    log: str
