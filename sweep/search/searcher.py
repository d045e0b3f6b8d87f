"""What to train next, as a function of what is known: nothing is remembered but what points lead to."""

import itertools
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fire.errors import InputError
from fire.stats import pareto_front
from sweep.search.halving import promotion
from sweep.search.space import Space
from sweep.search.spec import SearchSpec

if TYPE_CHECKING:
    from sweep.search.samplers import Observation

FITTED = 5  # finished runs from which on accuracy at the end is fitted to that at a rung


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What is known of a point.

    status: "killed" is a run that has left no record; "running" is under way, here or elsewhere.
    curve: validation top-1 after each epoch so far, as far as curve.csv can be read; top1: at the end of the recipe,
    None before. epochs: those of the record.
    """

    status: Literal["finished", "stopped", "failed", "killed", "running"]
    curve: tuple[float, ...] = ()
    epochs: int = 0
    top1: float | None = None
    latency_seconds: float | None = None
    end: str = ""  # when, ISO 8601

    @property
    def reached(self) -> int:
        """The epochs trained so far: a curve that lost rows must not have them asked for again and again."""
        return max(self.epochs, len(self.curve))


class Job(NamedTuple):
    """Train the point up to this epoch."""

    point: int
    epoch: int


class Searcher:
    """Chooses the next job of a search over a space, for runs of so many epochs."""

    def __init__(self, space: Space, spec: SearchSpec, epochs: int) -> None:
        self._space = space
        self._spec = spec
        self._rungs = spec.rungs(epochs)
        self.first: tuple[int, ...] = ()
        self.left_out: dict[str, str] = {}  # of spec.first, and why
        self.moved: dict[str, str] = {}  # axes without the configuration's own value, and what spec.first takes instead
        for overrides in spec.first:
            self._take_first(overrides)
        self._numbers: dict[int, int | None] = {}  # of networks, by points
        self._networks: dict[Hashable, int] = {}  # numbered as they are met

    def _take_first(self, overrides: dict[str, Any]) -> None:
        """Note where these values of spec.first lead to. Raises InputError if that is no network.

        What they leave open is the configuration's own, or the nearest that is on the axes.
        """
        text = " ".join(f"{key}={value}" for key, value in overrides.items()) or "the configuration itself"
        try:
            point = self._space.planned(overrides)
        except InputError as error:
            raise InputError(f"search.first, {text}: {error}") from error
        moved = self._space.onto_axes(point.config, but=overrides)
        try:
            point = self._space.planned({**overrides, **moved})
        except InputError:  # such as a bypass that none of the widths there can have
            self.left_out[text] = "leads to no network on the axes"
            return
        broken = self._space.broken(point)
        found = self._space.of_config(point.config)
        if found is not None:
            self.first = tuple(dict.fromkeys((*self.first, found[0])))
            self.moved |= moved
        else:
            self.left_out[text] = f"breaks {broken[0]}" if broken else "is not on the axes"

    def next(self, trials: Mapping[int, Trial]) -> Job | None:
        """The next job, given all trials; None if there is none until another one ends, or the search is over.

        First the runs that go on whatever the others come to, then promotions, then points that none has tried: the
        published networks, and what the sampler proposes. In the end those go on that may yet turn out not to be
        beaten, whatever their rank was at their rung: what is reported has no gaps for want of promotion.
        """
        for index in self.begun(trials):
            trial = trials[index]
            # Perhaps it was killed after the epoch of its rung: that earns no promotion.
            return self._job(index, trial.reached - (1 if trial.status == "killed" else 0))
        promoted = self._promotion(trials)
        if promoted is not None:
            return promoted
        new = self._new(trials) if len(trials) < self._spec.budget_runs else None
        return self._stopped_front(trials) if new is None else self._job(new, 0)

    def begun(self, trials: Mapping[int, Trial]) -> list[int]:
        """The points whose runs go on whatever the others come to: those that were killed, and stopped ones of which
        nothing is to be decided, as all are trained to the end, or as their last epoch is done and only the end of the
        run is missing."""
        return [
            index
            for index, trial in sorted(trials.items())
            if trial.status == "killed"
            or (
                trial.status == "stopped"
                and (index in self.first or len(self._rungs) == 1 or trial.reached >= self._rungs[-1])
            )
        ]

    def upcoming(self, trials: Mapping[int, Trial]) -> list[int]:
        """The points that come before any promotion and proposal: those that go on, and published networks that have
        not been tried, as far as the budget goes."""
        left = max(0, self._spec.budget_runs - len(trials))
        tried = {self._network(index) for index in trials} | {None}
        new = {self._network(index): index for index in reversed(self.first) if self._network(index) not in tried}
        return [*self.begun(trials), *list(new.values())[::-1][:left]]

    def _job(self, index: int, reached: int) -> Job:
        if index in self.first:  # references, and what accuracy at the end is fitted to
            return Job(index, self._rungs[-1])
        return Job(index, next((rung for rung in self._rungs if rung > reached), self._rungs[-1]))

    def _stopped_front(self, trials: Mapping[int, Trial]) -> Job | None:
        """The next rung for a stopped point that none would beat if it came out a standard deviation above what is
        expected; None if there is none."""
        expected = self._expected(trials, deviations=1.0)
        points = sorted(expected)
        on_front = pareto_front([expected[point] for point in points])
        for point, is_best in zip(points, on_front, strict=True):
            if is_best and trials[point].status == "stopped":
                return self._job(point, trials[point].reached)
        return None

    def _promotion(self, trials: Mapping[int, Trial]) -> Job | None:
        comparable = {
            rung: {
                index: losses
                for index, trial in trials.items()
                if trial.status != "failed"  # it would take a place, and not go on
                and len(trial.curve) >= rung
                and (losses := self.losses(index, trial, trial.curve[rung - 1]))
            }
            for rung in self._rungs
        }
        reached = {index: trial.reached for index, trial in trials.items()}
        waiting = [index for index, trial in trials.items() if trial.status == "stopped"]
        found = promotion(reached, waiting, comparable, self._rungs, self._spec.reduction)
        return None if found is None else Job(*found)

    @property
    def told(self) -> dict[str, Any]:
        """What the manifest tells of the search."""
        spec = self._spec
        return {"objectives": list(spec.objectives), "constraints": spec.at_most.texts}

    def losses(self, index: int, trial: Trial, top1: float | None = None) -> tuple[float, ...] | None:
        """The objectives, to be minimised, with the trial's own accuracy unless said; None if one is not known."""
        top1 = trial.top1 if top1 is None else top1
        values = {
            "top1": None if top1 is None else -top1,
            "size_bytes": float(self._space.costs["size_bytes"][index]),
            "macs": float(self._space.costs["macs"][index]),
            "latency": trial.latency_seconds,
        }
        losses = [values[name] for name in self._spec.objectives]
        return None if None in losses else tuple(value for value in losses if value is not None)

    def _new(self, trials: Mapping[int, Trial]) -> int | None:
        """An allowed point that has not been tried; None if there is none left."""
        untried = self._space.allowed.copy()
        untried[list(trials)] = False
        tried = {self._network(index) for index in trials} | {None}
        for index in itertools.chain(self.first, self._candidates(trials, untried)):
            if untried[index] and self._network(index) not in tried:
                return index
            untried[index] = False
        return None

    def _network(self, index: int) -> int | None:
        """A number for what is built and how it is trained, which points that lead to the same share; None if the point
        is not valid."""
        if index not in self._numbers:
            point = self._space.point(index)
            number = None
            if point is not None:
                network = (point.config.arch.plan(point.config.data.channels), point.config.train)
                number = self._networks.setdefault(network, len(self._networks))
            self._numbers[index] = number
        return self._numbers[index]

    def _candidates(self, trials: Mapping[int, Trial], untried: NDArray[np.bool_]) -> Iterator[int]:
        """Untried points, the best first, until none is left; what was yielded is taken off `untried` meanwhile."""
        random = np.random.default_rng([self._spec.seed, len(trials)])
        points = np.flatnonzero(untried)
        if len(trials) + len(points) <= self._spec.budget_runs:  # all of them, the cheapest first
            yield from points[np.argsort(self._space.costs["macs"][points], kind="stable")].tolist()
        else:
            from sweep.search.samplers import SAMPLERS  # imports optuna, which takes a second

            yield from SAMPLERS[self._spec.sampler](self._space, untried, self._observations(trials), random)

    def _observations(self, trials: Mapping[int, Trial]) -> list["Observation"]:
        """What the sampler learns from: the objectives at the end of a run, measured or predicted from its curve."""
        from sweep.search.samplers import Observation

        expected = self._expected(trials)
        ended, running = [], []
        for index, trial in sorted(trials.items(), key=lambda pair: (pair[1].end, pair[0])):
            codes = tuple(self._space.codes[index].tolist())
            if index in expected:
                ended.append(Observation(codes, expected[index]))
            elif trial.status in ("running", "killed"):
                running.append(Observation(codes, None))
        return ended + running

    def _expected(self, trials: Mapping[int, Trial], deviations: float = 0.0) -> dict[int, tuple[float, ...]]:
        """The objectives at the end of each run that has a curve, to be minimised: measured, or to be expected.

        deviations: of accuracy, in standard deviations of what it was from what was to be expected of finished runs.
        Failed runs have no objectives: samplers ignore them, and no point is tried twice.
        """
        lines = {reached: _line(reached, trials) for reached in {len(trial.curve) for trial in trials.values()} - {0}}
        found = {}
        for index, trial in trials.items():
            top1 = trial.top1
            if top1 is None and trial.curve and trial.status != "failed":
                slope, offset, deviation = lines[len(trial.curve)]
                top1 = slope * trial.curve[-1] + offset + deviations * deviation
            losses = None if top1 is None else self.losses(index, trial, top1)
            if losses is not None:
                found[index] = losses
        return found


def _line(reached: int, trials: Mapping[int, Trial]) -> tuple[float, float, float]:
    """Slope and offset that lead from accuracy after so many epochs to that at the end, through the finished runs; and
    the standard deviation of these from the line."""
    pairs = [
        (trial.curve[reached - 1], trial.top1)
        for trial in trials.values()
        if trial.top1 is not None and len(trial.curve) >= reached
    ]
    if not pairs:
        return 1.0, 0.0, 0.0
    here, end = np.array(pairs).T
    spread = float(here.var())
    slope = 1.0
    if len(pairs) >= FITTED and spread > 0:
        slope = float(np.clip(((here - here.mean()) * (end - end.mean())).mean() / spread, 0.1, 1.5))
    offset = float(end.mean() - slope * here.mean())
    return slope, offset, float((end - slope * here - offset).std())
