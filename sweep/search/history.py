"""What the store tells of a space: every run that is one of its points, whoever launched it."""

from pathlib import Path

from fire.arch import FAMILIES
from fire.compress.spec import CompressSpec
from fire.errors import InputError
from fire.files import locked
from fire.recipe import DataSpec, TrainSpec
from sweep.config import RunConfig
from sweep.search.searcher import Trial
from sweep.search.space import Space
from sweep.store import Record, Store


def read(store: Store, space: Space, tried: dict[str, dict[str, str]], retry_failed: bool = False) -> dict[int, Trial]:
    """All trials of the space's points.

    tried: the runs that an earlier launch of this search chose, their keys with what they set along the axes; those of
    them without a record were killed. retry_failed: leave failed runs out, as if they had not been tried.
    """
    trials = {}
    for record in store.records():
        config = config_of(record)
        found = None if config is None else space.of_config(config)
        if found is not None and not (retry_failed and record.status == "failed"):
            trials[found[0]] = trial_of(store, record)
    for key, overrides in tried.items():
        index = space.index({axis.key: overrides[axis.key] for axis in space.axes if axis.key in overrides})
        if index is not None and index not in trials and store.read(key) is None:
            trials[index] = Trial(status="killed", curve=store.validation_curve(key))
    return trials


def trial_of(store: Store, record: Record) -> Trial:
    """What the record, and the curve beside it, tell of its point."""
    return Trial(
        status=record.status,
        curve=store.validation_curve(record.key),
        top1=record.validation_top1 if record.status == "finished" else None,
        latency_seconds=record.latency_seconds,
        end=record.end or "",
    )


def config_of(record: Record) -> RunConfig | None:
    """The configuration of a record; None if this version of the program knows no such run."""
    try:
        arch = {name: value for name, value in record.arch.items() if name != "family"}
        return RunConfig(
            arch=FAMILIES[record.arch["family"]](**arch),
            data=DataSpec(**record.data),
            train=TrainSpec(**record.train),
            compress=CompressSpec(**record.compress),
            seed=record.seed,
        )
    except (InputError, KeyError, TypeError):
        return None


def is_busy(folder: Path) -> bool:
    """Whether some process is at the run in this folder."""
    if not (folder / ".lock").exists():
        return False
    with locked(folder / ".lock", wait=False) as held:
        return not held
