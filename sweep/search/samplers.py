"""How a search chooses the next network to try: at random, in the grid's order, as Optuna or a map proposes.

A sampler keeps nothing between calls: the same observations and the same generator give the same answer.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweep.map.making import SAMPLE
from sweep.map.surrogate import LEAST_NETWORKS, Floats
from sweep.search import guided
from sweep.search.halving import best_first
from sweep.search.searcher import Observation
from sweep.search.space import Axis, Codes, Space
from sweep.search.spec import SearchSpec

ASKS = 2  # of Optuna, before the point nearest to its last answer is taken
STARTUP = 10  # networks that are drawn at random before TPE has a model
POPULATION = 20  # parents of NSGA-II
ROUND = 5  # runs that follow one map
REFIT = 20  # a map is fitted again once a REFIT-th more runs have ended
CANDIDATES = 2**14  # points among which the one with the most to gain is looked for


class Question(NamedTuple):
    """The points that a sampler chooses from, and what it learns from.

    untried: shape (space.size,), the points to choose from. observations: in the order in which their runs ended, then
    those that run. spec: the search's, whose objectives the losses are.
    """

    space: Space
    untried: NDArray[np.bool_]
    observations: Sequence[Observation]
    generator: np.random.Generator
    spec: SearchSpec = SearchSpec()


Sampler = Callable[[Question], Iterator[int]]  # yields untried points, the best first


def grid(question: Question) -> Iterator[int]:
    """The points in their order in the grid."""
    yield from np.flatnonzero(question.untried).tolist()


def random(question: Question) -> Iterator[int]:
    """The points in random order."""
    yield from question.generator.permutation(np.flatnonzero(question.untried)).tolist()


def tpe(question: Question) -> Iterator[int]:
    """Optuna's tree-structured Parzen estimator."""
    seed = int(question.generator.integers(2**31))
    # constant_liar: running points count as bad ones, so two workers are not sent to one place.
    sampler = TPESampler(seed=seed, constant_liar=True, multivariate=True, n_startup_trials=STARTUP)
    study = _study(sampler, question)
    study.add_trials(_trial(question.space.axes, codes, losses) for codes, losses in question.observations)
    yield from nearest_untried(question, _asked(study, question.space.axes))


def nsga2(question: Question) -> Iterator[int]:
    """Optuna's NSGA-II, one child at a time: its parents are the best of all observations, by rank and crowding."""
    ended = [(codes, losses) for codes, losses in question.observations if losses is not None]
    parents = [ended[place] for place in best_first([losses for _, losses in ended])[:POPULATION]]
    sampler = NSGAIISampler(seed=int(question.generator.integers(2**31)), population_size=POPULATION)
    study = _study(sampler, question)
    for number, (codes, losses) in enumerate(parents):
        study.add_trial(_trial(question.space.axes, codes, None))
        sampler.get_trial_generation(study, study.trials[number])  # makes it one of the first generation
        study.tell(number, losses)
    yield from nearest_untried(question, _asked(study, question.space.axes))


def narrowing(question: Question) -> Iterator[int]:
    """The points whose runs would narrow the band of a map most; none once it is as narrow as asked.

    A round of runs follows one map. Until there are enough runs for a map, random points.
    """
    space, spec, generator = question.space, question.spec, question.generator
    points = np.flatnonzero(question.untried & guided.possible(space))
    ended = [(codes, losses) for codes, losses in question.observations if losses is not None]
    rounds = (len(ended) - LEAST_NETWORKS) // ROUND
    if rounds >= 0 and len(points):
        fitted = LEAST_NETWORKS + rounds * ROUND
        place = spec.objectives.index("top1")
        guide = guided.guide(space, tuple((codes, -losses[place]) for codes, losses in ended[:fitted]))
        sample = generator.permutation(points)[:SAMPLE]
        if spec.band and guide.width(sample) <= spec.band:
            return
        tried = {codes for codes, _ in ended[:fitted]}
        yield from guide.narrowing(sample, [codes for codes, _ in question.observations if codes not in tried])
    yield from generator.permutation(points).tolist()


def ehvi(question: Question) -> Iterator[int]:
    """The points whose runs are expected to add most hypervolume for what their training costs.

    What a network costs is known; a map of the runs so far says how accurate it may be. The first networks are cheap
    ones, and the cost of training counts the less the more of the budget is spent: Lee et al. 2020, "Cost-aware
    Bayesian optimization", arXiv:2003.10870.
    """
    space, spec, generator = question.space, question.spec, question.generator
    points = generator.permutation(np.flatnonzero(question.untried & guided.possible(space)))
    macs = space.costs["macs"].astype(float)
    ended = [(codes, losses) for codes, losses in question.observations if losses is not None]
    tried = len(question.observations)
    if len(ended) < LEAST_NETWORKS:
        cheap = points[np.argsort(macs[points], kind="stable")][: len(points) // 2]
        yield from generator.permutation(np.array_split(cheap, LEAST_NETWORKS)[tried % LEAST_NETWORKS]).tolist()
    elif len(points):
        place = spec.objectives.index("top1")
        guide = guided.guide(space, tuple((codes, -losses[place]) for codes, losses in ended[: _fitted(len(ended))]))
        known = guided.points_of(space, [codes for codes, _ in ended])
        running = guided.points_of(space, [codes for codes, losses in question.observations if losses is None])
        top1 = np.array([-losses[place] for _, losses in ended])
        cost = _cost(question)
        steps = guided.steps(
            cost[np.concatenate([known, running])],
            np.concatenate([top1, guide.expected(running)]),  # what runs is expected to end as the map says
            cost[space.allowed].max() + (np.ptp(cost[space.allowed]) / 10 or 1),  # also if none is an objective
        )
        sample = points[:CANDIDATES]
        gain = guide.improvement(sample, cost[sample], steps)
        yield from sample[np.argsort(-gain / macs[sample] ** max(0, 1 - tried / spec.budget_runs))].tolist()
    yield from points.tolist()


def _fitted(ended: int) -> int:
    """How many of the runs that have ended are in the map of ehvi, which is fitted again to a REFIT-th more."""
    fitted = LEAST_NETWORKS
    while (following := fitted + max(1, fitted // REFIT)) <= ended:
        fitted = following
    return fitted


def _cost(question: Question) -> Floats:
    """Shape (space.size,): the logarithm of the cost that is an objective; of several, one that is drawn.

    Where a latency is the only one, MACs stand for it: it is not known before a network is built and timed.
    """
    names = [name for name in question.spec.objectives if name != "top1"]
    if not names:
        return np.zeros(question.space.size)
    known = [name for name in names if name != "latency"] or ["macs"]
    chosen = question.space.costs[known[question.generator.integers(len(known))]]
    logarithm: Floats = np.log(np.maximum(1, chosen.astype(float)))
    return logarithm


SAMPLERS: dict[str, Sampler] = {
    "ehvi": ehvi,
    "tpe": tpe,
    "nsga2": nsga2,
    "random": random,
    "grid": grid,
    "map": narrowing,
}


def nearest_untried(question: Question, proposals: Iterator[Codes]) -> Iterator[int]:
    """The first few proposals that are untried, then all untried points by their distance from the last proposal.

    Further proposals would lie in the same region, where most points may be names of networks already tried.
    """
    for codes in itertools.islice(proposals, ASKS):
        point = int(np.ravel_multi_index(codes, question.space.shape))
        if question.untried[point]:
            yield point
    yield from question.space.by_distance(codes, question.untried, question.generator)


class _Places(IntDistribution):
    """A distribution that is not copied: Optuna copies each trial deeply, which would take half of the time."""

    def __deepcopy__(self, memo: object) -> "_Places":
        return self


class _Choices(CategoricalDistribution):
    """Categories that are not copied either."""

    def __deepcopy__(self, memo: object) -> "_Choices":
        return self


@functools.cache
def _distributions(axes: tuple[Axis, ...]) -> dict[str, BaseDistribution]:
    """Places along each axis: as numbers where neighbours are alike."""
    return {
        axis.key: _Places(0, len(axis.choices) - 1) if axis.ordered else _Choices(tuple(range(len(axis.choices))))
        for axis in axes
    }


@functools.lru_cache(2**14)  # each ask has the observations of the last one and a few more
def _trial(axes: tuple[Axis, ...], codes: Codes, losses: tuple[float, ...] | None) -> FrozenTrial:
    """The observation as Optuna's; adding it to a study copies it."""
    distributions = _distributions(axes)
    return create_trial(
        state=TrialState.RUNNING if losses is None else TrialState.COMPLETE,
        values=losses,
        params=dict(zip(distributions, codes, strict=True)),
        distributions=distributions,
    )


def _study(sampler: BaseSampler, question: Question) -> optuna.Study:
    """A study without trials, for as many objectives as the observations have."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would print a line for each study
    objectives = next((len(losses) for _, losses in question.observations if losses is not None), 1)
    return optuna.create_study(directions=["minimize"] * objectives, sampler=sampler)


def _asked(study: optuna.Study, axes: tuple[Axis, ...]) -> Iterator[Codes]:
    """The points that the study proposes, without end."""
    while True:
        yield tuple(study.ask(_distributions(axes)).params.values())
