"""The space of a search: a grid of overrides, the cost of each point, and which points keep the bounds.

A point is a number, its place in the grid. So costs and bounds of a million points are arrays.
"""

import functools
import itertools
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fire.arch import SqueezeNetSpec
from fire.cost import COSTS
from fire.cost_grid import COUNTED, FIXED, count_grid
from fire.errors import InputError, SpecError, require
from fire.fields import read
from fire.weights import formats
from sweep.config import PARTS, RunConfig
from sweep.labels import short_names
from sweep.points import Planner, Point, check_weights
from sweep.search.spec import AtMost

Codes = tuple[int, ...]  # a point's place along each axis
MOST_POINTS = 2**20
NO_BOUNDS = AtMost()
MOST_TRIES = 200  # for a neighbour that makes a choice valid
# What all points share: runs of one length are compared, on one data set, by what the network itself can do.
SHARED: dict[str, Callable[[RunConfig], Any]] = {
    "data": lambda config: config.identity["data"],
    "train.epochs": lambda config: config.train.epochs,
    "seed": lambda config: config.seed,
    "compress": lambda config: config.compress,
}


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An override's key and its choices, ascending if they are numbers.

    values: what each choice is in a configuration; None where the key chooses a group.
    """

    key: str
    choices: tuple[str, ...]
    values: tuple[Any, ...]

    @property
    def counted(self) -> str | None:
        """The setting's name if whole arrays of it are counted at once; None otherwise."""
        group, _, name = self.key.partition(".")
        return name if group == "arch" and name in COUNTED else None

    @property
    def is_recipe(self) -> bool:
        """Whether its choices are whole recipes: `train=fast,full`."""
        return self.key == "train"

    @property
    def ordered(self) -> bool:
        """Whether neighbouring choices are alike."""
        return _are_numbers(self.values)


class Space:
    """All points that the axes span on top of a configuration: `base`, its overrides.

    Raises InputError if a choice cannot be, or makes runs that are not to be compared, if there are more than a million
    points, or if none keeps the constraints.
    """

    def __init__(
        self, planner: Planner, base: Sequence[str], grid: dict[str, list[str]], at_most: AtMost = NO_BOUNDS
    ) -> None:
        self._planner = planner
        self._base = tuple(base)
        size = math.prod(len(choices) for choices in grid.values())
        require(1 <= size <= MOST_POINTS, "the space", f"of 1 to {MOST_POINTS:,} points", size)
        self.at_most = at_most
        self._points: dict[int, Point | None] = {}
        self._networks: dict[Hashable, int] = {}  # numbered as they are met
        self._numbers: dict[int, int | None] = {}  # of the points' networks
        self._describe = functools.cache(formats.describe)  # the file of weights that points start from
        self.any_point = self._valid({}, grid)
        self.axes = tuple(self._axis(key, grid) for key in grid)
        self.shape = tuple(len(axis.choices) for axis in self.axes)
        self.size = size
        self.codes: NDArray[np.int64] = np.indices(self.shape).reshape(len(self.shape), size).T
        self.costs = self._count()
        self._check_costs()
        # By the bounds; a point may still turn out to be invalid. Costs of networks that cannot be are 0 or less.
        exists = self.allowed = np.all([column > 0 for column in self.costs.values()], axis=0)
        for name, bound in at_most.bounds.items():
            self.allowed = self.allowed & (self.costs[name] <= bound)
        if not self.allowed.any():
            least = ", ".join(f"{name} {self.costs[name][exists].min():,}" for name in at_most.bounds)
            raise SpecError(
                f"search.at_most must leave a network of the space, got {', '.join(at_most.texts)} (least: {least})"
            )

    def overrides(self, index: int) -> dict[str, str]:
        """What the point sets along each axis."""
        return {axis.key: axis.choices[code] for axis, code in zip(self.axes, self.codes[index], strict=True)}

    def label(self, index: int) -> str:
        """The point for people: base_e=16 sr=0.25."""
        varied = {axis.key for axis in self.axes if len(axis.choices) > 1}
        (label,) = short_names([{key: value for key, value in self.overrides(index).items() if key in varied}])
        return label or "the only point"

    def point(self, index: int) -> Point | None:
        """The run of the point; None if it is not valid or exceeds a bound."""
        if index not in self._points:
            try:
                point = self.planned(self.overrides(index))
            except InputError:
                self._points[index] = None
            else:
                self._points[index] = None if self.at_most.broken_by(point.cost) else point
        return self._points[index]

    def network(self, index: int) -> int | None:
        """A number of the network and its recipe, which points that mean the same share; None if there is no run."""
        if index not in self._numbers:
            point = self.point(index)
            self._numbers[index] = None
            if point is not None:
                recipe = tuple(read(point.config.train).items())
                network = (point.config.arch.plan(point.config.data.channels), recipe)
                self._numbers[index] = self._networks.setdefault(network, len(self._networks))
        return self._numbers[index]

    def planned(self, overrides: Mapping[str, Any]) -> Point:
        """The run with these values, and the configuration's own otherwise. Raises InputError if there is none."""
        lines = (f"{key}={_text(value)}" for key, value in overrides.items())
        point = self._planner.point([*self._base, *lines])
        check_weights(point.config, self._describe)
        return point

    def index_of(self, config: RunConfig) -> int | None:
        """The point whose run this is; None if it is none's."""
        places: list[list[int]] = []
        for axis in self.axes:
            if axis.values[0] is None:
                places.append(list(range(len(axis.choices))))  # the key decides
                continue
            value = field_of(config, axis.key)
            if value not in axis.values:
                return None
            places.append([axis.values.index(value)])
        for codes in itertools.product(*places):
            index = int(np.ravel_multi_index(codes, self.shape)) if codes else 0
            point = self.point(index)
            if point is not None and point.key == config.key:
                return index
        return None

    def by_distance(self, codes: Codes, among: NDArray[np.bool_], random: np.random.Generator) -> Iterator[int]:
        """The points of `among`, the nearest first; ties in random order.

        Along an ordered axis the distance is the number of steps, along others whether the choice differs, both in
        units of the axis.
        """
        points = np.flatnonzero(among)
        if not len(points):
            return
        distances = np.zeros(len(points))
        for axis, code, column in zip(self.axes, codes, self.codes[points].T, strict=True):
            steps = np.abs(column - code) / max(1, len(axis.choices) - 1) if axis.ordered else (column != code)
            distances += np.sqrt(steps)  # one step along each of two axes is farther than two along one
        nearest = int(random.choice(points[distances <= distances.min() + 1e-9]))
        yield nearest
        order = np.lexsort((random.permutation(len(points)), distances.round(9)))
        yield from points[order][points[order] != nearest].tolist()

    def _axis(self, key: str, grid: dict[str, list[str]]) -> Axis:
        """The axis, each of its choices tried out. Raises InputError if one is not valid with any neighbour's."""
        planned = [(choice, self._valid({key: choice}, grid).config) for choice in grid[key]]
        for name, of in SHARED.items():
            shared = all(of(config) == of(self.any_point.config) for _, config in planned)
            own = key == name or key.startswith(f"{name}.")
            rule = "one value in a search" if own else f"one value unless {name} is set, in which these differ"
            require(shared, key, rule, ", ".join(grid[key]))
        values = [(choice, field_of(config, key)) for choice, config in planned]
        if len({value if value is not None else choice for choice, value in values}) < len(values):
            raise SpecError(f"{key} must have distinct choices, got {', '.join(grid[key])}")
        if _are_numbers(value for _, value in values):
            values.sort(key=lambda pair: pair[1])
        return Axis(key=key, choices=tuple(c for c, _ in values), values=tuple(v for _, v in values))

    def _valid(self, fixed: dict[str, str], grid: dict[str, list[str]]) -> Point:
        """A valid point with these choices: the rest as configured, or with one or two of the grid's other choices."""
        others = [(key, choice) for key, choices in grid.items() if key not in fixed for choice in choices]
        first_error: InputError | None = None
        changes = itertools.chain.from_iterable(itertools.combinations(others, count) for count in (0, 1, 2))
        for changed in itertools.islice(changes, MOST_TRIES):
            try:
                return self.planned({**dict(changed), **fixed})
            except InputError as error:
                first_error = first_error or error
        assert first_error is not None
        raise first_error

    def _count(self) -> dict[str, NDArray[np.int64]]:
        """The costs of all points, arrays of shape (size,), by their names in COSTS."""
        costs = {name: np.zeros(self.size, np.int64) for name in COSTS}
        # The other axes of the network, such as its group: each combination is planned. Recipes cost nothing.
        outer = [i for i, axis in enumerate(self.axes) if axis.key.startswith("arch") and axis.counted is None]
        grid = {axis.key: list(axis.choices) for axis in self.axes}
        for codes in itertools.product(*(range(self.shape[i]) for i in outer)):
            rows = np.flatnonzero((self.codes[:, outer] == codes).all(axis=1))
            fixed = {self.axes[i].key: self.axes[i].choices[code] for i, code in zip(outer, codes, strict=True)}
            try:
                config = self._valid(fixed, grid).config
            except InputError:
                continue  # choices that exclude each other: each point will turn out not to be valid
            counted: Any = config.cost
            if isinstance(config.arch, SqueezeNetSpec):
                settings = {name: getattr(config.arch, name) for name in (*COUNTED, *FIXED)}
                columns = zip(self.axes, self.codes[rows].T, strict=True)
                settings |= {axis.counted: np.array(axis.values)[column] for axis, column in columns if axis.counted}
                counted = count_grid(**settings, image_size=config.data.image_size, channels=config.data.channels)
            for name, column in costs.items():
                column[rows] = getattr(counted, name)
        return costs

    def _check_costs(self) -> None:
        """Raise SpecError where the arrays miss the cost of a choice: another setting is interpolated from it."""
        for place, axis in enumerate(self.axes):
            for code in range(len(axis.choices)):
                codes = [code if other == place else 0 for other in range(len(self.axes))]
                index = int(np.ravel_multi_index(codes, self.shape))
                try:
                    cost = self.planned(self.overrides(index)).cost
                except InputError:
                    continue
                agrees = all(getattr(cost, name) == self.costs[name][index] for name in COSTS)
                require(agrees, "the axes", "settings that no other setting is interpolated from", self.label(index))


def field_of(config: RunConfig, key: str) -> Any:
    """The configuration's value of an override's key; None if the key chooses a group, or the family lacks it."""
    part, _, name = key.rpartition(".")
    return getattr(getattr(config, part) if part in PARTS else config, name, None) if key not in PARTS else None


def _are_numbers(values: Iterable[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
