"""Files with other bytes, JSON with other values, texts with other characters: drawn at random."""

import json
import random
from collections.abc import Callable
from hashlib import sha256

from fire.train.checkpoints import MAGIC

VALUES = (
    None, True, -1, 0, 2, 10**30, 0.25, -0.5, 1e300, float("nan"), float("inf"),
    "", "x", "a/b", "$x^{$", "=1+1", "<b>", "\ud800", "a\nb", "x" * 300, "failed", "stopped", "simple", "2026-01-01",
    [], [5], ["x"], ["arch.bypass"], ["data", "seed"], ["compress", "arch.sr"], ["train.lr"], ["top1"], ["latency"],
    {}, {"a": {"b": 1}}, {"objectives": ["macs"]}, {"method": "entropy"},
)  # fmt: skip
BYTES = (b"", b"\xff\xff", b"[" * 100_000, b"x" * 10_000, b"null", b"0" * 5_000, b"\x00", b"{}", b"[[]]", b"1e999")
CHARACTERS = "=,.-+~!@#$%^&*()[]{}<>|\\/'\"`:; \t\n0123456789eEnaiftruxyzé結\ud800\x00\x1b"


Mutate = Callable[[bytes, random.Random], bytes]


def other(mutate: Mutate, content: bytes, chance: random.Random) -> bytes:
    """The content mutated, drawn again until it says something else than before."""
    while _says(changed := mutate(content, chance)) == _says(content):
        pass
    return changed


def _says(content: bytes) -> object:
    """The values of JSON, whatever its spaces; other content as it is."""
    try:
        return json.dumps(json.loads(content))
    except (ValueError, RecursionError):
        return content


def json_or_bytes(content: bytes, chance: random.Random) -> bytes:
    """JSON with one value replaced or removed; sometimes with other bytes."""
    if chance.random() >= 0.85:
        return other_bytes(content, chance)
    whole = json.loads(content)
    within, name = whole, chance.choice(sorted(whole))
    while isinstance(within[name], dict | list) and within[name] and chance.random() < 0.7:
        within = within[name]
        name = chance.choice(sorted(within) if isinstance(within, dict) else range(len(within)))
    if chance.random() < 0.1:
        del within[name]
    else:
        within[name] = chance.choice(VALUES)
    return json.dumps(whole).encode()


def other_bytes(content: bytes, chance: random.Random) -> bytes:
    """The content with other bytes in one place: in place of all, added, or over what was there."""
    place = chance.randrange(len(content))
    other = chance.choice((*BYTES, bytes([chance.randrange(256)])))
    ways = (other, content[:place] + other, content[:place] + other + content[place + len(other) :])
    return chance.choice(ways)


def flipped(content: bytes, chance: random.Random) -> bytes:
    """The content cut short, with a piece doubled, or with up to four bits flipped, most often near its beginning."""
    way = chance.random()
    place = int(len(content) * chance.random() ** 3)
    if way < 0.15:
        return content[:place]
    if way < 0.25:
        return content[:place] + content[place // 2 :]
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        changed[min(place + chance.randrange(64), len(content) - 1)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def signed(content: bytes, chance: random.Random) -> bytes:
    """A checkpoint with a mutated state, and the digest of that: it is whole, and not what a run wrote."""
    return with_digest(flipped(content[len(MAGIC) + sha256().digest_size :], chance))


def with_digest(state: bytes) -> bytes:
    """The checkpoint of that state, as fire.train.checkpoints writes it."""
    return MAGIC + sha256(state).digest() + state


def typed(text: str, chance: random.Random) -> str:
    """A line of the command with some characters removed, replaced or added. No null, which no argument can have."""
    before = text
    for _ in range(chance.randint(1, 4)):
        place, other = chance.randrange(len(text) + 1), chance.choice(CHARACTERS) * chance.choice((1, 1, 1, 40))
        text = text[:place] + other * (chance.random() < 0.7) + text[place + chance.randint(0, 2) :]
    text = text.replace("\x00", "")
    return typed(text, chance) if text == before else text


def torn(content: bytes, chance: random.Random) -> bytes:
    """A text whose last line is cut short, as a machine leaves it that loses its power."""
    last = content.rstrip(b"\n").rfind(b"\n") + 1
    return content[: chance.randrange(last, len(content))]
