"""Hydra finds plugins in a namespace package of this name only; what they do is in sweep/."""

from sweep.grid import StoreSweeper as _StoreSweeper
from sweep.launcher import LocalLauncher as _LocalLauncher
from sweep.launcher import RayLauncher as _RayLauncher
from sweep.launcher import SlurmLauncher as _SlurmLauncher


class StoreSweeper(_StoreSweeper):
    """hydra/sweeper=store"""


class SearchSweeper(_StoreSweeper):
    """hydra/sweeper=search"""

    def sweep(self, arguments: list[str]) -> None:
        """Search, as sweep.search.sweeper does."""
        from sweep.search.sweeper import search  # here, as Hydra imports this module for --help, too: numpy takes long

        search(self, arguments)


class LocalLauncher(_LocalLauncher):
    """hydra/launcher=local"""


class RayLauncher(_RayLauncher):
    """hydra/launcher=ray"""


class SlurmLauncher(_SlurmLauncher):
    """hydra/launcher=slurm"""
