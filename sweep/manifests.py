"""Manifests of launched sweeps, in memory and as JSON. Standard library only."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from sweep import typed

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """What decides the bits of runs besides their configurations: what `auto` means, and the threads of a run."""

    precision: str
    kernels: str
    threads: int


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The manifest of a launched sweep: what was asked for, and for each point its overrides and its run's key.

    Manifests of earlier versions have only name, varied, points and search.
    """

    name: str  # that of the manifest's file
    varied: tuple[str, ...]  # keys of the overrides with several values
    points: tuple[tuple[dict[str, str], str], ...]
    search: dict[str, Any] | None = None  # of a search: its objectives and constraints; its points are those tried
    experiment: str | None = None
    overrides: tuple[str, ...] = ()  # of the command line, as typed, without those that only say where and how to run
    launched: str | None = None  # ISO 8601, UTC: when this command was last run
    arithmetic: Arithmetic | None = None  # of all its runs, as its first launch chose; None: each chose for itself

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of its runs, in the order of the points."""
        return tuple(key for _, key in self.points)


def dump(sweep: Sweep) -> str:
    """The manifest as JSON, without what earlier versions had not, where that is None."""
    points = [{"overrides": overrides, "key": key} for overrides, key in sweep.points]
    content = {"format": FORMAT, "name": sweep.name, "varied": list(sweep.varied), "points": points}
    content |= {} if sweep.search is None else {"search": sweep.search}
    content |= {"experiment": sweep.experiment, "overrides": list(sweep.overrides), "launched": sweep.launched}
    content |= {} if sweep.arithmetic is None else {"arithmetic": dataclasses.asdict(sweep.arithmetic)}
    return json.dumps(content, indent=1) + "\n"


def parse(content: bytes, name: str) -> Sweep:
    """The manifest that `dump` wrote. Raises ValueError unless it has this name, and the types of Sweep's fields."""
    manifest = typed.build(_Manifest, typed.parse(content))
    if (manifest.name, manifest.format) != (name, FORMAT):  # reports make files of the name
        raise ValueError(f"name and format must be {name} and {FORMAT}, got {manifest.name} and {manifest.format}")
    points = [typed.build(_Point, point) for point in manifest.points]
    return Sweep(
        name=name,
        varied=tuple(manifest.varied),
        points=tuple((point.overrides, point.key) for point in points),
        search=manifest.search,
        experiment=manifest.experiment,
        overrides=tuple(manifest.overrides),
        launched=manifest.launched,
        arithmetic=None if manifest.arithmetic is None else typed.build(Arithmetic, manifest.arithmetic),
    )


@dataclass(frozen=True, kw_only=True)
class _Manifest:
    """A sweep as its file has it."""

    name: str
    varied: list[str]
    points: list[dict[str, Any]]
    search: dict[str, list[str]] | None = None
    experiment: str | None = None
    overrides: list[str] = field(default_factory=list)
    launched: str | None = None
    arithmetic: dict[str, Any] | None = None
    format: int = FORMAT


@dataclass(frozen=True, kw_only=True)
class _Point:
    overrides: dict[str, str]
    key: str
