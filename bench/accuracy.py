"""The squeeze-ratio sweep on all images, against Hydra with Lightning: how long until it is as accurate?

The peer trains for three epochs. Ours trains twice: with the recipe train=fast, and with SGD and the peer's learning
rate for as many epochs; bench.sweeps.commands says how that recipe still differs from the peer's. A pair is all three
with one seed; on two cores it takes 30 to 50 minutes. So pairs are written one by one, and a later call, on another day
if need be, adds those that are missing.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.measure import Row, machine, median, ratio
from bench.sweeps import RATIOS, Command, lightning, ours
from fire.files import write
from fire.stats import welch
from sweep import origin

EPOCHS = 3
PAIRS = 5
PEER, FAST, EQUAL = "Lightning", "train=fast", "equal epochs"
MARGIN = -0.2  # points: no worse than this counts as equal


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One seed's sweeps, by name: commit, seconds from launch to exit, peak memory in bytes, top-1 as RATIOS."""

    seed: int
    host: str
    commits: dict[str, str]
    seconds: dict[str, float]
    peak_bytes: dict[str, float]
    top1: dict[str, list[float]]


def measure(seed: int, data_dir: str) -> Pair:
    """Run the three sweeps; every other seed in the reverse order, so that what else the machine does touches all."""
    commands = [
        Command(PEER, lightning(EPOCHS, 0, data_dir)),
        Command(FAST, ours(["train=fast"], data_dir), ours=True),
        Command(EQUAL, ours([f"train.epochs={EPOCHS}", "train.optimizer=sgd", "train.clip=0"], data_dir), ours=True),
    ]
    seconds: dict[str, float] = {}
    for command in commands if seed % 2 == 0 else reversed(commands):
        seconds[command.name] = command.seconds(seed)
        print(f"  seed {seed}, {command.name}: {seconds[command.name]:.0f} s", flush=True)
    return Pair(
        seed=seed,
        host=machine(),
        commits=dict.fromkeys(seconds, origin.git_state()[0]),
        seconds=seconds,
        peak_bytes={command.name: command.peak_bytes[-1] for command in commands},
        top1={command.name: command.top1[-1] for command in commands},
    )


def measured(path: Path) -> list[Pair]:
    """The pairs of a file, by seed."""
    return [Pair(**pair) for pair in json.loads(path.read_text())] if path.is_file() else []


def add(path: Path, data_dir: str) -> list[Pair]:
    """Measure the pairs of this kind of machine that the file lacks, and write each into it. Returns those of it.

    A pair that is there counts whatever its commit: a new recipe wants a new file.
    """
    pairs = measured(path)
    for seed in range(PAIRS):
        if (machine(), seed) not in [(pair.host, pair.seed) for pair in pairs]:
            pairs = sorted([*pairs, measure(seed, data_dir)], key=lambda pair: (pair.host, pair.seed))
            write(path, json.dumps([asdict(pair) for pair in pairs], indent=1) + "\n")
    return [pair for pair in pairs if pair.host == machine()]


def rows(pairs: Sequence[Pair]) -> list[Row]:
    """The rows of the table."""
    peer = f"Hydra multirun of Lightning, {EPOCHS} epochs"

    def row(name: str, what: str, goal: str) -> Row:
        times = " against ".join(median([pair.seconds[each] for pair in pairs], "s") for each in (name, PEER))
        speed = ratio([pair.seconds[PEER] for pair in pairs], [pair.seconds[name] for pair in pairs])
        return Row(what=what, peer=peer, goal=goal, measured=speed, detail=f"{times}; {differences(pairs, name)}")

    memory = [[pair.peak_bytes[name] / 2**20 for pair in pairs] for name in (EQUAL, PEER)]
    return [
        row(FAST, "SR sweep, 5 points, all images, launch to last accuracy, to the peer's accuracy", "8x"),
        row(EQUAL, "the same, SGD and as many epochs as the peer", "4x with AMX, 3.6x without"),
        Row(
            what="peak memory of that sweep, all processes (PSS)",
            peer=peer,
            goal="0.8",
            measured=ratio(*memory),
            detail=" against ".join(median(each, "MiB") for each in memory),
        ),
    ]


def differences(pairs: Sequence[Pair], name: str) -> str:
    """Ours less the peer's mean top-1 at each squeeze ratio, in points, with its lower 95 % bound (Welch)."""
    found, lows = [], []
    for place, _ in enumerate(RATIOS):
        mine, theirs = ([100 * pair.top1[each][place] for pair in pairs] for each in (name, PEER))
        difference = welch(mine, theirs, confidence=0.9)  # whose lower end is a one-sided 95 % bound
        lows.append(difference.low)
        found.append(f"{difference.difference:+.2f}" + (f" (above {lows[-1]:+.2f})" if len(pairs) > 1 else ""))
    shown = f"; above {MARGIN} at {sum(low > MARGIN for low in lows)} of {len(RATIOS)}" if len(pairs) > 1 else ""
    return (
        f"top-1 less the peer's at SR {RATIOS[0]} to {RATIOS[-1]}: {', '.join(found)} points, n = {len(pairs)}{shown}"
    )
