"""Fields that say their own rule: what they take, and what the error says."""

import math
from dataclasses import dataclass

import pytest

from fire.errors import SpecError
from fire.fields import check, number, one_of, read, setting, settings_of, whole


@dataclass(frozen=True, kw_only=True)
class Spec:
    word: str = one_of("a", "b", doc="a letter")
    other: str = one_of("a", "b", default="b")
    count: int = whole(3, least=1)
    bits: int = whole(8, least=2, most=16)
    part: float = number(0.5, interval="[0, 1]")
    share: float = number(0.5, interval="(0, 1)")
    rate: float = number(0.1, interval="(0, inf)")
    decay: float = number(0.0, interval="[0, inf)", note="0: none")
    free: bool = setting(True, doc="anything")
    path: str = setting("", doc="a file", place=True)
    of_a: int = whole(1, least=0, when=lambda spec: spec.word == "a")
    plain: int = 5

    def __post_init__(self) -> None:
        check(self, "part.")


@pytest.mark.parametrize(
    ("field", "right", "wrong", "rule"),
    [
        ("word", ["a", "b"], ["", "c"], "one of a, b"),
        ("count", [1, 10**9], [0, -1], "at least 1"),
        ("bits", [2, 16], [1, 17], "in [2, 16]"),
        ("part", [0, 0.0, 1, 1.0], [-1e-9, 1.01, math.nan, math.inf, -math.inf], "in [0, 1]"),
        ("share", [1e-9, 0.999], [0, 1, math.nan], "in (0, 1)"),
        ("rate", [1e-9, 1e300], [0.0, -1.0, math.nan, math.inf], "above 0 and finite"),
        ("decay", [0.0, 1e300], [-1e-9, math.nan, math.inf], "at least 0 and finite (0: none)"),
        ("free", [True, False], [], ""),
    ],
)
def test_a_field_takes_what_its_rule_says(field, right, wrong, rule):
    assert settings_of(Spec)[field].rule == rule
    for value in right:
        assert getattr(Spec(**{field: value}), field) == value
    for value in wrong:
        with pytest.raises(SpecError) as caught:
            Spec(**{field: value})
        assert str(caught.value) == f"part.{field} must be {rule}, got {value!r}"


def test_the_first_choice_is_the_default_unless_another_is_given():
    assert (Spec().word, Spec().other) == ("a", "b")
    assert settings_of(Spec)["word"].choices == ("a", "b")
    assert settings_of(Spec)["word"].doc == "a letter"


def test_what_is_read_leaves_out_places_and_what_other_values_leave_unread():
    assert set(vars(Spec())) - set(read(Spec())) == {"path"}
    assert set(vars(Spec())) - set(read(Spec(word="b"))) == {"path", "of_a"}
    assert read(Spec(plain=7))["plain"] == 7, "a field that says nothing"
