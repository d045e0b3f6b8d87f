"""What can be wrong with the user's input, or with a run. Each message is one line for a person to read."""


class InputError(ValueError):
    """The user's input cannot be used; the message names what, the rule and the value."""


class SpecError(InputError):
    """A field of a specification breaks its rule."""


class DataError(InputError):
    """A data set is missing, incomplete or corrupt."""


class MissingDataError(DataError):
    """A data set is not on this machine and cannot be downloaded."""


class TrainingError(RuntimeError):
    """A run cannot lead to a trained network: it diverged or is stuck at chance."""


def require(rule_holds: bool, field: str, rule: str, value: object) -> None:
    """Raise SpecError `field must be rule, got value` unless the rule holds."""
    if not rule_holds:
        raise SpecError(f"{field} must be {rule}, got {value!r}")


def unknown(field: str, name: object) -> SpecError:
    """The error for a choice that no code implements: the end of every dispatch on a name."""
    return SpecError(f"{field} must be a choice that is implemented, got {name!r}")
