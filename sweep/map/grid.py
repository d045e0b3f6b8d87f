"""The points that a map is of: all networks that the values of the trained ones span, with what they cost."""

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fire.arch import SqueezeNetSpec
from fire.cost_grid import COUNTED, FIXED, count_grid
from fire.errors import InputError
from sweep.config import RunConfig
from sweep.map.surrogate import Columns
from sweep.map.trained import Trained

MOST_POINTS = 2**20  # of a larger space as many are drawn at random
STEPS = 16  # to 1, of a metaparameter that is a fraction
MOST_VALUES = 64  # of a metaparameter


class Grid:
    """Points on top of a network, `base`: every combination of the axes' values, or MOST_POINTS drawn at random.

    axes: the values of each varied metaparameter. settings: of the points, by the names of the axes.
    """

    def __init__(self, trained: Trained, most: int = MOST_POINTS) -> None:
        self.base = trained.typical
        self.axes = {name: axis_values(values) for name, values in trained.varied.items()}
        lengths = [len(values) for values in self.axes.values()]
        if math.prod(lengths) <= most:
            codes = np.indices(lengths).reshape(len(lengths), -1)
        else:
            random = np.random.default_rng(0)
            codes = np.stack([random.integers(length, size=most) for length in lengths])
        self.settings = {name: np.array(self.axes[name])[row] for name, row in zip(self.axes, codes, strict=True)}

    def at(self, point: int) -> dict[str, Any]:
        """The settings of a point."""
        return {name: column[point].item() for name, column in self.settings.items()}

    def plane(self, x: str, y: str) -> dict[str, NDArray[Any]]:
        """The settings of the points of two axes, the others as `base` has them; x is the inner loop."""
        ys, xs = np.meshgrid(np.array(self.axes[y]), np.array(self.axes[x]), indexing="ij")
        base = vars(self.base.arch)
        others = {name: np.full(xs.size, base[name]) for name in self.axes}
        return others | {x: xs.ravel(), y: ys.ravel()}

    def costs(self, settings: Columns, names: Iterable[str]) -> dict[str, NDArray[np.int64]]:
        """These costs, names of fire.cost.COSTS, of networks with such settings, by the closed form.

        A cost that cannot be, as where the images are too small, is 0.
        """
        names, size = tuple(names), len(next(iter(settings.values())))
        found = {name: np.zeros(size, np.int64) for name in names}
        looped = [name for name in settings if name in FIXED]
        for values in itertools.product(*(self.axes[name] for name in looped)):
            fixed = dict(zip(looped, values, strict=True))
            rows = np.all(
                [settings[name] == value for name, value in fixed.items()] or np.ones((1, size), bool), axis=0
            )
            known = {name: vars(self.base.arch)[name] for name in (*COUNTED, *FIXED)} | fixed
            along = {name: column[rows] for name, column in settings.items() if name in COUNTED}
            data = self.base.data
            counted = count_grid(**known | along, image_size=data.image_size, channels=data.channels)
            for name in names:
                found[name][rows] = np.maximum(0, getattr(counted, name))
        return found

    def config(self, settings: Mapping[str, Any]) -> RunConfig | None:
        """The run of the network with these settings; None if there is no such network."""
        assert isinstance(self.base.arch, SqueezeNetSpec)
        try:
            config = replace(self.base, arch=replace(self.base.arch, **settings))
            _ = config.cost  # for which the images may be too small
        except InputError:
            return None
        return config


def axis_values(trained: list[Any]) -> list[Any]:
    """The trained values; of fractions also the sixteenths between them. At most MOST_VALUES, both ends among them."""
    values = trained
    if isinstance(trained[0], float):
        between = range(math.ceil(STEPS * min(trained)), math.floor(STEPS * max(trained)) + 1)
        values = sorted({*trained, *(step / STEPS for step in between)})
    places = np.unique(np.linspace(0, len(values) - 1, min(len(values), MOST_VALUES)).astype(int))
    return [values[place] for place in places]
