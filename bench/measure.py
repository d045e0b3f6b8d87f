"""Ratios of interleaved measurements, and the rows of the table."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fire.machine import hardware, native
from sweep import origin


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table. measured: a ratio with its spread, or why there is none."""

    what: str
    peer: str
    goal: str
    measured: str
    detail: str = ""


def machine() -> str:
    """This machine, its widest instructions, and the arithmetic that train.precision and kernels=auto choose on it."""
    arithmetic = hardware.fastest_precision("cpu"), f"{native.fastest('cpu')} kernels"
    return ", ".join(filter(None, (origin.host(), hardware.instructions(), *arithmetic)))


def interleaved(measurements: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Each measurement once a round, so that what else the machine does touches all alike; every other round
    backwards."""
    values: dict[str, list[float]] = {name: [] for name in measurements}
    for i in range(rounds):
        for name in list(measurements) if i % 2 == 0 else reversed(list(measurements)):
            values[name].append(measurements[name]())
            print(f"  round {i + 1}/{rounds}, {name}: {values[name][-1]:,.4g}", flush=True)
    return values


def ratio(over: Sequence[float], under: Sequence[float]) -> str:
    """The median of the paired ratios and their range: "4.1 (3.9 to 4.4, n = 5)"."""
    ratios = [a / b for a, b in zip(over, under, strict=True)]
    middle, low, high = (
        f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
        for value in (statistics.median(ratios), min(ratios), max(ratios))
    )
    return f"{middle} ({low} to {high}, n = {len(ratios)})"


def median(values: Sequence[float], unit: str) -> str:
    """The median for people."""
    value = statistics.median(values)
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def markdown(rows: Sequence[Row]) -> str:
    """The table in Markdown."""
    lines = ["| what | against | goal | measured | |", "|---|---|---|---|---|"]
    lines += [f"| {row.what} | {row.peer} | {row.goal} | {row.measured} | {row.detail} |" for row in rows]
    return "\n".join(lines) + "\n"
