"""python -m sweep.publish RESULTS PUBLISHED: add the runs and the sweeps of one folder of results to another.

Runs are those that finished, and those that a search stopped early. Weights, ONNX files, links and files of 1 MiB and
more are left out. No run of PUBLISHED is lost: of a run or a sweep that is in both folders, the one that ended or was
launched later stays; if both say the same time, that of RESULTS. A finished run is not replaced by a stopped one, and
one that is under way in PUBLISHED stays. Where a run is replaced by another of its key, the former one's files go.
"""

import sys
from dataclasses import replace
from pathlib import Path

from fire.files import PATIENCE, locked, read, write
from sweep.commands import exits
from sweep.manifests import Sweep
from sweep.record import Record
from sweep.store import COMPRESSED, Damage, Store

FILES = ("config.yaml", "curve.csv", COMPRESSED)  # of a run, beside its record
TOO_LARGE = 2**20  # bytes
ENDED = ("finished", "stopped")


def main() -> None:
    """Run the command."""
    exits.main("sweep.publish", lambda: _main(sys.argv[1:]))


def _main(arguments: list[str]) -> None:
    parser = exits.Parser(prog="python -m sweep.publish", description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("published", type=Path)
    given = parser.parse_args(arguments)
    if not given.results.is_dir():  # as in a fresh clone
        print(f"sweep.publish: there is no folder {given.results}", file=sys.stderr)
    runs, sweeps, unreadable = publish(Store(given.results), Store(given.published))
    for damage in unreadable:
        print(f"sweep.publish: {damage}", file=sys.stderr)
    added = f"{runs:,} run{'s' * (runs != 1)} and {sweeps:,} sweep{'s' * (sweeps != 1)}"
    print(f"{given.published}: {added} of {given.results} added or replaced")


def publish(source: Store, target: Store) -> tuple[int, int, list[Damage]]:
    """Add the source's finished and stopped runs and its sweeps to the target, which keeps all it has.

    Returns the number of runs and of sweeps that are new or replaced, and what of the source cannot be read.
    """
    unreadable: list[Damage] = []
    records = [record for record in source.records(unreadable.append) if record.status in ENDED]
    runs = [record for record in records if _add_run(record, source, target)]
    sweeps = [sweep for sweep in source.sweeps(unreadable.append) if _add_sweep(sweep, target)]
    return len(runs), len(sweeps), unreadable


def _add_run(record: Record, source: Store, target: Store) -> bool:
    if not _replaces(record, target.read(record.key)):  # as most of the time: then no lock is left there
        return False
    with locked(target.folder(record.key) / ".lock", PATIENCE) as held:
        former = target.read(record.key)
        if not held or not _replaces(record, former):  # under way there: the run that ends is to stay
            return False
        _copy_run(record, former, source, target.folder(record.key))
    return True


def _replaces(record: Record, former: Record | None) -> bool:
    if former is None:
        return True
    is_less = former.status == "finished" != record.status
    return former != record and not is_less and (former.end or "") <= (record.end or "")


def _copy_run(record: Record, former: Record | None, source: Store, folder: Path) -> None:
    added = ["record.json"]
    for name in FILES:
        path = source.folder(record.key) / name
        if path.is_file() and not path.is_symlink() and path.stat().st_size < TOO_LARGE:
            write(folder / name, read(path))
            added.append(name)
    # The record comes last: if this process is killed before, the former one stays, and the next call starts over.
    if former is None or replace(former, data_title=record.data_title) != record:
        for path in folder.iterdir():
            if path.name not in (*added, ".lock") and not path.is_dir():
                path.unlink()
    write(folder / "record.json", read(source.folder(record.key) / "record.json"))


def _add_sweep(sweep: Sweep, target: Store) -> bool:
    former = target.read_sweep(sweep.name)
    if former == sweep or (former is not None and (former.launched or "") > (sweep.launched or "")):
        return False
    target.write_sweep(sweep)
    return True


if __name__ == "__main__":
    main()
