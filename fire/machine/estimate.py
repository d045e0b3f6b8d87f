"""How long a microcontroller would take for one image: an estimate from published measurements. Standard library only.

cores.csv has the measurements, with sources: int8 networks whose multiply-accumulates, time and clock are known.
"""

import csv
import functools
import re
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from fire.errors import require

TABLE = Path(__file__).with_name("cores.csv")
HERTZ = {"Hz": 1, "kHz": 10**3, "MHz": 10**6, "GHz": 10**9}
CLOCK = re.compile(rf"(\d+\.?\d*|\.\d+) ?({'|'.join(HERTZ)})")


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Estimated seconds of one image in int8. low and high cover all published points of the core: `points` of them.

    seconds is the mean over these points. With a single point there is no range: low, seconds and high are equal.
    """

    seconds: float
    low: float
    high: float
    points: int


def estimated_latency(macs: float, core: str, clock_hz: float) -> Estimate:
    """Estimate how long a core takes for a network of `macs` multiply-accumulates an image.

    It needs as many cycles for a MAC as published networks on that core; its layers and memory are not considered.
    Raises SpecError for a core without a measurement, or a clock that is not above 0.
    """
    known = macs_per_cycle()
    require(core in known, "core", "one of " + ", ".join(known), core)
    require(clock_hz > 0, "clock", "above 0 Hz", clock_hz)
    seconds = [macs / (rate * clock_hz) for rate in known[core]]
    return Estimate(seconds=sum(seconds) / len(seconds), low=min(seconds), high=max(seconds), points=len(seconds))


@functools.cache
def macs_per_cycle() -> dict[str, tuple[float, ...]]:
    """The multiply-accumulates a clock cycle of each published point, by core, in the order of the table."""
    rates: dict[str, tuple[float, ...]] = {}
    with TABLE.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            cycles = float(row["milliseconds"]) * 1e-3 * float(row["megahertz"]) * 1e6
            rates[row["core"]] = (*rates.get(row["core"], ()), int(row["macs"]) / cycles)
    return rates


def hertz(text: str) -> float:
    """The frequency that a text such as "80MHz" says, in Hz. Raises SpecError for other texts."""
    found = CLOCK.fullmatch(text)
    require(found is not None, "clock", f"a number with a unit ({', '.join(HERTZ)}), such as 80MHz", text)
    assert found is not None
    number, unit = found.groups()
    return float(Decimal(number) * HERTZ[unit])
