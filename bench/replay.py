"""Searches over a table of finished runs: nothing is trained, cost is counted in epochs x MACs."""

import heapq
import itertools
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import optuna
from numpy.typing import NDArray

from bench.measure import Row
from fire.stats import hypervolume, mean_interval
from sweep.search.halving import best_first
from sweep.search.searcher import Searcher, Trial
from sweep.search.space import Space
from sweep.search.spec import SAMPLERS, SearchSpec

WORKERS = 2
SEEDS = range(5, 15)  # the default settings were chosen on 0 to 4
BUDGET = 200  # networks that a search may begin
SHARE = 0.25  # of the grid's cost, at which searches are compared
TARGET = 0.99  # of the grid's hypervolume
ENDED = ("finished", "failed")
FIRST = [{}, {"arch.bypass": "simple"}, {"arch.bypass": "complex"}, {"arch.sr": 1.0}]
FIRST += [{"arch.sr": 0.5, "arch.pct_3x3": pct} for pct in (0.125, 0.99)]


class Trace(NamedTuple):
    """How far a search had come at each end of a run: cost and hypervolume, as parts of the grid's.

    It ends where all that is asked of it is known: TARGET is reached and SHARE is spent.
    """

    cost: tuple[float, ...]
    hypervolume: tuple[float, ...]

    def cost_of(self, target: float) -> float:
        """What the target cost; NaN if it was never reached."""
        return next((c for c, h in zip(self.cost, self.hypervolume, strict=True) if h >= target), np.nan)

    def at(self, cost: float) -> float:
        """The hypervolume at that cost."""
        return max((h for c, h in zip(self.cost, self.hypervolume, strict=True) if c <= cost), default=0.0)


class Table:
    """The accuracy of each point of the space after each epoch; the cost and the hypervolume of the whole grid."""

    def __init__(self, space: Space, trials: Mapping[int, Trial], epochs: int) -> None:
        missing = sum(index not in trials or trials[index].status not in ENDED for index in range(space.size))
        if missing:
            raise SystemExit(f"bench.search: {missing} of {space.size} runs are missing: python -m bench.search table")
        self.space = space
        self.epochs = epochs
        self.trials = [trials[index] for index in range(space.size)]
        self.top1 = np.array([np.nan if trial.top1 is None else trial.top1 for trial in self.trials])
        # A run that fails does so in the epoch after its last whole one, and has cost that epoch too.
        self.trained = np.array([epochs if trial.top1 is not None else len(trial.curve) + 1 for trial in self.trials])
        self.macs = space.costs["macs"].astype(float)
        self.size = np.log10(space.costs["size_bytes"].astype(float))
        self.reference = (float(self.size.max()), float(np.nanmin(self.top1)))
        self.cost = float((self.trained * self.macs).sum())
        self.hypervolume = self.dominated(np.arange(space.size))

    def dominated(self, points: Sequence[int] | NDArray[np.intp]) -> float:
        """The hypervolume of trained points over the logarithm of their size."""
        chosen = np.asarray(points, np.intp)
        chosen = chosen[~np.isnan(self.top1[chosen])]
        return hypervolume(self.size[chosen], self.top1[chosen], self.reference)

    def run(self, point: int, epoch: int, end: str = "") -> Trial:
        """The point's run when it was to train up to this epoch; end: when it ended."""
        whole = self.trials[point]
        if epoch == self.epochs or epoch > len(whole.curve):
            return replace(whole, end=end)
        return Trial(status="stopped", curve=whole.curve[:epoch], end=end)

    def cost_of(self, point: int, epoch: int, begun: int = 0) -> float:
        """The cost of training the point up to this epoch, or until it fails, if `begun` epochs are done already."""
        return float((min(epoch, self.trained[point]) - begun) * self.macs[point])

    def trace(self, steps: Iterator[tuple[float, int | None]]) -> Trace:
        """Of steps that cost epochs x MACs and, if they end a run, give a point."""
        spent, points, costs, volumes = 0.0, [], [], []
        for cost, point in steps:
            spent += cost
            if point is not None:
                points.append(point)
                costs.append(spent / self.cost)
                volumes.append(self.dominated(points) / self.hypervolume)
                if volumes[-1] >= TARGET and costs[-1] > SHARE:
                    break
        return Trace(tuple(costs), tuple(volumes))


def search(table: Table, spec: SearchSpec) -> Iterator[tuple[float, int | None]]:
    """Our search with two workers, each run as long as its cost; steps as Table.trace takes them."""
    searcher = Searcher(table.space, spec, table.epochs)
    trials: dict[int, Trial] = {}
    clock, ends = 0.0, []
    while True:
        while len(ends) < WORKERS and (job := searcher.next(trials)) is not None:
            before = trials.get(job.point, Trial(status="running"))
            cost = table.cost_of(job.point, job.epoch, len(before.curve))
            heapq.heappush(ends, (clock + cost, job.point, job.epoch, cost))
            trials[job.point] = replace(before, status="running")
        if not ends:
            return
        clock, point, epoch, cost = heapq.heappop(ends)
        trials[point] = table.run(point, epoch, f"{clock:020.0f}")
        yield cost, point if trials[point].status == "finished" else None


def random_order(table: Table, seed: int) -> Iterator[tuple[float, int | None]]:
    """All points in random order, each trained to the end."""
    for point in np.random.default_rng(seed).permutation(table.space.size).tolist():
        yield table.cost_of(point, table.epochs), point


def one_epoch_first(table: Table) -> Iterator[tuple[float, int | None]]:
    """All points for one epoch, then the best of them to the end, one after another."""
    yield float(table.macs.sum()), None
    first = np.array([trial.curve[0] if trial.curve else 0.0 for trial in table.trials])
    for point in best_first(np.stack([-first, table.size], axis=1)).tolist():
        yield table.cost_of(point, table.epochs, begun=1), point


def plain_optuna(table: Table, seed: int) -> Iterator[tuple[float, int | None]]:
    """study.optimize with NSGA-II as it comes; what it asks for again costs nothing."""
    steps: list[tuple[float, int | None]] = []

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        axes = table.space.axes
        codes = [axis.choices.index(trial.suggest_categorical(axis.key, axis.choices)) for axis in axes]
        point = int(np.ravel_multi_index(codes, table.space.shape))
        if all(point != other for _, other in steps):
            steps.append((table.cost_of(point, table.epochs), point))
        return float(np.nan_to_num(table.top1[point])), float(table.size[point])  # one that fails is worth nothing

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=optuna.samplers.NSGAIISampler(seed=seed))
    for _ in range(12):  # a few at a time: who asks for steps leaves off when the target is reached
        begun = len(steps)
        study.optimize(objective, n_trials=50)
        yield from steps[begun:]


def ask_seconds(space: Space, sampler: str) -> float:
    """The median processor time of five asks with 1,000 finished runs of a space."""
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
        started = time.process_time()
        job = searcher.next(trials)
        times.append(time.process_time() - started)
        assert job is not None
        trials[job.point] = Trial(status="running")
    return float(np.median(times))


def rows(table: Table, timed: Sequence[Space]) -> Iterator[Row]:
    """The rows, each when it has been measured. timed: spaces in which asks are timed."""

    def traces(steps: Callable[[int], Iterator[tuple[float, int | None]]], seeds: Sequence[int] = SEEDS) -> list[Trace]:
        return [table.trace(steps(seed)) for seed in seeds]

    def ours(spec: SearchSpec) -> list[Trace]:
        return traces(lambda seed: search(table, replace(spec, seed=seed)))

    def cost_row(traces: Sequence[Trace], peer: str, goal: str = "-", spec: SearchSpec | None = None) -> Row:
        what = f"cost of {TARGET:.0%} of the hypervolume of {table.space.size} networks, of the grid's"
        detail = ""
        if spec is not None:
            detail = (
                f"{spec.sampler}, reduction {spec.reduction}, rungs {', '.join(map(str, spec.rungs(table.epochs)))}"
            )
        return Row(what=what, peer=peer, goal=goal, measured=_costs(traces), detail=detail)

    default = SearchSpec(budget_runs=BUDGET, first=FIRST)
    best = ours(default)
    yield cost_row(best, "ours", "at most 25 %", default)
    first = traces(lambda seed: one_epoch_first(table), [0])
    yield cost_row(first, "one epoch of all, then the best k", "not less than ours")
    randomly = traces(lambda seed: random_order(table, seed))
    yield cost_row(randomly, "random, no early stopping")
    yield Row(
        what=f"hypervolume at {SHARE:.0%} of the grid's cost, less that of random search",
        peer="random",
        goal="above 0",
        measured=_difference(best, randomly),
        detail=f"ours {_volumes(best)}; random {_volumes(randomly)}; one epoch first {_volumes(first)}",
    )
    optunas = traces(lambda seed: plain_optuna(table, seed))
    yield cost_row(optunas, "optuna's study.optimize, NSGA-II", "twice ours or more")
    others = [replace(default, reduction=reduction) for reduction in (1, 2, 3) if reduction != default.reduction]
    others += [replace(default, sampler=name) for name in SAMPLERS if name not in (default.sampler, "grid")]
    for spec in others:
        yield cost_row(ours(spec), "ours, other settings", spec=spec)
    for space, name in itertools.product(timed, SAMPLERS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            measured = f"{ask_seconds(space, name):.3f} s"
        what = "an ask with 1,000 finished runs"
        allowed = int(space.allowed.sum())
        yield Row(what=what, peer=f"{allowed:,} points", goal="0.2 s", measured=measured, detail=name)


def _costs(traces: Sequence[Trace]) -> str:
    """Mean cost of the target with its 95 % interval over seeds."""
    costs = [trace.cost_of(TARGET) for trace in traces]
    interval = mean_interval(costs)
    if not interval.n:
        return f"never, {len(costs)} of {len(costs)}"
    missed = f"; {len(costs) - interval.n} of {len(costs)} never" if interval.n < len(costs) else ""
    ends = f" ({100 * interval.low:.1f} to {100 * interval.high:.1f}, n = {interval.n})" if interval.n > 1 else ""
    return f"{100 * interval.mean:.1f} %{ends}{missed}"


def _volumes(traces: Sequence[Trace]) -> str:
    return f"{100 * np.mean([trace.at(SHARE) for trace in traces]):.2f} %"


def _difference(ours: Sequence[Trace], theirs: Sequence[Trace]) -> str:
    interval = mean_interval([a.at(SHARE) - b.at(SHARE) for a, b in zip(ours, theirs, strict=True)])
    return f"{100 * interval.mean:.2f} points ({100 * interval.low:.2f} to {100 * interval.high:.2f}, n = {interval.n})"
