"""An index of a store: a copy of the rows of its records in one file, since 100,000 files take seconds to read.

It is a cache: rows are taken from it only while their records are unchanged, and it can be deleted at any time.
"""

import hashlib
import io
import json
from array import array
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fire.files import locked, read, write
from sweep.store import Stamp

NAME, LOCK = ".index", ".index.lock"
SETTLED = 10**9  # ns: a file may change twice within one tick of its file system's clock
PACKAGES = ("fire", "sweep", "analysis")


class Table:
    """Rows of a table. Each column holds its distinct values, and for each row the place of its value; -1: none."""

    def __init__(self) -> None:
        self.size = 0
        self.values: dict[str, list[Any]] = {}
        self.places: dict[str, array[int]] = {}
        self._known: dict[str, dict[Any, int]] = {}  # the place of each value that was added

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Add rows, in any order. Each may lack columns that others have."""
        alike: dict[tuple[str, ...], list[Iterable[Any]]] = {}
        for row in rows:
            alike.setdefault(tuple(row), []).append(row.values())
        for names, values in alike.items():
            self._add(dict(zip(names, zip(*values, strict=True), strict=True)), len(values))

    def _add(self, columns: Mapping[str, Sequence[Any]], count: int) -> None:
        for name in dict.fromkeys([*self.values, *columns]):
            values = self.values.setdefault(name, [])
            places = self.places.setdefault(name, array("i", [-1]) * self.size)
            known = self._known.setdefault(name, {})
            column = columns.get(name)
            if column is None:
                places.extend(array("i", [-1]) * count)
                continue
            for value in dict.fromkeys(column):
                if value not in known:
                    known[value] = len(values)
                    values.append(value)
            places.extend(map(known.__getitem__, column))
        self.size += count

    def column(self, name: str) -> list[Any]:
        """The values of a column in which no row lacks one."""
        return [self.values[name][place] for place in self.places.get(name, ())]

    def frame(self, by: str, order: Sequence[str]) -> pd.DataFrame:
        """The table sorted by a column, its columns in this order, with the types that pandas finds for the values."""
        rows = np.argsort(np.array(self.column(by)), kind="stable")
        columns = {}
        for name in sorted(self.values, key=order.index):
            values, places = self.values[name], np.asarray(self.places[name])[rows]
            used = np.bincount(places[places >= 0], minlength=len(values)) > 0
            if not used.all():  # what records said before they changed must not decide the column's type
                values = [value for value, is_used in zip(values, used, strict=True) if is_used]
                places = np.where(places < 0, -1, np.cumsum(used)[places] - 1)
            if values:
                columns[name] = pd.api.extensions.take(pd.Series(values).values, places, allow_fill=True)
        return pd.DataFrame(columns)


def load(folder: Path, stamps: Mapping[str, Stamp]) -> Table:
    """The rows in the folder's index whose records still have these stamps; none if there is no whole index."""
    table = Table()
    try:
        content = read(folder / NAME)
    except OSError:
        return table
    payload = content[64:]
    if content[:64] != _digest(payload):
        return table
    with np.load(io.BytesIO(payload)) as arrays:
        table.values = {
            name: arrays[f"values_{number}"].tolist() if values is None else values
            for number, (name, values) in enumerate(json.loads(arrays["values"].tobytes()).items())
        }
        places = [arrays[f"places_{number}"] for number in range(len(table.values))]
        indexed = map(tuple, arrays["stamps"].tolist())
    keys = [table.values["key"][place] for place in places[list(table.values).index("key")]]
    is_valid = [stamps.get(key) == stamp for key, stamp in zip(keys, indexed, strict=True)]
    valid = np.flatnonzero(is_valid)
    for name, each in zip(table.values, places, strict=True):
        table.places[name] = array("i", each[valid].astype(np.intc).tobytes())
    table.size = len(valid)
    return table


def save(folder: Path, table: Table, stamps: Mapping[str, Stamp], begun: int) -> None:
    """Write the index; nothing if the folder cannot be written, or another process does so at the moment.

    begun: when the stamps were taken, in ns since 1970.
    """
    found = np.array([stamps[key] for key in table.column("key")], dtype=np.int64)
    found[found[:, 0] > begun - SETTLED] = -1
    arrays: dict[str, Any] = {
        f"places_{number}": np.asarray(table.places[name], dtype=np.min_scalar_type(-len(values) - 1))
        for number, (name, values) in enumerate(table.values.items())
    }
    texts: dict[str, list[Any] | None] = dict(table.values)
    for number, (name, values) in enumerate(table.values.items()):
        if all(type(value) is float for value in values):  # as JSON they take six times as long to read
            texts[name] = None
            arrays[f"values_{number}"] = np.array(values, dtype=np.float64)
    payload = io.BytesIO()
    text = np.frombuffer(json.dumps(texts).encode(), dtype=np.uint8)
    np.savez(payload, stamps=found, values=text, **arrays)
    with suppress(OSError), locked(folder / LOCK, patience=0) as alone:
        if alone:
            for leftover in folder.glob(f".{NAME}.*.tmp"):  # of a process that was killed
                leftover.unlink()
            write(folder / NAME, _digest(payload.getvalue()) + payload.getvalue())


def _digest(payload: bytes) -> bytes:
    """A digest of the content and of our sources, since another version may make other rows of the same records."""
    digest = hashlib.sha256(payload)
    root = Path(__file__).parents[1]
    for path in sorted(path for package in PACKAGES for path in (root / package).rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest().encode()
