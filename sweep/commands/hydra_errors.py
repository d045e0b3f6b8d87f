"""Errors of Hydra and OmegaConf in the form of ours: one line, `field must be RULE, got VALUE`."""

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError, OmegaConfBaseException

from fire.errors import InputError
from sweep.config import PARTS

KINDS = {"Float": "a number", "Integer": "a whole number", "Boolean": "true or false"}
# Keys of earlier versions, and what to write instead.
REMOVED = {"search.constraints": "written as search.at_most.size_bytes=500e3, likewise for other costs: docs/search.md"}
MOST_CHARACTERS = 100  # of a value that a message repeats


@contextmanager
def in_our_words() -> Iterator[None]:
    """Turn the errors of Hydra and OmegaConf into InputError; others, which are faults of ours, pass."""
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        raise InputError(one_line(error)) from error


@contextmanager
def input_errors() -> Iterator[None]:
    """Turn all that Hydra raises into InputError.

    What it composes is the user's: command line and YAML files. Its parsers raise also ValueError, AttributeError,
    RecursionError and what YAML's reader has.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(one_line(error)) from error


def unknown_key(key: str, known: Collection[str]) -> str:
    """The message about a key that does not exist, where `known` do."""
    if key in REMOVED:
        return f"{key} must be {REMOVED[key]}"
    if not known and key.startswith("hydra.launcher."):
        return f"{key} must be left out with this launcher, which has no settings, got a new key"
    if not known:
        return f"{key} must be added with +{key}=VALUE, got a new key"
    return f"{key} must be one of {', '.join(known)}, got a new key"


def without_schema(part: str) -> str:
    """The message about a preset of arch, data, train or compress whose file names no schema."""
    schema = f"/schema/{'squeezenet' if part == 'arch' else part}@_here_"
    return f"{part} must be a preset whose defaults begin with {schema} or another of conf/{part}, got one without"


def one_line(error: BaseException) -> str:
    """The message of an error of Hydra or OmegaConf, with its cause, on one line.

    Mistyped arguments, keys, values and choices read as our own errors do: Hydra would advise what we refuse, and name
    the schemas among the choices.
    """
    messages: list[str] = []
    current: BaseException | None = error
    while current is not None:
        ours = _frequent_mistake(current)
        if ours:
            return ours
        lines = str(current).partition("Config search path:")[0].splitlines()
        text = " ".join(line.strip() for line in lines if line.strip() and not line.startswith("    "))
        full_key = getattr(current, "full_key", None)  # of OmegaConf's errors, whose text may lack it
        if full_key and not any(full_key in message for message in (*messages, text)):
            text = f"{full_key}: {text}"
        if text and text not in messages:
            messages.append(text)
        current = current.__cause__
    return ": ".join(messages) or type(error).__name__


def _frequent_mistake(error: BaseException) -> str:
    """The message of a frequent mistake; empty for others."""
    if isinstance(error, OverrideParseException):
        key, equals, value = error.override.partition("=")
        rule = "a value of Hydra's grammar, special characters in quotes" if equals else "KEY=VALUE"
        return f"{key if equals else 'arguments'} must be {rule}, got {shortened(value if equals else key)!r}"
    if isinstance(error, MissingConfigException) and error.missing_cfg_file and error.options:
        group, _, name = error.missing_cfg_file.rpartition("/")
        return f"{group} must be one of {', '.join(error.options)}, got {name!r}"
    in_file = re.match(r"In '(.*)': \w+ raised while composing config", str(error))
    if in_file and error.__context__ is not None:  # what OmegaConf raised about a value of this file
        ours = _frequent_mistake(error.__context__)
        if ours:
            return f"{ours} (in {in_file[1]}.yaml)"
    named = re.search(r"full_key: (\S+)", str(error))  # in the text of what Hydra raises about a YAML file
    key = str(getattr(error, "full_key", None) or (named[1] if named else ""))
    if key in REMOVED:
        return unknown_key(key, ())
    if isinstance(error, ConfigAttributeError | ConfigKeyError) and isinstance(error.parent_node, DictConfig):
        if key.partition(".")[0] in PARTS and OmegaConf.get_type(error.parent_node) is dict:
            return without_schema(key.partition(".")[0])
        names = [str(name) for name in error.parent_node if name not in ("hydra", "_target_")]
        return unknown_key(key, names if "." in key else [*names, "experiment"])
    converted = re.match(r"Value (.*) of type '\w+' could not be converted to (\w+)", str(error), re.DOTALL)
    if key and converted and converted[2] in KINDS:
        return f"{key} must be {KINDS[converted[2]]}, got {shortened(converted[1])}"
    boolean = re.match(r"Value (.*) is not a valid bool", str(error))
    if key and boolean:
        return f"{key} must be true or false, got {shortened(boolean[1])}"
    if key and re.match(r"field '.*' is not Optional|Incompatible value 'None'", str(error)):
        return f"{key} must be a value, got null"
    if str(error).startswith("Config group override must be a string"):
        return "a group must be set to the name of one of its presets"
    if key and re.match(r"Invalid value assigned: \w+ is not a ListConfig", str(error)):
        return f"{key} must be a list in brackets, such as [a, b]"
    chosen = re.match(r"Invalid value (.*), expected one of \[(.*)\]", str(error))
    if key and chosen:
        return f"{key} must be one of {chosen[2]}, got {shortened(chosen[1])}"
    return ""


def shortened(text: str) -> str:
    """The text, cut where it would fill the screen."""
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}..."
