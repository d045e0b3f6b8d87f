"""What a search trains next, as a function of the runs so far: a search that is started again goes on alike."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fire.errors import InputError
from fire.stats import pareto_front
from sweep.search.halving import promoted
from sweep.search.space import Codes, Space
from sweep.search.spec import SearchSpec

FITTED = 5  # finished runs from which on the line of a prediction has a slope of its own


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The run of a point so far.

    status: "killed" is a run that has left no record; "running" is under way, here or in another sweep.
    curve: validation top-1 after each epoch, as far as curve.csv can be read; top1: at the end of the recipe, None
    before. epochs: those of the record.
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


class Observation(NamedTuple):
    """A point that was tried, and its losses; None while it runs."""

    codes: Codes
    losses: tuple[float, ...] | None


class Searcher:
    """Chooses the next job of a search over a space.

    epochs: of a whole run. first: the points of spec.first, which are trained first and to the end; left_out: its other
    entries, each with the reason why it is no point of the space. warm: the points that are tried after `first`.
    """

    def __init__(self, space: Space, spec: SearchSpec, epochs: int, warm: Sequence[int] = ()) -> None:
        self._space = space
        self._warm = tuple(warm)
        self.spec = spec
        self._rungs = spec.rungs(epochs)
        self.first: tuple[int, ...] = ()
        self.left_out: dict[str, str] = {}
        for overrides in spec.first:
            index, reason = _locate(space, overrides)
            if index is None:
                self.left_out[_text(overrides)] = reason
            else:
                self.first = tuple(dict.fromkeys((*self.first, index)))

    def next(self, trials: Mapping[int, Trial]) -> Job | None:
        """The next job, given all trials; None if there is none until another run ends, or the search is over.

        First runs that must go on, then promotions, then new points: those of spec.first, the warm ones, and those that
        the sampler proposes. When the budget is spent, every stopped run that could still be on the front is finished.
        """
        if begun := self.begun(trials):
            trial = trials[begun[0]]
            # It may have been killed after the epoch of its rung: that earns no promotion.
            return self._job(begun[0], trial.reached - (1 if trial.status == "killed" else 0))
        job = self._promotion(trials)
        if job is None and len(trials) < self.spec.budget_runs:
            new = self._new(trials)
            job = None if new is None else self._job(new, 0)
        return job or self._stopped_front(trials)

    def begun(self, trials: Mapping[int, Trial]) -> list[int]:
        """The points whose runs go on, however the others perform.

        These are runs that were killed, and stopped runs that are to be trained to the end, or whose last epoch is done
        but not the evaluation.
        """
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
        """The points that come before any proposal of the sampler: runs that go on, and new ones to begin with."""
        left = max(0, self.spec.budget_runs - len(trials))
        tried, new = self._tried(trials), []
        for index in (*self.first, *self._warm):
            network = self._space.network(index)
            if network not in tried:
                tried.add(network)
                new.append(index)
        return [*self.begun(trials), *new[:left]]

    def losses(self, index: int, trial: Trial, top1: float | None = None) -> tuple[float, ...] | None:
        """The objectives, to be minimised, with the trial's own accuracy unless given; None if one is not known."""
        top1 = trial.top1 if top1 is None else top1
        values = {
            "top1": None if top1 is None else -top1,
            "latency": trial.latency_seconds,
            **{name: float(costs[index]) for name, costs in self._space.costs.items()},
        }
        known = tuple(value for name in self.spec.objectives if (value := values[name]) is not None)
        return known if len(known) == len(self.spec.objectives) else None

    def _job(self, index: int, reached: int) -> Job:
        if index in self.first:  # references, and the runs that predictions are fitted to
            return Job(index, self._rungs[-1])
        return Job(index, next((rung for rung in self._rungs if rung > reached), self._rungs[-1]))

    def _promotion(self, trials: Mapping[int, Trial]) -> Job | None:
        """The next rung of a stopped run that is among the best of its rung; the highest rung first."""
        for rung, following in reversed(list(itertools.pairwise(self._rungs))):
            at_rung = {
                index: losses
                for index, trial in trials.items()
                if trial.status != "failed"  # it would take a place, and not go on
                and len(trial.curve) >= rung
                and (losses := self.losses(index, trial, trial.curve[rung - 1]))
            }
            for index in promoted(at_rung, self.spec.reduction):
                if trials[index].status == "stopped" and trials[index].reached < following:
                    return Job(index, following)
        return None

    def _stopped_front(self, trials: Mapping[int, Trial]) -> Job | None:
        """The next rung of a stopped run that would be on the front, one standard deviation above its prediction."""
        predicted = self._predicted(trials, deviations=1.0)
        points = sorted(predicted)
        on_front = pareto_front([predicted[point] for point in points])
        for point, is_best in zip(points, on_front, strict=True):
            if is_best and trials[point].status == "stopped":
                return self._job(point, trials[point].reached)
        return None

    def _tried(self, trials: Mapping[int, Trial]) -> set[int | None]:
        """The networks that were tried, and None for no network."""
        return {self._space.network(index) for index in trials} | {None}

    def _new(self, trials: Mapping[int, Trial]) -> int | None:
        """An allowed point whose network has not been tried; None if there is none left."""
        untried = self._space.allowed.copy()
        untried[list(trials)] = False
        tried = self._tried(trials)
        for index in itertools.chain(self.first, self._warm, self._candidates(trials, untried)):
            if untried[index] and self._space.network(index) not in tried:
                return index
            untried[index] = False  # samplers look at it between two answers
        return None

    def _candidates(self, trials: Mapping[int, Trial], untried: NDArray[np.bool_]) -> Iterator[int]:
        """Untried points, the best first, until none is left."""
        random = np.random.default_rng([self.spec.seed, len(trials)])
        points = np.flatnonzero(untried)
        if len(trials) + len(points) <= self.spec.budget_runs and not self.spec.band:  # all of them, the cheapest first
            yield from points[np.argsort(self._space.costs["macs"][points], kind="stable")].tolist()
        else:
            from sweep.search.samplers import SAMPLERS, Question  # imports optuna, which takes a second

            question = Question(self._space, untried, self._observations(trials), random, self.spec)
            yield from SAMPLERS[self.spec.sampler](question)

    def _observations(self, trials: Mapping[int, Trial]) -> list[Observation]:
        """What the sampler learns from: the objectives at the end of each run, measured or predicted."""
        predicted = self._predicted(trials)
        ended, running = [], []
        for index, trial in sorted(trials.items(), key=lambda pair: (pair[1].end, pair[0])):
            codes = tuple(self._space.codes[index].tolist())
            if index in predicted:
                ended.append(Observation(codes, predicted[index]))
            elif trial.status in ("running", "killed"):
                running.append(Observation(codes, None))
        return ended + running

    def _predicted(self, trials: Mapping[int, Trial], deviations: float = 0.0) -> dict[int, tuple[float, ...]]:
        """The objectives, to be minimised, at the end of each run that has a curve: measured or predicted.

        deviations: added to a prediction, in standard deviations of the finished runs from theirs. Failed runs have no
        objectives: samplers ignore them, and no point is tried twice.
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


def _locate(space: Space, overrides: Mapping[str, Any]) -> tuple[int | None, str]:
    """The point with these values, the rest as configured; None, with the reason, if it is not in the space."""
    try:
        point = space.planned(overrides)
    except InputError as error:
        return None, str(error)
    broken = space.at_most.broken_by(point.cost)
    return space.index_of(point.config), f"exceeds {broken[0]}" if broken else "is not on the axes"


def _text(overrides: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in overrides.items()) or "{}"


def _line(epoch: int, trials: Mapping[int, Trial]) -> tuple[float, float, float]:
    """The line that predicts accuracy at the end from accuracy after an epoch, fitted to the finished runs.

    Its slope and offset, and the standard deviation of the runs from it.
    """
    pairs = [
        (trial.curve[epoch - 1], trial.top1)
        for trial in trials.values()
        if trial.top1 is not None and len(trial.curve) >= epoch
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
