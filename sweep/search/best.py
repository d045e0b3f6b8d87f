"""The best network of a store that keeps some bounds, and the command line that trains it again."""

import contextlib
import dataclasses
import functools
import json
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import hydra
import numpy as np

from fire.cost import MIB
from fire.errors import InputError
from fire.stats import Interval, mean_interval
from sweep.commands.display import percent
from sweep.compose import CONF, load, presets
from sweep.config import RunConfig
from sweep.search.spec import AtMost
from sweep.store import Record

FOUND = ("root", "fingerprint", "weights_fingerprint")  # where files lie, and digests of their contents


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A network and its recipe, trained to the end with one or more seeds, whose records these are."""

    config: RunConfig
    records: tuple[Record, ...]

    @property
    def data_set(self) -> str:
        """A text that is the same for the same data; images of another size, or fewer of them, are other data."""
        return json.dumps(self.config.identity["data"], sort_keys=True)

    @property
    def seeds(self) -> list[int]:
        """Those of the records."""
        return [record.config.seed for record in self.records if record.config is not None]

    @property
    def validation_top1(self) -> float:
        """The mean over seeds, which networks are chosen by."""
        return float(np.mean([record.validation_top1 for record in self.records]))

    @property
    def test_top1(self) -> Interval:
        """The mean over seeds with its 95 % interval."""
        return mean_interval([np.nan if record.top1 is None else record.top1 for record in self.records])


def candidates(records: Iterable[Record], at_most: AtMost) -> list[Candidate]:
    """The finished networks without compression that keep the bounds, the best on the validation set first."""
    groups: dict[str, list[tuple[RunConfig, Record]]] = {}
    for record in records:
        config = record.config
        if record.status != "finished" or record.validation_top1 is None or record.top1 is None or config is None:
            continue
        if not config.is_compressed and not at_most.broken_by(record):
            groups.setdefault(replace(config, seed=0).key, []).append((config, record))
    found = []
    for group in groups.values():
        group.sort(key=lambda pair: pair[0].seed)
        found.append(Candidate(config=group[0][0], records=tuple(record for _, record in group)))
    return sorted(found, key=lambda candidate: -candidate.validation_top1)


def lines(candidate: Candidate) -> list[str]:
    """The lines that describe the candidate to a person."""
    record = candidate.records[0]
    seeds = ",".join(map(str, candidate.seeds))
    mean, low, high, seeds_run = candidate.test_top1
    size = f"{record.size_bytes:,} bytes, {record.size_bytes / MIB:.3f} MiB, {record.parameters:,} parameters"
    spread = f"{percent(low)} to {percent(high)}, 95 % interval over {seeds_run} seeds"
    try:
        overrides = overrides_of(candidate.config)
        line = ["python -m sweep", *(["-m"] if len(candidate.records) > 1 else []), *map(shlex.quote, overrides)]
        again = f"{' '.join(line)} seed={seeds} results_dir=again"
    except InputError:  # such as weights to start from that were moved
        overrides = [f"{name}={value}" for name, value in candidate.config.identity["arch"].items()]
        again = "no command line of this version leads to it"
    return [
        f"{candidate.config.data.name}: {' '.join(overrides)}",
        f"  size      {size}",
        f"  work      {record.macs:,} MACs an image, {record.activations:,} activations",
        f"  top-1     test {percent(mean)} ({spread if seeds_run > 1 else 'one seed, no interval'}), "
        f"validation {percent(candidate.validation_top1)}, which it was chosen by",
        f"  runs      {' '.join(record.key for record in candidate.records)}",
        f"  again     {again}",
    ]


def overrides_of(config: RunConfig) -> list[str]:
    """The command line of this configuration, without seed: the presets nearest to it, and what differs from them.

    Raises InputError if no command line of this version leads to it.
    """
    folder = (config.data.classes, config.data.fingerprint)
    chosen = [f"data={config.data.name}", *([f"data.root={config.data.root}"] if config.data.root else [])]
    with presets():
        for part, known in _presets(tuple(chosen), folder).items():
            spec = getattr(config, part)
            options = [
                [f"{part}={name}", *_differences(part, preset, spec)]
                for name, preset in known.items()
                if type(preset) is type(spec)
            ]
            chosen += sorted(options, key=len)[0] if options else []
        chosen += _differences(
            "data", _composed(chosen, folder).data, config.data
        )  # last: train=paper sets data.resize
        if _composed([*chosen, f"seed={config.seed}"], folder).key != config.key:
            raise InputError(f"the run must be one that this version can train again, got {config.key}")
    return chosen


@functools.cache
def _presets(data: tuple[str, ...], folder: tuple[int, str]) -> dict[str, dict[str, Any]]:
    """The networks and recipes of conf/ on this data, by part and name, without those that do not go with it."""
    found: dict[str, dict[str, Any]] = {"arch": {}, "train": {}}
    for part, known in found.items():
        for path in sorted((CONF / part).glob("*.yaml")):
            with contextlib.suppress(InputError):
                known[path.stem] = getattr(_composed([*data, f"{part}={path.stem}"], folder), part)
    return found


def _composed(overrides: list[str], folder: tuple[int, str]) -> RunConfig:
    """The run of a command line. folder: the classes and the fingerprint of an image folder."""
    return load(hydra.compose("config", overrides=overrides), describe=lambda root, data_dir: folder)


def _differences(part: str, preset: Any, spec: Any) -> list[str]:
    names = [field.name for field in dataclasses.fields(spec) if field.name not in FOUND]
    pairs = [(name, getattr(spec, name)) for name in names if getattr(spec, name) != getattr(preset, name)]
    return [f"{part}.{name}={_value(value)}" for name, value in pairs]


def _value(value: object) -> str:
    """The value as Hydra's grammar reads it."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    text = str(value)
    return text if re.fullmatch(r"[\w./+-]+", text) else f"'{text}'"
