"""What a store holds at the moment, for a page: read again only where it changed. It writes nothing.

Stores may be merged, so their files are not trusted: nothing outside of the store's folder is read, and long texts are
cut.
"""

import os
import secrets
import threading
import time
from collections.abc import Callable, Container, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import yaml

from fire.cost import KIB, MIB
from fire.errors import InputError
from fire.files import read
from fire.train.progress import Epoch
from sweep.labels import short_names
from sweep.manifests import Sweep
from sweep.map import stored
from sweep.map.stored import Map
from sweep.page.news import Detail, Launched, Mapped, News, Running
from sweep.record import Record
from sweep.rows import row_of
from sweep.store import Damage, OnDamage, Stamp, Store

LONGEST_TEXT = 2000  # characters of a text that the page shows
LONGEST_LOG = 20_000  # bytes, the last ones
LONGEST_YAML = 2**14  # bytes; ours have a tenth of it

T = TypeVar("T")


class Snapshot:
    """The runs below a folder as they were at the last `refresh`. Several threads may ask."""

    def __init__(self, root: Path | str) -> None:
        self.store = Store(root)
        self._lock = threading.RLock()
        self._instance = secrets.token_hex(4)  # stamps of another process mean nothing here
        self._version = 0
        self._more = False
        self._looked = float("-inf")  # when the records of finished runs were last looked at
        self._stamps: dict[str, Stamp] = {}
        self._rows: dict[str, tuple[int, dict[str, Any]]] = {}  # with the version in which they changed
        self._removed: dict[str, int] = {}
        self._unreadable: dict[str, Damage] = {}
        self._manifests: dict[str, tuple[Stamp, Sweep]] = {}
        self._maps: dict[str, tuple[Stamp, Map]] = {}
        self._running: list[Running] = []

    def refresh(self, most_seconds: float = float("inf"), *, patience: float = 0.0) -> None:
        """Read what changed; when `most_seconds` are over, the rest is left to the next call.

        patience: seconds in which it is not looked again whether the records of finished runs changed, as they seldom
        do: of 10,000 that takes a tenth of a second.
        """
        with self._lock:
            known: dict[str, Stamp] = {}
            if time.monotonic() < self._looked + patience:
                known = {key: stamp for key, stamp in self._stamps.items() if self._is_finished(key)}
            else:
                self._looked = time.monotonic()
            found = known | self.store.stamps(known)
            end = time.monotonic() + most_seconds
            self._version += 1
            for key in self._stamps.keys() - found.keys():
                del self._stamps[key]
                self._forget(key)
            changed = [key for key, stamp in found.items() if self._stamps.get(key) != stamp]
            self._more = False
            for key in changed:
                if time.monotonic() > end:
                    self._more = True
                    break
                self._stamps[key] = found[key]
                self._read(key)
            self._manifests = self._read_named("sweeps", self._manifests, self.store.read_sweep)
            self._maps = self._read_named("maps", self._maps, partial(stored.read, self.store.root))
            self._running = list(self._under_way(found))

    def news(self, since: str = "") -> News:
        """What changed since the stamp of earlier news."""
        with self._lock:
            instance, _, number = since.partition(".")
            known = instance == self._instance and number.isdecimal() and len(number) < 20
            after = int(number) if known else 0
            changed = [row for version, row in self._rows.values() if version > after]
            columns = list(dict.fromkeys(name for row in changed for name in row))
            return News(
                stamp=f"{self._instance}.{self._version}",
                fresh=not known,
                more=self._more,
                columns=columns,
                rows=[[row.get(name) for name in columns] for row in changed],
                removed=[key for key, version in self._removed.items() if version > after] if known else [],
                running=self._running,
                sweeps=[self._launched(sweep) for _, sweep in self._manifests.values()],
                maps=[_mapped(made) for _, made in self._maps.values()],
                unreadable=[
                    (_cut(os.path.relpath(each.path, self.store.root)), _cut(each.reason))
                    for each in self._unreadable.values()
                ],
            )

    def record(self, key: str) -> Record | None:
        """The record of a run that the page shows."""
        return self.store.read(key) if key in self._rows and self._is_inside(key, "record.json") else None

    def detail(self, key: str) -> Detail | None:
        """More about a run that the page shows; None for any other text."""
        with self._lock:
            _, row = self._rows.get(key, (0, {}))
            shown = bool(row) or any(each.key == key for each in self._running)
        if not shown:
            return None
        record = self.record(key) if row.get("status") == "failed" else None  # others have no traceback
        return Detail(
            curve=self._curve(key),
            traceback=None if record is None or record.traceback is None else _cut(record.traceback, LONGEST_LOG),
            log=self._log(key),
        )

    def _read(self, key: str) -> None:
        """Take over the record of the run, or what is wrong with it."""
        path = self.store.folder(key) / "record.json"
        damage: list[Damage] = []
        self._forget(key)
        if not self._is_inside(key, "record.json"):
            damage.append(Damage(path=path, reason="it lies outside of the results"))
        elif (record := self.store.read(key, damage.append)) is not None:
            try:
                self._rows[key] = self._version, _shown(record)
                self._removed.pop(key, None)
            except InputError as error:
                damage.append(Damage(path=path, reason=str(error)))
        if damage:
            self._unreadable[key] = damage[0]

    def _forget(self, key: str) -> None:
        self._unreadable.pop(key, None)
        if self._rows.pop(key, None) is not None:
            self._removed[key] = self._version

    def _read_named(
        self, folder: str, known: dict[str, tuple[Stamp, T]], read: Callable[[str, OnDamage], T | None]
    ) -> dict[str, tuple[Stamp, T]]:
        """What the JSON files of a folder hold, by their names; those that did not change are not read again."""
        found: dict[str, tuple[Stamp, T]] = {}
        for name in [name for name in self._unreadable if name.startswith(f"{folder}/")]:
            del self._unreadable[name]
        for path in sorted((self.store.root / folder).glob("*.json")):
            if not self._is_inside(folder, path.name):
                continue
            try:
                status = path.stat()
            except OSError:
                continue
            stamp = (status.st_ctime_ns, status.st_size, status.st_ino)
            before = known.get(path.stem)
            damage: list[Damage] = []
            content = before[1] if before and before[0] == stamp else read(path.stem, damage.append)
            if content is not None:
                found[path.stem] = stamp, content
            elif damage:
                self._unreadable[f"{folder}/{path.name}"] = damage[0]
        return found

    def _launched(self, sweep: Sweep) -> Launched:
        statuses = [self._rows[key][1]["status"] for key in sweep.keys if key in self._rows]
        finished, failed = statuses.count("finished"), statuses.count("failed")
        stopped = 0 if sweep.search is None else statuses.count("stopped")  # other sweeps train these to the end
        return Launched(name=_cut(sweep.name), runs=len(sweep.keys), finished=finished, stopped=stopped, failed=failed)

    def _under_way(self, records: Container[str]) -> Iterable[Running]:
        """The runs that a process trains, and those that were begun and left neither a record nor a process."""
        names = self._names()
        for key in self._folders():
            if self._is_finished(key) or (key in records and key not in self._rows):  # not read yet, or unreadable
                continue
            if not self._is_file(key, "config.yaml"):
                continue
            holder = self.store.holder(key) if self._is_file(key, ".lock") else None
            if key not in self._rows or holder is not None:
                yield self._progress(key, names.get(key, key), holder)

    def _is_finished(self, key: str) -> bool:
        return key in self._rows and self._rows[key][1]["status"] == "finished"

    def _progress(self, key: str, name: str, holder: str | None) -> Running:
        curve, epochs = self._curve(key), self._epochs(key)
        left = None
        if curve and epochs is not None and holder is not None:
            with suppress(OSError):  # the curve may vanish at any moment
                since = max(0.0, time.time() - (self.store.folder(key) / "curve.csv").stat().st_mtime)
                left = max(0.0, curve[-1].seconds / len(curve) * (epochs - len(curve)) - since)
        return Running(
            key=key,
            name=_cut(name),
            holder=None if holder is None else _cut(holder),
            epoch=len(curve),
            epochs=epochs,
            validation_top1=curve[-1].validation_top1 if curve else None,
            seconds_left=left,
        )

    def _names(self) -> dict[str, str]:
        """Short names of the runs of sweeps, made of what varies in them."""
        names: dict[str, str] = {}
        for _, sweep in self._manifests.values():
            points = {key: overrides for overrides, key in sweep.points if not self._is_finished(key)}
            names |= dict(zip(points, short_names(list(points.values())), strict=True))
        return {key: name for key, name in names.items() if name}

    def _folders(self) -> list[str]:
        with suppress(FileNotFoundError):
            return sorted(name for name in os.listdir(self.store.root) if not name.startswith("."))
        return []

    def _epochs(self, key: str) -> int | None:
        """The epochs of the whole recipe; None for a compressed network, whose stages have epochs of their own."""
        try:
            content = yaml.safe_load(read(self.store.folder(key) / "config.yaml", LONGEST_YAML))
            epochs = None if content.get("compress") else content["train"]["epochs"]
        except (OSError, ValueError, yaml.YAMLError, AttributeError, KeyError, TypeError, RecursionError):
            return None
        return epochs if type(epochs) is int and 0 < epochs < 2**31 else None

    def _curve(self, key: str) -> tuple[Epoch, ...]:
        return self.store.curve(key) if self._is_inside(key, "curve.csv") else ()

    def _log(self, key: str) -> str:
        if not self._is_file(key, "log"):
            return ""
        try:
            with open(self.store.folder(key) / "log", "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - LONGEST_LOG))
                return file.read(LONGEST_LOG).decode(errors="replace")
        except OSError as error:
            return f"it cannot be read: {error.strerror}"

    def _is_inside(self, *names: str) -> bool:
        """Whether the path has no link that leads out of the store."""
        root = str(self.store.root)
        paths = [os.path.join(root, *names[: i + 1]) for i in range(len(names))]  # noqa: PTH118 (Paths are slow)
        if not any(map(os.path.islink, paths)):
            return True
        return os.path.realpath(paths[-1]).startswith(f"{os.path.realpath(root)}{os.sep}")

    def _is_file(self, *names: str) -> bool:
        """Whether it is a regular file of the store: a pipe would block."""
        # Path.is_file raises an error in a folder that may not be entered.
        return self._is_inside(*names) and os.path.isfile(self.store.root.joinpath(*names))  # noqa: PTH113


def _shown(record: Record) -> dict[str, Any]:
    """The run's row without what it lacks. Raises InputError as row_of does."""
    values = row_of(record) | {"traceback": None}
    values["size_mib"] = values["size_bytes"] / MIB
    return {name: _cut(value) for name, value in values.items() if value is not None}


def _mapped(made: Map) -> Mapped:
    """The map as the page shows it."""
    return Mapped(
        name=_cut(made.name),
        note=f"The networks of the highest expected validation accuracy, of {made.points:,} within the bounds, by a "
        f"map fitted to {made.fitted}.",
        columns=[*made.axes, "expected top-1 %", "90 % band", "MMACs", "peak RAM, KiB", "trained before"],
        rows=[
            [
                *(
                    _cut(f"{value:g}" if isinstance(value, float) else str(value))
                    for value in (network.settings[name] for name in made.axes)
                ),
                f"{100 * network.top1:.2f}",
                f"{100 * network.low:.2f} to {100 * network.high:.2f}",
                f"{network.macs / 1e6:.1f}",
                f"{network.peak_ram_bytes / KIB:,.1f}",
                "yes" if network.trained else "no",
            ]
            for network in made.best
        ],
    )


def _cut(value: Any, most: int = LONGEST_TEXT) -> Any:
    """The value; of a long text its beginning, and how long it is."""
    if isinstance(value, str) and len(value) > most:
        return f"{value[:most]}… ({len(value):,} characters)"
    return value
