"""What the store tells of a space: every run that is one of its points, whoever launched it."""

from collections.abc import Iterator, Mapping

from fire.errors import InputError
from sweep.manifests import Sweep
from sweep.search.latencies import Latencies
from sweep.search.searcher import Trial
from sweep.search.space import Space
from sweep.store import OnDamage, Record, Store, ignore


def records(store: Store, space: Space, on_damage: OnDamage = ignore) -> dict[int, Record]:
    """The records of the space's points."""
    found = {}
    for record in store.records(on_damage):
        place = None if record.config is None else space.of_config(record.config)
        if place is not None:
            found[place[0]] = record
    return found


def trials(
    store: Store,
    space: Space,
    records: Mapping[int, Record],
    before: Sweep | None = None,
    latencies: Latencies | None = None,
    on_damage: OnDamage = ignore,
) -> dict[int, Trial]:
    """What the records tell, and the manifest that an earlier launch of this search left: runs that it names and that
    have no record were killed."""
    found = {index: trial_of(store, record, latencies, on_damage) for index, record in records.items()}
    for index, key in tried(space, before):
        if store.read(key) is None:
            found[index] = Trial(status="killed", curve=store.validation_curve(key, on_damage))
    return found


def tried(space: Space, manifest: Sweep | None) -> Iterator[tuple[int, str]]:
    """The points, with their runs' keys, that the manifest of a search names."""
    for overrides, key in () if manifest is None or manifest.search is None else manifest.points:
        try:
            point = space.planned({axis.key: overrides[axis.key] for axis in space.axes if axis.key in overrides})
        except InputError:
            continue
        place = space.of_config(point.config)
        if place is not None and place[1].key == key:
            yield place[0], key


def trial_of(store: Store, record: Record, latencies: Latencies | None = None, on_damage: OnDamage = ignore) -> Trial:
    """What the record, and the curve beside it, tell of its point. latencies: which ones may be compared."""
    return Trial(
        status=record.status,
        curve=store.validation_curve(record.key, on_damage),
        epochs=record.epochs or 0,
        top1=record.validation_top1 if record.status == "finished" else None,
        latency_seconds=None if latencies is None else latencies.of(record),
        end=record.end or "",
    )
