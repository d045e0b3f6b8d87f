"""What a search is told."""

import pytest

from fire.errors import SpecError
from sweep.search.spec import SearchSpec, parse_constraint, quoted


def test_constraints_are_read():
    assert parse_constraint(" size_bytes <= 500e3") == ("size_bytes", True, 500_000)
    assert parse_constraint("macs>=2") == ("macs", False, 2)
    assert str(parse_constraint("macs<=20e6")) == "macs<=20000000"
    assert str(parse_constraint("parameters>=1248424")) == "parameters>=1248424", "to the last digit"


@pytest.mark.parametrize("text", ["size_bytes=5", "size_bytes<=", "top1<=3", "macs<=few", "macs<=nan", "<=3", ""])
def test_bad_constraints_are_refused_on_one_line(text):
    with pytest.raises(SpecError, match=r"^search.constraints must be .+, got .*$"):
        SearchSpec(constraints=[text])


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
        {"first_rung": 2, "reduction": 1},
    ],
)
def test_bad_settings_are_refused_by_name(values):
    name = next(iter(values))
    with pytest.raises(SpecError, match=f"^search.{name} must be "):
        SearchSpec(**values)


def test_constraints_on_the_command_line_get_the_quotes_that_hydra_wants():
    assert quoted("search.constraints=[a<=5, b<=6]") == "search.constraints=['a<=5', 'b<=6']"
    assert quoted("search.constraints=a<=5") == "search.constraints=['a<=5']", "one needs no brackets"
    assert quoted("search.constraints=a<=5,b<=6") == "search.constraints=['a<=5', 'b<=6']"
    assert quoted("search.constraints=[]") == "search.constraints=[]"
    for other in ("search.constraints=['a<=5']", "search.constraints=[a<=5", "search.budget_runs=5", "arch.sr=0.1"):
        assert quoted(other) == other


def test_rungs_are_multiples_up_to_the_end():
    assert SearchSpec(reduction=3, first_rung=1).rungs(27) == (1, 3, 9, 27)
    assert SearchSpec(reduction=3, first_rung=1).rungs(5) == (1, 3, 5)
    assert SearchSpec(reduction=2, first_rung=3).rungs(10) == (3, 6, 10)
    assert SearchSpec(reduction=1).rungs(10) == SearchSpec(first_rung=10).rungs(10) == (10,)
    thirds = {epochs: SearchSpec().rungs(epochs) for epochs in (1, 3, 9, 24)}
    assert thirds == {1: (1,), 3: (1, 2, 3), 9: (3, 6, 9), 24: (8, 16, 24)}
