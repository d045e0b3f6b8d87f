"""The runs of a store that are points of a space, whichever sweep launched them."""

from collections.abc import Iterator, Mapping

from fire.errors import InputError
from sweep.manifests import Sweep
from sweep.record import Record
from sweep.search.latencies import Latencies
from sweep.search.searcher import Trial
from sweep.search.space import Space
from sweep.store import OnDamage, Store, ignore


def records(store: Store, space: Space, on_damage: OnDamage = ignore) -> dict[int, Record]:
    """The records of the space's points."""
    found = {}
    for record in store.records(on_damage):
        index = None if record.config is None else space.index_of(record.config)
        if index is not None:
            found[index] = record
    return found


def trials(
    store: Store,
    space: Space,
    records: Mapping[int, Record],
    former: Sweep | None = None,
    latencies: Latencies | None = None,
    on_damage: OnDamage = ignore,
) -> dict[int, Trial]:
    """The trials of these records, and those that an earlier launch of the search began and that left no record.

    former: the manifest of the earlier launch.
    """
    found = {index: trial_of(store, record.key, record, latencies, on_damage) for index, record in records.items()}
    for index, key in _named(space, former):
        if store.read(key) is None:
            found[index] = trial_of(store, key, None, on_damage=on_damage)
    return found


def trial_of(
    store: Store,
    key: str,
    record: Record | None,
    latencies: Latencies | None = None,
    on_damage: OnDamage = ignore,
) -> Trial:
    """The trial of a run, from its curve and its record; a killed run has none. latencies: which can be compared."""
    curve = store.validation_curve(key, on_damage)
    if record is None:
        return Trial(status="killed", curve=curve)
    return Trial(
        status=record.status,
        curve=curve,
        epochs=record.epochs or 0,
        top1=record.validation_top1 if record.status == "finished" else None,
        latency_seconds=None if latencies is None else latencies.of(record),
        end=record.end or "",
    )


def _named(space: Space, manifest: Sweep | None) -> Iterator[tuple[int, str]]:
    """The points, with their runs' keys, that the manifest of a search names."""
    for overrides, key in () if manifest is None or manifest.search is None else manifest.points:
        try:
            point = space.planned({axis.key: overrides[axis.key] for axis in space.axes if axis.key in overrides})
        except InputError:
            continue
        index = space.index_of(point.config)
        if index is not None and point.key == key:
            yield index, key
