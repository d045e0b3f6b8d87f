"""The horizontal axis that a user chooses, and where latencies are comparable. Without pandas: --help is fast."""

from fire.errors import require
from fire.machine.estimate import estimated_latency, hertz
from sweep.axes import AXES, LATENCY, MACS, PLACES, SIZE, CostAxis

__all__ = ["AXES", "ESTIMATED", "LATENCY", "MACS", "NAMES", "PLACES", "SIZE", "CostAxis", "chosen"]

ESTIMATED = "estimated_latency"
NAMES = (*AXES, ESTIMATED)


def chosen(x: str | None, core: str | None = None, clock: str | None = None) -> CostAxis | None:
    """The axis of this name, one of NAMES; None for None: each figure has its own.

    core and clock, such as "80MHz", belong to the estimated latency, and to it alone. Raises SpecError otherwise.
    """
    for field, value in (("core", core), ("clock", clock)):
        rule = f"given if x is {ESTIMATED}, and only then"
        require((value is not None) == (x == ESTIMATED), field, rule, value)
    if x is None:
        return None
    require(x in NAMES, "x", "one of " + ", ".join(NAMES), x)
    return AXES[x] if core is None or clock is None else _estimated(core, hertz(clock))


def _estimated(core: str, clock_hz: float) -> CostAxis:
    """The estimate is proportional to the multiply-accumulates, and so is its range."""
    found = estimated_latency(1, core, clock_hz)
    ends = [f"{100 * (end / found.seconds - 1):+.0f} %" for end in (found.low, found.high)]
    if found.points > 1:
        note = f"range of its {found.points} published measurements: {' to '.join(ends)}"
    else:
        note = "from a single published measurement"
    name = f"estimated latency in int8, {core} at {clock_hz / 1e6:g} MHz, ms"
    return CostAxis("macs", name, 1e3 * found.seconds, note=note)
