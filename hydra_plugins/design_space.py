"""Hydra finds plugins in a namespace package of this name only; what they do is in sweep/."""

from sweep.grid import StoreSweeper as _StoreSweeper
from sweep.launcher import LocalLauncher as _LocalLauncher
from sweep.search.sweeper import SearchSweeper as _SearchSweeper


class StoreSweeper(_StoreSweeper):
    """hydra/sweeper=store"""


class SearchSweeper(_SearchSweeper):
    """hydra/sweeper=search"""


class LocalLauncher(_LocalLauncher):
    """hydra/launcher=local"""
