"""The settings of a search."""

import pytest

from fire.cost import Cost
from fire.errors import SpecError
from sweep.search.spec import AtMost, SearchSpec


def test_bounds_include_their_ends_and_are_named_to_the_last_digit():
    at_most = AtMost(parameters=1248424, macs=20e6)
    assert at_most.texts == ["parameters<=1248424", "macs<=20000000"]
    cost = Cost(parameters=1248424, macs=20_000_001, activations=10**9, biases=2949, peak_ram_bytes=2**20)
    assert at_most.broken_by(cost) == ["macs<=20000000"]
    assert AtMost(size_bytes=4 * 1248424).broken_by(cost) == [], "four bytes a parameter"
    assert AtMost(size_bytes=4 * 1248424 - 1).broken_by(cost) == ["size_bytes<=4993695"]
    assert AtMost(peak_ram_bytes=2**20 - 1, flash_bytes=2**21).broken_by(cost) == ["peak_ram_bytes<=1048575"]


@pytest.mark.parametrize("bound", [0, -1, float("nan")])
def test_bounds_that_no_network_keeps_are_refused(bound):
    with pytest.raises(SpecError, match=r"^search\.at_most\.macs must be above 0, got "):
        AtMost(macs=bound)


@pytest.mark.parametrize(
    "values",
    [
        {"budget_runs": 0},
        {"objectives": []},
        {"objectives": ["top5"]},
        {"objectives": ["top1", "top1"]},
        {"objectives": ["size_bytes", "macs"]},
        {"sampler": "cmaes"},
        {"seed": -1},
        {"reduction": 0},
        {"first_rung": -1},
        {"first_rung": 2},
        {"band": 1.0, "sampler": "map"},
        {"band": 0.02},
        {"sampler": "map", "objectives": ["latency", "macs"]},
        {"warm_start": "best"},
    ],
)
def test_bad_settings_are_refused_by_name(values):
    name = next(iter(values))
    with pytest.raises(SpecError, match=f"^search.{name} must be "):
        SearchSpec(**values)


@pytest.mark.parametrize(("sampler", "instead"), [("gp", "tpe"), ("nsga3", "nsga2"), ("qmc", "random")])
def test_samplers_of_earlier_versions_are_refused_with_what_to_write_instead(sampler, instead):
    with pytest.raises(SpecError, match=f"^search.sampler must be {instead} in this version, got '{sampler}'$"):
        SearchSpec(sampler=sampler)


def test_rungs_are_multiples_up_to_the_end():
    assert SearchSpec(reduction=3, first_rung=1).rungs(27) == (1, 3, 9, 27)
    assert SearchSpec(reduction=3, first_rung=1).rungs(5) == (1, 3, 5)
    assert SearchSpec(reduction=2, first_rung=3).rungs(10) == (3, 6, 10)
    assert SearchSpec().rungs(10) == SearchSpec(reduction=2, first_rung=10).rungs(10) == (10,)
    thirds = {epochs: SearchSpec(reduction=2).rungs(epochs) for epochs in (1, 3, 9, 24)}
    assert thirds == {1: (1,), 3: (1, 2, 3), 9: (3, 6, 9), 24: (8, 16, 24)}
