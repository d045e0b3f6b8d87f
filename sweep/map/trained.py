"""The networks that a map is fitted to: finished runs of one data set and one recipe, means over seeds."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from fire.arch import SqueezeNetSpec
from fire.errors import InputError, require
from fire.fields import read, settings_of
from sweep.config import RunConfig
from sweep.map.surrogate import COLUMNS, LEAST_NETWORKS, Columns, Floats, thinned
from sweep.record import Record


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """SqueezeNets trained to the end that differ in their metaparameters alone.

    configs: with seed 0, sorted by their keys. top1: validation accuracies, which networks are chosen by, means over
    seeds, of shape (networks,). keys: of all their runs. others: the networks that are too many to be fitted, too.
    left_out: how many runs of these there are.
    """

    configs: tuple[RunConfig, ...]
    top1: Floats
    keys: tuple[str, ...]
    others: tuple[RunConfig, ...] = ()
    left_out: int = 0

    @property
    def varied(self) -> dict[str, list[Any]]:
        """The distinct values of each metaparameter that has several, in their order."""
        return {name: values for name, values in self._values().items() if len(values) > 1}

    @property
    def fixed(self) -> dict[str, Any]:
        """The value of each metaparameter that has one alone: a map says nothing about others."""
        return {name: values[0] for name, values in self._values().items() if len(values) == 1}

    @property
    def typical(self) -> RunConfig:
        """The network that shares most of its settings with the others; the first of several."""
        counts = {name: Counter(vars(config.arch)[name] for config in self.configs) for name in self._values()}
        return max(self.configs, key=lambda config: sum(counts[name][vars(config.arch)[name]] for name in counts))

    def _values(self) -> dict[str, list[Any]]:
        known = settings_of(SqueezeNetSpec)
        found = {name: {vars(config.arch)[name] for config in self.configs} for name in known}
        return {
            name: sorted(values, key=known[name].choices.index if known[name].choices else None)
            for name, values in found.items()
        }


class _Run(NamedTuple):
    config: RunConfig
    key: str
    top1: float
    settings: Mapping[str, Any]


def trained(records: Iterable[Record], words: Sequence[str] = ()) -> Trained:
    """The finished SqueezeNets whose settings are as the words say: data=digits, train.epochs=3, arch.fires=8.

    Of more networks than can be fitted, some. Raises InputError if they are fewer than LEAST_NETWORKS, or not of one
    data set and one recipe.
    """
    finished = [(record.config, record) for record in records if record.status == "finished"]
    runs = [
        _Run(config, record.key, record.validation_top1, settings(config))
        for config, record in finished
        if config is not None
        and isinstance(config.arch, SqueezeNetSpec)
        and not config.is_compressed
        and record.validation_top1 is not None
    ]
    require(bool(runs), "a map", f"of {LEAST_NETWORKS} trained networks or more", 0)
    known = {name for run in runs for name in run.settings}
    for word in words:
        name, equals, text = word.partition("=")
        rule = "a setting of the runs with its value, such as train.epochs=3"
        require(bool(equals) and name in known, "a word", rule, word)
        runs = [run for run in runs if _is(run.settings.get(name), text)]
    _refuse_mixed([run.settings for run in runs])
    networks: dict[str, tuple[RunConfig, list[str], list[float]]] = {}
    for run in runs:
        alike = replace(run.config, seed=0)
        _, keys, accuracies = networks.setdefault(alike.key, (alike, [], []))
        keys.append(run.key)
        accuracies.append(run.top1)
    require(len(networks) >= LEAST_NETWORKS, "a map", f"of {LEAST_NETWORKS} trained networks or more", len(networks))
    of_networks = [networks[key] for key in sorted(networks)]
    places = set(thinned(len(of_networks)).tolist())
    chosen = [network for place, network in enumerate(of_networks) if place in places]
    others = [network for place, network in enumerate(of_networks) if place not in places]
    return Trained(
        configs=tuple(config for config, _, _ in chosen),
        top1=np.array([np.mean(accuracies) for _, _, accuracies in chosen]),
        keys=tuple(sorted(key for _, keys, _ in chosen for key in keys)),
        others=tuple(config for config, _, _ in others),
        left_out=sum(len(keys) for _, keys, _ in others),
    )


def settings(config: RunConfig) -> dict[str, Any]:
    """The settings of network, data and recipe under their names on a command line."""
    parts = {part: read(getattr(config, part)) for part in ("arch", "data", "train")}
    found = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
    return {"data": found.pop("data.name"), **found}


def columns(configs: Sequence[RunConfig], names: Iterable[str]) -> Columns:
    """The costs to learn from and these metaparameters of the networks, by the arithmetic of their plans."""
    costs = {name: np.array([getattr(config.cost, name) for config in configs]) for name in COLUMNS}
    return costs | {name: np.array([vars(config.arch)[name] for config in configs]) for name in names}


def _is(value: Any, text: str) -> bool:
    """Whether the setting has the value that the text says."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value).lower() == text.lower()
    try:
        return value == float(text)
    except ValueError:
        return False


def _refuse_mixed(runs: Sequence[Mapping[str, Any]]) -> None:
    """Raise InputError if the runs differ in more than their networks; the line names what differs."""
    names = dict.fromkeys(name for run in runs for name in run if not name.startswith("arch."))
    differing = [name for name in names if len({run.get(name) for run in runs}) > 1]
    if differing:
        first, *others = differing
        counts = Counter(run.get(first) for run in runs).most_common()
        shown = ", ".join(f"{first}={value} ({count})" for value, count in counts)
        also = f", which differ in {', '.join(others)} too" if others else ""
        rule = f"a map must be of one data set and one recipe, got runs with {shown}{also}"
        raise InputError(f"{rule}: choose with {' '.join(_words(runs, differing))}")


def _words(runs: Sequence[Mapping[str, Any]], differing: Sequence[str]) -> list[str]:
    """As few words as choose the data set and the recipe that most runs have."""
    kinds = Counter(tuple(run.get(name) for name in differing) for run in runs)
    most, others = kinds.most_common(1)[0][0], list(kinds)
    words = []
    while len(others) > 1:
        left = [[kind for kind in others if kind[place] == most[place]] for place in range(len(differing))]
        place = min(range(len(differing)), key=lambda place: len(left[place]))
        others = left[place]
        words.append(f"{differing[place]}={most[place]}")
    return words
