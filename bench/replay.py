"""Searches over a table of finished runs: nothing is trained, cost is counted in epochs x MACs.

All of them train one network at a time, and learn of it when it has ended.
"""

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import optuna

from bench.measure import Row
from bench.tabular import Tabular
from fire.stats import hypervolume, mean_interval, welch
from sweep.map.surrogate import LEAST_NETWORKS
from sweep.search import guided
from sweep.search.halving import best_first
from sweep.search.searcher import Searcher, Trial
from sweep.search.space import Space
from sweep.search.spec import SAMPLERS, SearchSpec

SEEDS = range(5, 15)  # the default settings were chosen on 0 to 4
SHARES = (0.05, 0.1, 0.25)  # of the table's cost, at which searches are compared
REDUCTIONS = (1, 2, 3)


class Trace(NamedTuple):
    """How far a search had come at each end of a run, until the last of SHARES was spent.

    Cost and hypervolume are parts of the table's.
    """

    cost: tuple[float, ...]
    hypervolume: tuple[float, ...]

    def at(self, cost: float) -> float:
        """The hypervolume at that cost."""
        return max((h for c, h in zip(self.cost, self.hypervolume, strict=True) if c <= cost), default=0.0)


class Table:
    """The networks of a tabular benchmark as points of their space: the searches may choose among these alone.

    Raises ValueError if a network is no point of the space.
    """

    def __init__(self, space: Space, tabular: Tabular) -> None:
        self.space = space
        self.epochs = tabular.epochs
        self.points = [place_of(space, row) for row in tabular.networks.to_dict("records")]
        self.curves = dict(zip(self.points, map(tuple, tabular.curves.tolist()), strict=True))
        space.allowed[:] = False
        space.allowed[self.points] = True
        self._macs = space.costs["macs"].astype(float)
        self._size = np.log10(space.costs["size_bytes"].astype(float))
        top1 = [curve[-1] for curve in self.curves.values()]
        sizes = self._size[self.points]
        # A tenth of the range beyond the worst: so the largest and the least accurate network count, too.
        self._reference = (
            float(sizes.max() + np.ptp(sizes) / 10),
            min(top1) - (max(top1) - min(top1)) / 10,
        )
        self.cost = float(self._macs[self.points].sum()) * self.epochs
        self.hypervolume = self.dominated(self.points)

    def losses(self, point: int, epoch: int) -> tuple[float, float]:
        """The objectives of a point after this number of epochs, to be minimised."""
        return -self.curves[point][epoch - 1], float(self.space.costs["size_bytes"][point])

    def dominated(self, points: Sequence[int]) -> float:
        """The hypervolume of points that were trained to the end, over the logarithm of their size."""
        top1 = [self.curves[point][-1] for point in points]
        return hypervolume(self._size[np.asarray(points, np.intp)], np.array(top1), self._reference)

    def run(self, point: int, epoch: int, end: str = "") -> Trial:
        """The point's run when it was trained up to this epoch; end: when it ended."""
        curve = self.curves[point][:epoch]
        if epoch < self.epochs:
            return Trial(status="stopped", curve=curve, end=end)
        return Trial(status="finished", curve=curve, top1=curve[-1], end=end)

    def cost_of(self, point: int, epochs: int) -> float:
        """The cost of some epochs of the point."""
        return float(epochs * self._macs[point])

    def trace(self, steps: Iterator[tuple[float, int | None]]) -> Trace:
        """Of steps that cost epochs x MACs and, if they end a run, give a point."""
        spent, points, costs, volumes = 0.0, [], [], []
        for cost, point in steps:
            spent += cost
            if spent > SHARES[-1] * self.cost:
                break
            if point is not None:
                points.append(point)
                costs.append(spent / self.cost)
                volumes.append(self.dominated(points) / self.hypervolume)
        return Trace(tuple(costs), tuple(volumes))


def place_of(space: Space, network: Mapping[str, Any]) -> int:
    """The point with this network's metaparameters. Raises ValueError if there is none."""
    codes = []
    for axis in space.axes:
        value = network[axis.key.removeprefix("arch.")]
        if value not in axis.values:
            raise ValueError(f"the table must hold networks of the space, got {axis.key}={value}")
        codes.append(axis.values.index(value))
    return int(np.ravel_multi_index(codes, space.shape))


def search(
    table: Table, spec: SearchSpec, known: Sequence[int] = (), warm: Sequence[int] = ()
) -> Iterator[tuple[float, int | None]]:
    """Our search; steps as Table.trace takes them.

    known: points that were trained to the end before. warm: those to begin with.
    """
    searcher = Searcher(table.space, spec, table.epochs, warm)
    trials = {point: table.run(point, table.epochs) for point in known}
    clock = 0.0
    while (job := searcher.next(trials)) is not None:
        reached = len(trials[job.point].curve) if job.point in trials else 0
        cost = table.cost_of(job.point, job.epoch - reached)
        clock += cost
        trials[job.point] = ended = table.run(job.point, job.epoch, f"{clock:020.0f}")
        yield cost, job.point if ended.status == "finished" else None


def random_order(table: Table, seed: int) -> Iterator[tuple[float, int | None]]:
    """All points in random order, each trained to the end."""
    for point in np.random.default_rng(seed).permutation(table.points).tolist():
        yield table.cost_of(point, table.epochs), point


def begin_cheap(table: Table, seed: int) -> list[int]:
    """The networks that our search begins with: ehvi has no map yet, and takes cheap ones."""
    return [point for _, point in search(table, SearchSpec(budget_runs=LEAST_NETWORKS, seed=seed)) if point is not None]


def then_random(table: Table, begun: Sequence[int], seed: int) -> Iterator[tuple[float, int | None]]:
    """The points in `begun`, then all others in random order, each trained to the end."""
    others = [step for step in random_order(table, seed) if step[1] not in begun]
    yield from ((table.cost_of(point, table.epochs), point) for point in begun)
    yield from others


def cheapest_first(table: Table) -> Iterator[tuple[float, int | None]]:
    """All points, the cheapest to train first, each trained to the end."""
    for point in sorted(table.points, key=lambda point: table.cost_of(point, table.epochs)):
        yield table.cost_of(point, table.epochs), point


def all_then_best(table: Table, epochs: int) -> Iterator[tuple[float, int | None]]:
    """All points for some epochs, then the best of them to the end, one after another."""
    yield sum(table.cost_of(point, epochs) for point in table.points), None
    for place in best_first([table.losses(point, epochs) for point in table.points]).tolist():
        yield table.cost_of(table.points[place], table.epochs - epochs), table.points[place]


def plain_optuna(
    table: Table, sampler: optuna.samplers.BaseSampler | None, seed: int, begun: Sequence[int] = ()
) -> Iterator[tuple[float, int]]:
    """A study that trains each network to the end. sampler: None for Optuna's own choice. begun: the first points.

    Instead of a proposal, the nearest network of the table is trained that was not yet, as in our search. The proposal
    fails, and Optuna learns that network's own settings with its results.
    """
    random, untried = np.random.default_rng(seed), table.space.allowed.copy()
    choices = {
        axis.key: optuna.distributions.IntDistribution(0, len(axis.choices) - 1)
        if axis.ordered
        else optuna.distributions.CategoricalDistribution(range(len(axis.choices)))
        for axis in table.space.axes
    }

    def settings_of(point: int) -> dict[str, int]:
        return dict(zip(choices, table.space.codes[point].tolist(), strict=True))

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
    if sampler is None:
        study.sampler = type(study.sampler)(seed=seed)  # the same class with its defaults, so that it can be repeated
    first = list(begun)
    while untried.any():
        if first:
            study.enqueue_trial(settings_of(first.pop(0)))
        trial = study.ask(choices)
        point = next(table.space.by_distance([trial.params[key] for key in choices], untried, random))
        if settings_of(point) != trial.params:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            study.enqueue_trial(settings_of(point))
            trial = study.ask(choices)
        study.tell(trial, table.losses(point, table.epochs))
        untried[point] = False
        yield table.cost_of(point, table.epochs), point


def ask_seconds(space: Space, sampler: str) -> float:
    """The median processor time of five asks with 1,000 finished runs of a space; a map is fitted for each."""
    random = np.random.default_rng(0)
    top1 = random.random(1000)
    points = random.choice(np.flatnonzero(space.allowed), 1000, replace=False)
    trials = {
        int(point): Trial(status="finished", curve=(value / 2, value), top1=value, end=f"{i:04}")
        for i, (point, value) in enumerate(zip(points, top1, strict=True))
    }
    searcher = Searcher(space, SearchSpec(budget_runs=2000, sampler=sampler), 2)
    searcher.next(trials)  # reads each known point once, as at a start
    times = []
    for _ in range(5):
        guided.guide.cache_clear()
        started = time.process_time()
        job = searcher.next(trials)
        times.append(time.process_time() - started)
        assert job is not None
        trials[job.point] = Trial(status="running")
    return float(np.median(times))


def rows(table: Table) -> Iterator[Row]:
    """A row for each search, when it has been replayed."""
    budget = len(table.points) - 1  # of all points, a search takes the cheapest first and asks no sampler
    default = SearchSpec(budget_runs=budget)

    specs = [replace(default, reduction=reduction) for reduction in REDUCTIONS]
    specs += [replace(default, sampler=name) for name in SAMPLERS if name not in (default.sampler, "grid")]
    ours = []
    for spec in specs:
        rungs = ", ".join(map(str, spec.rungs(table.epochs)))
        ours.append([table.trace(search(table, replace(spec, seed=seed))) for seed in SEEDS])
        yield _row(f"ours: {spec.sampler}, reduction {spec.reduction}, rungs {rungs}", table, ours[-1])
    defaults = type(optuna.create_study(directions=["minimize", "minimize"]).sampler).__name__
    name = f"Optuna {optuna.__version__} as it comes ({defaults})"
    peers = [table.trace(plain_optuna(table, None, seed)) for seed in SEEDS]
    yield _row(name, table, peers)
    yield _ahead(f"ours at its defaults, less {name}", table, ours[specs.index(default)], peers)
    begun = {seed: begin_cheap(table, seed) for seed in SEEDS}
    alike = [table.trace(plain_optuna(table, None, seed, begun[seed])) for seed in SEEDS]
    yield _row(f"{name}, after our first {LEAST_NETWORKS} networks", table, alike)
    chance = [table.trace(then_random(table, begun[seed], seed)) for seed in SEEDS]
    yield _row(f"our first {LEAST_NETWORKS} networks, then random order", table, chance)
    yield _ahead("ours at its defaults, less that", table, ours[specs.index(default)], chance)
    nsga2 = [table.trace(plain_optuna(table, optuna.samplers.NSGAIISampler(seed=seed), seed)) for seed in SEEDS]
    yield _row(f"Optuna {optuna.__version__}, NSGAIISampler", table, nsga2)
    yield _row("random order, each to the end", table, [table.trace(random_order(table, seed)) for seed in SEEDS])
    yield _row("the fewest MACs first, each to the end", table, [table.trace(cheapest_first(table))])
    for epochs in range(1, table.epochs):
        yield _row(f"all for {_counted(epochs)}, then the best", table, [table.trace(all_then_best(table, epochs))])


def ask_rows(spaces: Sequence[Space]) -> Iterator[Row]:
    """How long each sampler takes for a proposal in each of the spaces."""
    for space in spaces:
        for name in SAMPLERS:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                measured = f"{ask_seconds(space, name):.3f} s"
            points = f"{int(space.allowed.sum()):,} points"
            yield Row(what="an ask with 1,000 finished runs", peer=points, goal="0.2 s", measured=measured, detail=name)


def _row(name: str, table: Table, traces: Sequence[Trace]) -> Row:
    """The hypervolume at each of SHARES, in percent of the whole table's; a dash before any run has ended."""
    ended = [any(trace.cost and trace.cost[0] <= share for trace in traces) for share in SHARES]
    volumes = [
        _percent([trace.at(share) for trace in traces]) if some else "-"
        for share, some in zip(SHARES, ended, strict=True)
    ]
    return Row(
        what=name,
        peer=f"{len(table.points)} networks, {_counted(table.epochs)}",
        goal="-",
        measured="; ".join(f"{share:.0%}: {volume}" for share, volume in zip(SHARES, volumes, strict=True)),
    )


def _ahead(name: str, table: Table, ours: Sequence[Trace], peers: Sequence[Trace]) -> Row:
    """By how many points of the hypervolume our search is ahead of the peers' at each of SHARES: Welch's test."""
    shown = []
    for share in SHARES:
        found = welch([100 * trace.at(share) for trace in ours], [100 * trace.at(share) for trace in peers])
        interval = f"{found.low:.1f} to {found.high:.1f}"
        shown.append(f"{share:.0%}: {found.difference:.1f} points ({interval}), p {found.p:.2g}")
    return Row(
        what=name, peer=f"{len(table.points)} networks, {_counted(table.epochs)}", goal="-", measured="; ".join(shown)
    )


def _counted(epochs: int) -> str:
    return f"{epochs} epoch{'' if epochs == 1 else 's'}"


def _percent(parts: Sequence[float]) -> str:
    """The mean of parts with its 95 % interval over seeds, in percent."""
    interval = mean_interval(parts)
    ends = f" ({100 * interval.low:.1f} to {100 * interval.high:.1f})" if interval.n > 1 else ""
    return f"{100 * interval.mean:.1f} %{ends}"
