"""Short names for networks, made of their settings: arch.sr=0.25 becomes sr=0.25. Standard library only."""

from collections import Counter
from collections.abc import Mapping, Sequence


def short_names(networks: Sequence[Mapping[str, object]], *, equals: str = "=", comma: str = " ") -> list[str]:
    """Name each network by its settings, without their groups: "sr=0.25 bypass=none".

    Settings that would share a name, such as train.lr and compress.lr, keep their groups.
    """
    keys = {key for settings in networks for key in settings}
    counts = Counter(_last(key) for key in keys)
    names = {key: _last(key) if counts[_last(key)] == 1 else key for key in keys}
    return [comma.join(f"{names[key]}{equals}{value}" for key, value in settings.items()) for settings in networks]


def _last(key: str) -> str:
    return key.rpartition(".")[2]
