"""A small space that the tests of searches share."""

import functools

from sweep.search.space import Space
from sweep.search.spec import AtMost
from tests.sweeping import TINY, planner

GRID = {
    "arch.base_e": ["8", "16", "32"],
    "arch.sr": ["0.25", "0.125", "1.0"],
    "arch.pct_3x3": ["0.25", "0.75"],
    "arch.bypass": ["none", "simple", "complex"],
    "arch.fires": ["4", "8"],
}
BASE = [*TINY, "arch.sr=0.25", "arch.pct_3x3=0.25", "arch.fires=4"]


@functools.cache
def space(**at_most: float) -> Space:
    """A space of 108 points."""
    return Space(planner(), BASE, GRID, AtMost(**at_most))
