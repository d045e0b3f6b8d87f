"""Values read from JSON that must have the types of a dataclass's fields. Standard library only.

Readers of the store rely on these types, so they are checked in one place.
"""

import dataclasses
import functools
import json
import math
import reprlib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
# Numbers are smaller than these: a seed, count or size beyond 2^64 is a fault of the file, and overflows arrays.
LIMITS: dict[type, float] = {int: 2**64, float: math.inf}
NAMES = {
    int: "a whole number",
    float: "a finite number",
    str: "text",
    bool: "true or false",
    dict: "an object",
    list: "a list",
    types.NoneType: "null",
}


@dataclass(frozen=True)
class _Rule:
    """What a value may be. texts: the allowed texts, if they are few; item: of the values in a list or an object."""

    types: frozenset[type]
    texts: tuple[str, ...] = ()
    item: "_Rule | None" = None

    @property
    def free(self) -> frozenset[type]:
        """The types of which every value is right, of numbers every value within LIMITS."""
        return self.types - {*([str] if self.texts else []), *([dict, list] if self.item else [])}

    def holds(self, value: Any) -> bool:
        """Whether the value is of one of the types, finite, and one of the texts."""
        kind = type(value)  # not isinstance, which takes true for a number
        if kind not in self.types:
            return False
        if kind in LIMITS:
            return bool(-LIMITS[kind] < value < LIMITS[kind])
        if kind is str:
            return not self.texts or value in self.texts
        item = self.item
        if item is None or kind not in (list, dict):
            return True
        return all(item.holds(each) for each in (value.values() if kind is dict else value))

    def __str__(self) -> str:
        if self.texts:
            return "one of " + ", ".join(self.texts)
        shown = self.types - {int} if float in self.types else self.types
        return " or ".join(name for kind, name in NAMES.items() if kind in shown)


def parse(content: bytes) -> Any:
    """The JSON value. Raises ValueError if it is none, is nested too deeply, or has numbers that are not finite."""
    try:
        return _DECODER.decode(content.decode())
    except RecursionError as error:
        raise ValueError("JSON is nested too deeply") from error


def build(cls: type[T], content: Any) -> T:
    """An instance of the dataclass.

    Raises ValueError unless the content is an object with the dataclass's fields, of their types.
    """
    if type(content) is not dict:
        raise ValueError(f"the content must be an object, got {reprlib.repr(content)}")
    check(cls, content)
    needed, defaults = _fields(cls)  # type: ignore[arg-type] # mypy does not know that a class is hashable
    if defaults is not None and needed <= content.keys() <= needed | defaults.keys():
        made = object.__new__(cls)
        vars(made).update(defaults | content)  # 5 times as fast as __init__, which sets each field of a frozen class
        return made
    try:
        return cls(**content)
    except TypeError as error:  # a field is missing, or unknown to this version
        raise ValueError(str(error).partition(" ")[2]) from error


def check(cls: type[Any] | None, values: Mapping[str, Any], prefix: str = "") -> None:
    """Raise ValueError `field must be RULE, got VALUE` unless the values have the types of the dataclass's fields.

    Values under other names, such as those of another version (or all, without a class), must be plain: a number,
    text, true, false or null.
    """
    rules, free = _rules(cls)  # type: ignore[arg-type] # mypy does not know that a class is hashable
    for name, value in values.items():
        kind = type(value)
        if kind in free.get(name, ()) and (kind not in LIMITS or -LIMITS[kind] < value < LIMITS[kind]):
            continue  # most values: a store may have 100,000 records
        rule = rules.get(name, _PLAIN)
        if not rule.holds(value):
            raise ValueError(f"{prefix}{name} must be {rule}, got {reprlib.repr(value)}")


@functools.cache
def _fields(cls: Any) -> tuple[frozenset[str], dict[str, Any] | None]:
    """The fields without a default, and the defaults of the others; None if its __init__ does more than set fields."""
    fields = dataclasses.fields(cls)
    needed = frozenset(field.name for field in fields if field.default is field.default_factory)  # both are MISSING
    plain = not hasattr(cls, "__post_init__") and all(field.default_factory is dataclasses.MISSING for field in fields)
    return needed, {field.name: field.default for field in fields if field.name not in needed} if plain else None


@functools.cache
def _rules(cls: Any) -> tuple[dict[str, _Rule], dict[str, frozenset[type]]]:
    """The rules by fields, and for each field the types of which every value is right."""
    rules = {field.name: _rule(field.type) for field in (() if cls is None else dataclasses.fields(cls))}
    return rules, {name: rule.free for name, rule in rules.items()}


def _rule(hint: Any) -> _Rule:
    """The rule of an annotation: one of NAMES, list[X], dict[str, X], a Literal of texts, or a union of these."""
    if isinstance(hint, types.UnionType):
        parts = [_rule(part) for part in typing.get_args(hint)]
        return _Rule(
            types=frozenset[type]().union(*(part.types for part in parts)),
            texts=tuple(text for part in parts for text in part.texts),
            item=next((part.item for part in parts if part.item is not None), None),
        )
    origin, arguments = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin is typing.Literal:
        return _Rule(frozenset({str}), texts=arguments)
    if origin is float:
        return _Rule(frozenset({float, int}))  # JSON of 1.0 may be 1
    item = _rule(arguments[-1]) if arguments and arguments[-1] is not Any else None
    return _Rule(frozenset({origin}), item=item)


def _refuse(constant: str) -> None:
    raise ValueError(f"numbers must be finite, got {constant}")


_PLAIN = _Rule(frozenset({int, float, str, bool, types.NoneType}))
_DECODER = json.JSONDecoder(parse_constant=_refuse)
