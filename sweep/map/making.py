"""Makes a map: fits the finished runs, expects the accuracy of every point, and checks itself on held-out networks."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fire.cost import COSTS
from fire.errors import require
from sweep.config import RunConfig
from sweep.labels import file_name
from sweep.map import trained as runs
from sweep.map.grid import Grid
from sweep.map.stored import Map, Network, Plane
from sweep.map.surrogate import COLUMNS, LEAST_NETWORKS, Columns, Encoder, Expectation, Floats, Surrogate
from sweep.map.trained import Trained
from sweep.record import Record
from sweep.search.spec import AtMost

BEST, NEXT = 10, 5  # networks in the lists of a map
SAMPLE = 1024  # points among which the runs that narrow the band are chosen
MOST_TRIES = 20_000  # points that are looked at for BEST that are networks
FOLDS = 5  # of the networks, each held out once, to check the map
DIGITS = 6  # of accuracies in the file
NO_BOUNDS = AtMost()


class Check(NamedTuple):
    """Of networks that were held out: how many, the part within the band, and Kendall's tau of their order."""

    networks: int
    coverage: float | None = None
    tau: float | None = None


class Fitted:
    """The trained networks, the grid that they span, and the surrogate that expects its accuracies.

    costs: of all points, by their names in COSTS. possible: shape (points,), where they are those of a network.
    plans: of all trained networks, fitted or not, since several settings can mean one network.
    """

    def __init__(self, trained: Trained) -> None:
        self.trained, self.grid = trained, Grid(trained)
        self.plans = {_plan(config) for config in (*trained.configs, *trained.others)}
        self.costs = self.grid.costs(self.grid.settings, COSTS)
        self.possible: NDArray[np.bool_] = np.all([column > 0 for column in self.costs.values()], axis=0)
        self.encoder = Encoder(self.columns(np.flatnonzero(self.possible)))
        self.features = self.encoder.matrix(runs.columns(trained.configs, self.grid.axes))
        self._surrogate = Surrogate(self.features, trained.top1, self.encoder.costs)

    def columns(self, points: NDArray[np.intp]) -> Columns:
        """What the surrogate knows of these points of the grid."""
        costs = {name: self.costs[name][points] for name in COLUMNS}
        return costs | {name: column[points] for name, column in self.grid.settings.items()}

    def expect(self, columns: Columns) -> Expectation:
        """The expectation of networks with these costs and settings."""
        return self._surrogate.expect(self.encoder.matrix(columns))

    def narrowing(self, points: NDArray[np.intp], count: int) -> NDArray[np.intp]:
        """The points whose runs would narrow the band over all of these most, the best first."""
        best = self._surrogate.narrowing(self.encoder.matrix(self.columns(points)))
        return points[list(itertools.islice(best, count))]


def make(records: Iterable[Record], words: Sequence[str] = (), at_most: AtMost = NO_BOUNDS) -> Map:
    """The map of the space that the finished SqueezeNets among the records span.

    words: settings that choose among the runs, such as data=digits. at_most: bounds on the networks that it lists.
    Raises InputError for too few runs, for runs of several data sets or recipes, and for bounds that no point keeps.
    """
    fitted = Fitted(runs.trained(records, words))
    grid = fitted.grid
    allowed = fitted.possible.copy()
    for name, bound in at_most.bounds.items():
        allowed &= fitted.costs[name] <= bound
    points = np.flatnonzero(allowed)
    require(len(points) > 0, "the bounds", "such that a network of the space keeps them", ", ".join(at_most.texts))
    expected = fitted.expect(fitted.columns(points))
    checked = check(fitted.features, fitted.trained.top1, fitted.encoder.costs)
    return Map(
        name=_name(grid.base.data.name, words, at_most),
        data=grid.base.identity["data"],
        train=grid.base.identity["train"],
        keys=list(fitted.trained.keys),
        finished=len(fitted.trained.keys) + fitted.trained.left_out,
        axes=grid.axes,
        fixed=fitted.trained.fixed,
        typical={name: vars(grid.base.arch)[name] for name in grid.axes},
        at_most=at_most.bounds,
        points=len(points),
        width=_rounded((expected.high - expected.low).mean()),
        coverage=checked.coverage,
        tau=checked.tau,
        held_out=checked.networks,
        planes=[_plane(fitted, x, y) for x, y in _pairs(grid.axes)],
        best=_best(fitted, points, expected),
        next=_next(fitted, points),
    )


def check(features: Floats, top1: Floats, costs: int) -> Check:
    """Expect each network from those of the other folds. No check where these would be too few."""
    from scipy.stats import kendalltau  # here: takes a second

    folds = np.random.default_rng(0).permutation(len(top1)) % FOLDS
    if len(top1) - np.bincount(folds).max() < LEAST_NETWORKS:
        return Check(0)
    middle, inside = np.empty(len(top1)), np.empty(len(top1), bool)
    for fold in range(FOLDS):
        out = folds == fold
        expected = Surrogate(features[~out], top1[~out], costs).expect(features[out])
        middle[out] = expected.top1
        inside[out] = (expected.low <= top1[out]) & (top1[out] <= expected.high)
    tau = float(kendalltau(middle, top1).statistic)
    return Check(len(top1), _rounded(inside.mean()), None if np.isnan(tau) else _rounded(tau))


def _best(fitted: Fitted, points: NDArray[np.intp], expected: Expectation) -> list[Network]:
    """The BEST networks of the highest expected accuracy; points that mean one network count once."""
    found: dict[object, Network] = {}
    order = np.argsort(-expected.top1, kind="stable")[:MOST_TRIES]
    for place in order.tolist():
        settings = fitted.grid.at(points[place])
        config = fitted.grid.config(settings)
        if config is not None:
            of_point = Expectation(*(column[place] for column in expected))
            found.setdefault(_plan(config), _network(fitted, config, settings, of_point))
        if len(found) == BEST:
            break
    return list(found.values())


def _next(fitted: Fitted, points: NDArray[np.intp]) -> list[Network]:
    """The NEXT networks that were not trained and whose runs would narrow the band over a SAMPLE of points most."""
    sample = np.random.default_rng(0).permutation(points)[:SAMPLE]
    new: dict[object, tuple[int, RunConfig]] = {}
    for point in sample.tolist():
        config = fitted.grid.config(fitted.grid.at(point))
        if config is not None and (plan := _plan(config)) not in fitted.plans:
            new.setdefault(plan, (point, config))
    if not new:
        return []
    configs = dict(new.values())
    chosen = fitted.narrowing(np.array(list(configs), np.intp), NEXT)
    expected = np.array(fitted.expect(fitted.columns(chosen)))
    found = []
    for point, values in zip(chosen.tolist(), expected.T, strict=True):
        found.append(_network(fitted, configs[point], fitted.grid.at(point), Expectation(*values)))
    return found


def _plan(config: RunConfig) -> object:
    """The layers of the network."""
    return config.arch.plan(config.data.channels)


def _network(fitted: Fitted, config: RunConfig, settings: Mapping[str, Any], expected: Expectation) -> Network:
    top1, low, high = (_rounded(value) for value in expected)
    costs = {name: getattr(config.cost, name) for name in ("parameters", "macs", "peak_ram_bytes", "flash_bytes")}
    trained = _plan(config) in fitted.plans
    return Network(key=config.key, settings=dict(settings), top1=top1, low=low, high=high, trained=trained, **costs)


def _plane(fitted: Fitted, x: str, y: str) -> Plane:
    """The networks over two axes."""
    settings = fitted.grid.plane(x, y)
    points = [{name: column[place].item() for name, column in settings.items()} for place in range(len(settings[x]))]
    exists = np.array([fitted.grid.config(point) is not None for point in points])
    shown = {name: column[exists] for name, column in settings.items()}
    costs = fitted.grid.costs(shown, COLUMNS)
    expected = fitted.expect(costs | shown)
    shape = (len(fitted.grid.axes[y]), len(fitted.grid.axes[x]))

    def table(values: NDArray[Any]) -> list[list[Any]]:
        """The values where there is a network, rows of y."""
        whole = np.full(len(exists), None, object)
        whole[exists] = [value if isinstance(value, int) else _rounded(value) for value in values.tolist()]
        rows: list[list[Any]] = whole.reshape(shape).tolist()
        return rows

    return Plane(
        x=x,
        y=y,
        top1=table(expected.top1),
        low=table(expected.low),
        high=table(expected.high),
        macs=table(costs["macs"]),
        peak_ram_bytes=table(costs["peak_ram_bytes"]),
    )


def _pairs(axes: Iterable[str]) -> Iterator[tuple[str, str]]:
    """All pairs of axes, SR by pct_3x3 first, as in the paper's figure 3."""
    first = [name for name in ("sr", "pct_3x3") if name in axes]
    yield from itertools.combinations([*first, *(name for name in axes if name not in first)], 2)


def _name(data: str, words: Iterable[str], at_most: AtMost) -> str:
    """The name of the map's file: the data set, the other words that chose its runs, and the bounds."""
    bounds = (text.replace("<", "") for text in at_most.texts)
    return file_name([data, *(word for word in words if not word.startswith("data=")), *bounds])


def _rounded(value: Any) -> float:
    return round(float(value), DIGITS)
