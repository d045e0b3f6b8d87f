"""From the command line to durable rows: configuration, runs, the store, sweeps."""

import importlib.util
from pathlib import Path

_fire = importlib.util.find_spec("fire")
if _fire is None or _fire.origin is None or Path(_fire.origin).parents[1] != Path(__file__).parents[1]:
    raise ImportError(
        "`import fire` finds another package than the one beside sweep/ (python-fire has this name too): "
        "run from the checkout, in its own environment (make setup)"
    )
