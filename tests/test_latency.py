"""How long an image takes, by a clock whose every pass is known."""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fire.export import runtime
from fire.machine import latency


class Clock:
    """time.perf_counter of a machine on which nothing but passes takes time, and of these each as long as planned."""

    def __init__(self, passes: Iterable[float]) -> None:
        self.now = 1000.0
        self.done = 0
        self._passes: Iterator[float] = iter(passes)

    def perf_counter(self) -> float:
        return self.now

    def run_pass(self) -> None:
        self.now += next(self._passes)
        self.done += 1


class Network(nn.Module):
    """A network whose passes move the clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.seen: set[tuple[int, ...]] = set()

    def forward(self, images: Tensor) -> Tensor:
        assert not self.training
        assert images.dtype == torch.float32
        self.seen.add(tuple(images.shape))
        self.clock.run_pass()
        return images


class Session:
    """Of ONNX Runtime, as far as runtime.latency uses it; its passes move the clock."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(shape=[1, 3, 8, 8])]

    def run(self, outputs: None, inputs: dict[str, NDArray[np.float32]]) -> None:
        (image,) = inputs.values()
        assert image.shape == (1, 3, 8, 8)
        assert image.dtype == np.float32
        self.clock.run_pass()


@pytest.mark.parametrize("place", [0, 7, 19])
def test_a_network_takes_as_long_as_in_the_shortest_of_its_passes(place, monkeypatch, cpu):
    seconds = [0.004 + 0.001 * number for number in range(20)]
    seconds[place] = 0.002
    clock = Clock(seconds)
    monkeypatch.setattr(latency, "time", clock)
    network = Network(clock).train()
    assert latency.latency(network, 5, 3, cpu) == pytest.approx(0.002)
    assert clock.done == 20, "docs/architecture.md"
    assert network.seen == {(1, 3, 5, 5)}


@pytest.fixture
def timed(monkeypatch):
    """The latency of a file whose passes, after ten that warm up, take so long; and how many there were of these."""

    def go(passes: Iterable[float]) -> tuple[runtime.Latency, int]:
        clock = Clock(itertools.chain([9.0] * 10, passes))
        monkeypatch.setattr(runtime, "time", clock)
        monkeypatch.setattr(runtime, "session", lambda path, exact: Session(clock))
        found = runtime.latency(Path("network.onnx"))
        return found, clock.done - 10

    return go


def test_a_file_takes_as_long_as_in_its_median_pass(timed):
    # Of 50 passes 15 take 10 ms, 20 take 20 ms and 15 take 40 ms: whichever way quartiles are interpolated, they are
    # 10 and 40 ms. The slow ones come first, as they would where a processor has yet to speed up.
    found, passes = timed([0.04] * 15 + [0.01] * 15 + [0.02] * 20)
    assert passes == 50
    assert found.median == pytest.approx(0.02)
    assert found.spread == pytest.approx(0.03)


@pytest.mark.parametrize(
    ("seconds", "passes"),
    [(1 / 8, 50), (1 / 128, 64), (1 / 1024, 512), (1 / 16384, 2000)],  # binary fractions have no rounding
    ids=["slow", "middle", "quick", "very quick"],
)
def test_there_are_at_least_50_passes_and_more_where_they_are_short(seconds, passes, timed):
    """docs/export.md has the 50. More are made until half a second is over, but at most 2,000."""
    assert timed(itertools.repeat(seconds)) == (runtime.Latency(seconds, 0.0), passes)
