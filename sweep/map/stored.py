"""A map in memory, and as JSON beside the runs: results/maps/NAME.json. Standard library only."""

import dataclasses
import json
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fire.arch import SqueezeNetSpec
from fire.errors import require
from fire.fields import settings_of
from fire.files import write as write_file
from sweep import typed
from sweep.store import OnDamage, ignore, load

FORMAT = 1
FOLDER = "maps"


@dataclass(frozen=True, kw_only=True)
class Network:
    """A network of the space: its settings along the map's axes, its expected accuracy with the band, and its costs.

    key: of its run with seed 0. trained: whether a run of it had finished when the map was made.
    """

    key: str
    settings: dict[str, int | float | str | bool]
    top1: float
    low: float
    high: float
    trained: bool
    parameters: int
    macs: int
    peak_ram_bytes: int
    flash_bytes: int


@dataclass(frozen=True, kw_only=True)
class Plane:
    """Networks over two axes, the other settings as those of the map's `typical` network.

    Each table has a row for each value of y, and in it a number for each value of x; None where there is no network.
    """

    x: str
    y: str
    top1: list[list[float | None]]
    low: list[list[float | None]]
    high: list[list[float | None]]
    macs: list[list[int | None]]
    peak_ram_bytes: list[list[int | None]]


@dataclass(frozen=True, kw_only=True)
class Map:
    """The expected validation accuracy of all networks of a space, from finished runs of one data set and one recipe.

    Accuracies are fractions of 1. Bands hold 90 % of the runs, if held-out networks confirm it: coverage is the part of
    `held_out` networks that lay within the band of a map fitted to the others, tau is Kendall's of their order.
    finished: runs that it could be fitted to; None: made by an earlier version, which counted those in `keys` alone.
    """

    name: str
    data: dict[str, Any]  # settings that are not the defaults, as in a run's identity
    train: dict[str, Any]  # likewise
    keys: list[str]  # of the runs that it was fitted to
    axes: dict[str, list[int | float | str | bool]]  # of the points
    fixed: dict[str, int | float | str | bool]  # metaparameters of which the runs have one value alone
    typical: dict[str, int | float | str | bool]  # the settings of a trained network that is most like the others
    at_most: dict[str, float]  # the bounds on the networks below
    points: int  # of the space, within the bounds
    width: float  # of the band, the mean over these points
    coverage: float | None
    tau: float | None
    held_out: int
    planes: list[Plane]
    best: list[Network]  # the highest expected accuracy first
    next: list[Network]  # not trained; their runs would narrow the band most
    finished: int | None = None
    format: int = FORMAT

    @property
    def fitted(self) -> str:
        """How many runs it was fitted to, "25 runs", of how many, if some were left out: "300 of 412 runs"."""
        count = len(self.keys)
        return f"{count} of {self.finished} runs" if (self.finished or 0) > count else f"{count} runs"


def dump(made: Map) -> str:
    """The map as JSON."""
    return json.dumps(dataclasses.asdict(made), allow_nan=False, separators=(",", ":")) + "\n"


def parse(content: bytes, name: str) -> Map:
    """The map that `dump` wrote. Raises ValueError unless it has this name and is whole."""
    values = typed.parse(content)
    if type(values) is dict:
        for field, cls in (("planes", Plane), ("best", Network), ("next", Network)):
            if type(values.get(field)) is list:  # Map's types refuse all else
                values[field] = [typed.build(cls, each) for each in values[field]]
    made = typed.build(Map, values)
    if (made.name, made.format) != (name, FORMAT):
        raise ValueError(f"name and format must be {name} and {FORMAT}, got {made.name} and {made.format}")
    known = settings_of(SqueezeNetSpec)
    for settings in (made.axes, made.fixed, made.typical):
        _names(settings, [name for name in settings if name in known])
    require(set(made.typical) == set(made.axes), "typical", "settings along the axes", sorted(made.typical))
    for values in made.axes.values():
        require(len(values) > 1, "an axis", "several values", values)
    for network in (*made.best, *made.next):
        _names(network.settings, made.axes)
        _check_band([network.top1], [network.low], [network.high])
    for plane in made.planes:
        _check_plane(plane, made.axes)
    return made


def read(root: Path | str, name: str, on_damage: OnDamage = ignore) -> Map | None:
    """The map of that name; None if there is none, or none that can be read."""
    return load(Path(root) / FOLDER / f"{name}.json", lambda content: parse(content, name), on_damage)


def read_all(root: Path | str, on_damage: OnDamage = ignore) -> Iterator[Map]:
    """All readable maps of a store, sorted by name."""
    for path in sorted((Path(root) / FOLDER).glob("*.json")):
        made = read(root, path.stem, on_damage)
        if made is not None:
            yield made


def write(root: Path | str, made: Map) -> Path:
    """Write the map; it replaces the one of the same name. Returns its path."""
    path = Path(root) / FOLDER / f"{made.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, dump(made))
    return path


def _names(settings: Mapping[str, Any], names: Sequence[str] | Mapping[str, Any]) -> None:
    """Raise ValueError unless the settings have these names, and texts that can be shown."""
    require(set(settings) == set(names), "settings", "those of the axes", reprlib.repr(sorted(settings)))
    for value in settings.values():
        for each in value if isinstance(value, list) else [value]:
            require(not isinstance(each, str) or each.isprintable(), "a setting", "printable", each)


def _check_band(top1: Sequence[Any], low: Sequence[Any], high: Sequence[Any]) -> None:
    for found in zip(top1, low, high, strict=True):
        known = [value for value in found if value is not None]
        middle, least, most = found if len(known) == 3 else (0.0, 0.0, 0.0)
        whole = len(known) in (0, 3) and 0 <= least <= middle <= most <= 1
        require(whole, "a band", "low <= top1 <= high in [0, 1]", found)


def _check_plane(plane: Plane, axes: Mapping[str, Sequence[Any]]) -> None:
    known = plane.x in axes and plane.y in axes and plane.x != plane.y
    require(known, "a plane", "of two axes", (plane.x, plane.y))
    tables = (plane.top1, plane.low, plane.high, plane.macs, plane.peak_ram_bytes)
    shape = [len(axes[plane.x])] * len(axes[plane.y])
    for table in tables:
        require([len(row) for row in table] == shape, "a plane", f"{len(shape)} rows of {shape[0]}", len(table))
    for rows in zip(plane.top1, plane.low, plane.high, strict=True):
        _check_band(*rows)
    for row in (*plane.macs, *plane.peak_ram_bytes):
        require(all(value is None or value > 0 for value in row), "a cost", "above 0", reprlib.repr(row))
