"""The best network of a store that keeps some bounds, the cheapest that is about as good, and how to train it again."""

import functools
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fire.cost import MIB
from fire.data.spec import DataSpec
from fire.errors import InputError
from fire.stats import Interval, mean_interval
from sweep.again import command_of, overrides_of
from sweep.commands.display import percent
from sweep.config import RunConfig
from sweep.record import Record
from sweep.search.spec import AtMost


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A network and its recipe, trained to the end with one or more seeds, whose records these are."""

    config: RunConfig
    records: tuple[Record, ...]

    @functools.cached_property
    def data_set(self) -> str:
        """A text that is the same for the same data; images of another size, or fewer of them, are other data."""
        return json.dumps(self.config.identity["data"], sort_keys=True)

    @property
    def seeds(self) -> list[int]:
        """The seeds of the records."""
        return [record.config.seed for record in self.records if record.config is not None]

    @functools.cached_property
    def validation_top1(self) -> float:
        """The mean over seeds, which networks are chosen by."""
        return float(np.mean([record.validation_top1 for record in self.records]))

    @property
    def standard_error(self) -> float:
        """Of validation_top1: the root of p (1 - p) / m + s^2 / n; NaN if neither term is known.

        The first term is binomial, of m validation images. It is not divided by n, as all seeds share these images, and
        it is left out where m is not known: of an image folder's fraction. The second term has the variance s^2 over
        n seeds; it is left out with one seed.
        """
        p, n = self.validation_top1, len(self.records)
        images = validation_images(self.config.data)
        terms = [p * (1 - p) / images] if images else []
        if n > 1:
            over_seeds = np.array([record.validation_top1 for record in self.records], np.float64)
            terms.append(float(over_seeds.var(ddof=1)) / n)
        return math.sqrt(sum(terms)) if terms else math.nan

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
            but_for_seed = json.dumps({**config.identity, "seed": None}, sort_keys=True)
            groups.setdefault(but_for_seed, []).append((config, record))
    found = []
    for group in groups.values():
        group.sort(key=lambda pair: pair[0].seed)
        found.append(Candidate(config=group[0][0], records=tuple(record for _, record in group)))
    return sorted(found, key=lambda candidate: -candidate.validation_top1)


def validation_images(data: DataSpec) -> int | None:
    """How many images networks are chosen by; None if it takes the image folder to know."""
    if data.validation < 1:
        return None
    images = int(data.validation)
    return min(images, data.limit or images)


def tightest(candidate: Candidate, at_most: AtMost) -> str:
    """The cost of which the candidate takes the largest share of its bound; size_bytes where there is no bound."""
    shares = {name: getattr(candidate.records[0], name) / bound for name, bound in at_most.bounds.items()}
    return max(shares, key=lambda name: shares[name], default="size_bytes")


def cheapest(found: Iterable[Candidate], chosen: Candidate, cost: str) -> Candidate:
    """The candidate on the same data of the least cost whose validation accuracy is at most a standard error lower.

    The one-standard-error rule of Breiman et al. 1984, section 3.4.3. Of equal costs the more accurate; `chosen` itself
    if its standard error is not known.
    """
    least = chosen.validation_top1 - chosen.standard_error
    near = [each for each in found if each.validation_top1 >= least and each.data_set == chosen.data_set]
    return min(near, key=lambda each: (getattr(each.records[0], cost), -each.validation_top1), default=chosen)


def again(candidate: Candidate) -> tuple[str, str]:
    """The settings of the candidate, and the command that trains it again."""
    try:
        overrides = overrides_of(candidate.config)
    except InputError:  # such as weights to start from that were moved
        settings = [f"{name}={value}" for name, value in candidate.config.identity["arch"].items()]
        return " ".join(settings), "no command line of this version leads to it"
    return " ".join(overrides), command_of(overrides, candidate.seeds)


def report(found: Sequence[Candidate], chosen: Candidate, at_most: AtMost) -> list[str]:
    """The lines about the chosen network, and about the cheapest of `found` within a standard error of it."""
    cost = tightest(chosen, at_most)
    return [*lines(chosen), *comparison(chosen, cheapest(found, chosen, cost), cost)]


def comparison(chosen: Candidate, other: Candidate, cost: str) -> list[str]:
    """The lines about `other`, the cheapest one within a standard error of the chosen network."""
    images, seeds = validation_images(chosen.config.data), len(chosen.records)
    of = ", ".join([*([f"{images:,} validation images"] if images else []), f"{seeds} seed{'s' * (seeds > 1)}"])
    error = chosen.standard_error
    known = "not known" if math.isnan(error) else f"{100 * error:.2f} points"
    title = f"the least {cost} within one standard error of it ({known}; {of})"
    return [f"{title}: the same network"] if other is chosen else [f"{title}:", *lines(other)]


def lines(candidate: Candidate) -> list[str]:
    """The lines that describe the candidate to a person."""
    record = candidate.records[0]
    mean, low, high, seeds_run = candidate.test_top1
    size = f"{record.size_bytes:,} bytes, {record.size_bytes / MIB:.3f} MiB, {record.parameters:,} parameters"
    device = f"peak RAM {record.peak_ram_bytes:,} bytes, weights {record.weight_bytes:,}, flash {record.flash_bytes:,}"
    spread = f"{percent(low)} to {percent(high)}, 95 % interval over {seeds_run} seeds"
    settings, command = again(candidate)
    return [
        f"{candidate.config.data.name}: {settings}",
        f"  size      {size}",
        f"  in int8   {device}",
        f"  work      {record.macs:,} MACs an image, {record.activations:,} activations",
        f"  top-1     test {percent(mean)} ({spread if seeds_run > 1 else 'one seed, no interval'}), "
        f"validation {percent(candidate.validation_top1)}, which it was chosen by",
        f"  runs      {' '.join(record.key for record in candidate.records)}",
        f"  again     {command}",
    ]
