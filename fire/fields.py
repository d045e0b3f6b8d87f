"""Fields of specifications that say their own rule and a line of help. Standard library only.

    epochs: int = whole(5, least=1, doc="passes over the training images")

`check` holds a specification to its rules; python -m sweep --help shows choices, ranges and help.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fire.errors import require

KEY = "setting"  # of the fields' metadata


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a field may be, as the words behind "must be", and what it means.

    rule: empty if every value of the field's type is right. choices: of a field that is one of a few words.
    """

    doc: str = ""
    rule: str = ""
    holds: Callable[[Any], bool] = lambda value: True
    choices: tuple[str, ...] = ()


def setting(default: Any, *, doc: str) -> Any:
    """A field without a rule of its own."""
    return _field(default, Setting(doc=doc))


def one_of(*choices: str, default: str | None = None, doc: str = "") -> Any:
    """A field that is one of these words; without a default, the first is the default."""
    rule = "one of " + ", ".join(choices)
    found = Setting(doc=doc, rule=rule, holds=lambda value: value in choices, choices=choices)
    return _field(choices[0] if default is None else default, found)


def whole(default: int, *, least: int, most: int | None = None, doc: str = "") -> Any:
    """A field that is a whole number of at least `least`, and at most `most`."""
    rule = f"at least {least}" if most is None else f"in [{least}, {most}]"
    found = Setting(doc=doc, rule=rule, holds=lambda value: least <= value and (most is None or value <= most))
    return _field(default, found)


def number(default: float, *, interval: str, doc: str = "", note: str = "") -> Any:
    """A finite number of an interval in mathematical notation: "[0, 1)"; "(0, inf)" has no upper bound.

    note: what the rule adds in brackets.
    """
    low, high = (float(text) for text in interval[1:-1].split(","))
    bounded = math.isfinite(high)
    unbounded = f"{'at least' if interval[0] == '[' else 'above'} {low:g} and finite"
    rule = (f"in {interval}" if bounded else unbounded) + (f" ({note})" if note else "")

    def holds(value: float) -> bool:
        above = low <= value if interval[0] == "[" else low < value
        return above and (value <= high if interval[-1] == "]" else value < high)

    return _field(default, Setting(doc=doc, rule=rule, holds=holds))


def _field(default: Any, found: Setting) -> Any:
    return dataclasses.field(default=default, metadata={KEY: found})


@functools.cache
def settings_of(cls: Any) -> dict[str, Setting]:
    """The rules and help of a specification's fields, by their names."""
    return {field.name: field.metadata[KEY] for field in dataclasses.fields(cls) if KEY in field.metadata}


def check(spec: Any, prefix: str = "") -> None:
    """Raise SpecError for the first field that breaks its rule. prefix: of the field's name on the command line."""
    cls: Any = type(spec)
    for name, found in settings_of(cls).items():
        value = getattr(spec, name)
        require(found.holds(value), f"{prefix}{name}", found.rule, value)
