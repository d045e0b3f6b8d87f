"""A map as the guide of a search: the runs that would narrow its band, and the networks to begin with."""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fire.cost import COSTS
from fire.errors import require, unknown
from fire.stats import pareto_front
from sweep.map import stored, trained
from sweep.map.surrogate import COLUMNS, Columns, Encoder, Floats, Surrogate, thinned
from sweep.search.space import Axis, Codes, Space, field_of
from sweep.search.spec import SearchSpec
from sweep.store import Store

BEGIN_WITH = 10  # networks
MOST_TRIES = 50  # points of a class of cost, for one that is a network


class Steps(NamedTuple):
    """The best accuracy so far at each cost: `top1` from the cost `starts` to the cost `ends`; shapes (steps,)."""

    starts: Floats
    ends: Floats
    top1: Floats


def steps(costs: Floats, top1: Floats, most: float) -> Steps:
    """The steps of networks with these costs, in any unit, and accuracies, fractions of 1, up to the cost `most`.

    Below the cheapest network the accuracy is a tenth of the range less than the worst, so that the worst counts, too.
    """
    front = pareto_front(np.column_stack([costs, -top1]))
    order = np.argsort(costs[front], kind="stable")
    edges, best = costs[front][order], top1[front][order]
    worst = top1.min() - np.ptp(top1) / 10
    return Steps(np.append(-np.inf, edges), np.append(edges, most), np.append(worst, best))


class Guide:
    """A map of the allowed points of a space, from observed accuracies."""

    def __init__(self, space: Space, points: NDArray[np.intp], top1: Floats) -> None:
        self._space = space
        chosen = thinned(len(points))
        self._surrogate = Surrogate(_features(space, points[chosen]), top1[chosen], _encoder(space).costs)

    def width(self, points: NDArray[np.intp]) -> float:
        """How wide the band of these points is, the mean, a fraction of 1."""
        expected = self._surrogate.expect(_features(self._space, points))
        return float((expected.high - expected.low).mean())

    def expected(self, points: NDArray[np.intp]) -> Floats:
        """The expected accuracy of these points, fractions of 1."""
        return self._surrogate.expect(_features(self._space, points)).top1

    def improvement(self, points: NDArray[np.intp], costs: Floats, steps: Steps) -> Floats:
        """The hypervolume that a run of each of these points, of these costs, is expected to add to that of the steps.

        Shape (points,), in the unit of the costs. Emmerich, Giannakoglou and Naujoks 2006, "Single- and multiobjective
        evolutionary optimization assisted by Gaussian random field metamodels", where one objective is known.
        """
        widths = np.maximum(0, steps.ends - np.maximum(steps.starts, costs[:, None]))
        found: Floats = (widths * self._surrogate.above(_features(self._space, points), steps.top1)).sum(axis=1)
        return found

    def narrowing(self, points: NDArray[np.intp], under_way: Sequence[Codes]) -> Iterator[int]:
        """These points, first those whose runs would narrow the band over all of them most."""
        running = _features(self._space, points_of(self._space, under_way))
        for place in self._surrogate.narrowing(_features(self._space, points), running):
            yield int(points[place])


@functools.lru_cache(maxsize=1)  # a round of proposals has the same observations
def guide(space: Space, observed: tuple[tuple[Codes, float], ...]) -> Guide:
    """The guide from these points, by their codes, with their accuracies."""
    top1 = np.array([accuracy for _, accuracy in observed])
    return Guide(space, points_of(space, [codes for codes, _ in observed]), top1)


def possible(space: Space) -> NDArray[np.bool_]:
    """Shape (space.size,): the points that keep the bounds and whose costs can be."""
    found: NDArray[np.bool_] = np.all([space.allowed, *(space.costs[name] > 0 for name in COLUMNS)], axis=0)
    return found


def beginning(space: Space, spec: SearchSpec, store: Store) -> tuple[int, ...]:
    """The points that a search tries first: spec.warm_start.

    Raises InputError if the store has no map of the data set and the recipe of the search.
    """
    match spec.warm_start:
        case "none":
            return ()
        case "map":
            identity = space.any_point.config.identity
            maps = [
                made
                for made in stored.read_all(store.root)
                if (made.data, made.train) == (identity["data"], identity["train"])
            ]
            rule = "none where the results have no map of this data set and recipe (python -m analysis map RESULTS)"
            require(bool(maps), "search.warm_start", rule, spec.warm_start)
            keys = max(maps, key=lambda made: len(made.keys)).keys
            records = [record for key in keys if (record := store.read(key)) is not None]
            return tuple(best(space, spec, trained.trained(records)))
        case other:
            raise unknown("search.warm_start", other)


def best(space: Space, spec: SearchSpec, known: trained.Trained) -> Iterator[int]:
    """The points expected best: one for each of BEGIN_WITH classes of the cost that is an objective.

    Without such an objective, BEGIN_WITH points.
    """
    points = np.flatnonzero(possible(space))
    runs = {name: np.array([getattr(config.cost, name) for config in known.configs]) for name in COLUMNS}
    runs |= {axis.key: np.array([field_of(config, axis.key) for config in known.configs]) for axis in _single(space)}
    columns = _columns(space, points)
    encoder = Encoder({name: np.concatenate([column, runs[name]]) for name, column in columns.items()})
    expected = Surrogate(encoder.matrix(runs), known.top1, encoder.costs).expect(encoder.matrix(columns)).top1
    order = points[np.argsort(-expected, kind="stable")]
    cost = next((name for name in spec.objectives if name in COSTS), None)
    if cost is None:
        yield from _networks(space, order, BEGIN_WITH)
        return
    logarithm = np.log(space.costs[cost][order])
    edges = np.linspace(logarithm.min(), logarithm.max(), BEGIN_WITH + 1)[1:-1]
    classes = np.digitize(logarithm, edges)
    for number in range(BEGIN_WITH):
        yield from _networks(space, order[classes == number], 1)


def _networks(space: Space, points: NDArray[np.intp], count: int) -> Iterator[int]:
    """The first `count` of the points that are networks, no two the same."""
    found: set[int] = set()
    for point in points[: count * MOST_TRIES].tolist():
        network = space.network(point)
        if network is not None and network not in found and len(found) < count:
            found.add(network)
            yield point


def points_of(space: Space, codes: Sequence[Codes]) -> NDArray[np.intp]:
    """The points with these codes, of shape (codes,)."""
    return np.array([np.ravel_multi_index(each, space.shape) for each in codes], np.intp)


def _single(space: Space) -> list[Axis]:
    """The axes of single settings: what a choice of arch means is in the costs."""
    return [axis for axis in space.axes if axis.values[0] is not None]


def _columns(space: Space, points: NDArray[np.intp]) -> Columns:
    """What a map of networks learns from, of these points."""
    codes = _codes(space, points)
    along = {axis.key: np.array(axis.values)[codes[axis.key]] for axis in _single(space)}
    return {name: space.costs[name][points] for name in COLUMNS} | along


def _recipes(space: Space, points: NDArray[np.intp]) -> Columns:
    """The recipes of these points, where they vary: no cost says which it is."""
    codes = _codes(space, points)
    return {axis.key: np.array(axis.choices)[codes[axis.key]] for axis in space.axes if axis.is_recipe}


def _codes(space: Space, points: NDArray[np.intp]) -> dict[str, NDArray[np.int64]]:
    """The places of these points along each axis, by its key; each of shape (points,)."""
    return dict(zip((axis.key for axis in space.axes), space.codes[points].T, strict=True))


@functools.lru_cache(maxsize=1)
def _encoder(space: Space) -> Encoder:
    points = np.flatnonzero(possible(space))
    return Encoder({**_columns(space, points), **_recipes(space, points)})


def _features(space: Space, points: NDArray[np.intp]) -> Floats:
    return _encoder(space).matrix({**_columns(space, points), **_recipes(space, points)})
