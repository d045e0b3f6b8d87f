"""Hydra finds plugins in a namespace package of this name only; what they do is in sweep/."""

from sweep.launcher import LocalLauncher as _LocalLauncher
from sweep.sweepers import StoreSweeper as _StoreSweeper


class StoreSweeper(_StoreSweeper):
    """hydra/sweeper=store"""


class LocalLauncher(_LocalLauncher):
    """hydra/launcher=local"""
