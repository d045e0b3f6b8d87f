"""Amounts as people write them, 48KiB or 12.51M, and the short names of costs. Standard library only."""

import argparse
import re
from contextlib import suppress
from decimal import Decimal

from fire.cost import COSTS
from fire.errors import SpecError, require
from sweep.search.spec import AtMost

# KB is read as kB: a network that keeps 64,000 bytes also fits into 64 KiB.
BYTES = {"B": 1, "kB": 10**3, "KB": 10**3, "KiB": 2**10, "MB": 10**6, "MiB": 2**20, "GB": 10**9, "GiB": 2**30}
COUNTS = {"k": 10**3, "M": 10**6, "G": 10**9}
WITH_UNIT = re.compile(r"((?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?) ?([A-Za-z]+)")
SHORT = {name.removesuffix("_bytes"): name for name in COSTS}  # peak_ram is peak_ram_bytes


def amount(cost: str, text: str, field: str) -> float:
    """The amount of a cost, one of COSTS, that the text says: a number, or a number with a unit of BYTES or COUNTS.

    field: the name in the message of the SpecError that is raised for any other text.
    """
    units = BYTES if cost.endswith("_bytes") else COUNTS
    found = WITH_UNIT.fullmatch(text)
    with suppress(ValueError, ArithmeticError):
        if found and found[2] in units:
            return float(Decimal(found[1]) * units[found[2]])  # 12.51 times 1e6 is no whole number in binary
        return float(text)
    raise SpecError(f"{field} must be a number, with a unit of {', '.join(units)} or without, got {text!r}")


MOST = (
    f"MOST is a number, in bytes also with a unit ({', '.join(BYTES)}), else with {', '.join(COUNTS)}: 48KiB, 12.51M."
)


def add_bounds(parser: argparse.ArgumentParser) -> None:
    """Give the parser an option for each cost: --peak-ram MOST and the others. MOST says what they take."""
    for short, cost in SHORT.items():
        flags = dict.fromkeys(f"--{name.replace('_', '-')}" for name in (short, cost))
        parser.add_argument(*flags, dest=cost, metavar="MOST", help=f"upper bound on {cost}")


def bounds_of(given: argparse.Namespace) -> AtMost:
    """The bounds among parsed arguments. Raises SpecError for text that is no amount."""
    texts = {cost: (f"--{short.replace('_', '-')}", getattr(given, cost)) for short, cost in SHORT.items()}
    bounds = {cost: amount(cost, text, flag) for cost, (flag, text) in texts.items() if text is not None}
    for cost, bound in bounds.items():
        require(bound > 0, texts[cost][0], "above 0", texts[cost][1])
    return AtMost(**bounds)
