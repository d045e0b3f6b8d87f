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

from fire.errors import SpecError

KEY = "setting"  # of the fields' metadata
LARGEST = 2**20  # of a network's whole numbers, since files of networks may come from strangers
When = Callable[[Any], bool]


def always(spec: Any) -> bool:
    """Of a field that every specification of its class reads."""
    return True


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a field may be, as the words behind "must be", what it means, and when it is read.

    rule: empty if every value of the field's type is right. choices: of a field that is one of a few words.
    place: it says where files lie, not what is in them. when: whether a specification with these values reads it.
    """

    doc: str = ""
    rule: str = ""
    holds: Callable[[Any], bool] = lambda value: True
    choices: tuple[str, ...] = ()
    place: bool = False
    when: When = always


def setting(default: Any, *, doc: str, place: bool = False) -> Any:
    """A field without a rule of its own."""
    return _field(default, Setting(doc=doc, place=place))


def one_of(*choices: str, default: str | None = None, doc: str = "", when: When = always) -> Any:
    """A field that is one of these words; without a default, the first is the default."""
    rule = "one of " + ", ".join(choices)
    found = Setting(doc=doc, rule=rule, holds=lambda value: value in choices, choices=choices, when=when)
    return _field(choices[0] if default is None else default, found)


def whole(default: int, *, least: int, most: int | None = None, doc: str = "", when: When = always) -> Any:
    """A field that is a whole number of at least `least`, and at most `most`."""
    rule = f"at least {least}" if most is None else f"in [{least}, {most}]"

    def holds(value: int) -> bool:
        return least <= value and (most is None or value <= most)

    return _field(default, Setting(doc=doc, rule=rule, holds=holds, when=when))


def number(default: float, *, interval: str, doc: str = "", note: str = "", when: When = always) -> Any:
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

    return _field(default, Setting(doc=doc, rule=rule, holds=holds, when=when))


def _field(default: Any, found: Setting) -> Any:
    return dataclasses.field(default=default, metadata={KEY: found})


@functools.cache
def settings_of(cls: Any) -> dict[str, Setting]:
    """What a specification's fields say, by their names."""
    return {field.name: field.metadata.get(KEY, Setting()) for field in dataclasses.fields(cls)}


def read(spec: Any) -> dict[str, Any]:
    """The values that decide what the specification leads to.

    Without where files lie, and without what this choice of the other values leaves unread.
    """
    values = vars(spec)
    return {name: values[name] for name, when in _kept(spec.__class__) if when is always or when(spec)}


@functools.cache
def _kept(cls: Any) -> list[tuple[str, When]]:
    """The fields that do not say where files lie, and when each is read."""
    return [(name, found.when) for name, found in settings_of(cls).items() if not found.place]


def check(spec: Any, prefix: str = "") -> None:
    """Raise SpecError for the first field that breaks its rule. prefix: of the field's name on the command line."""
    for name, found in settings_of(spec.__class__).items():
        value = getattr(spec, name)
        if not found.holds(value):
            raise SpecError(f"{prefix}{name} must be {found.rule}, got {value!r}")
