"""Short names: of networks, made of their settings (arch.sr=0.25 becomes sr=0.25), and of files.

Standard library only.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence


def short_names(networks: Sequence[Mapping[str, object]], *, equals: str = "=", comma: str = " ") -> list[str]:
    """Name each network by its settings, without their groups: "sr=0.25 bypass=none".

    Settings that would share a name, such as train.lr and compress.lr, keep their groups.
    """
    keys = {key for settings in networks for key in settings}
    counts = Counter(_last(key) for key in keys)
    names = {key: _last(key) if counts[_last(key)] == 1 else key for key in keys}
    return [comma.join(f"{names[key]}{equals}{value}" for key, value in settings.items()) for settings in networks]


def file_name(parts: Iterable[str]) -> str:
    """The parts as a file's name, without its ending: what could have a meaning in a path becomes an underscore."""
    return cut(re.sub(r"[^\w.,=+-]", "_", "_".join(parts)))


def cut(name: str, most: int = 80) -> str:
    """A file's name of at most `most` bytes, of the 255 with its ending: a longer one is cut, with a digest behind."""
    content = name.encode(errors="surrogateescape")
    if len(content) <= most:
        return name
    return f"{content[: most - 10].decode(errors='ignore')}-{hashlib.sha256(content).hexdigest()[:8]}"


def _last(key: str) -> str:
    return key.rpartition(".")[2]
