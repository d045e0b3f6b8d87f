"""The search for NNCodec's smallest file of a network, one setting after the other.

It needs no other package, so that it can be tested where NNCodec is not installed: bench.nncodec_files makes the files.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fire.compress.spec import MOST_LOST

FAR = 10 * MOST_LOST  # after a file that is this much below the allowed accuracy, no coarser one is made
FINEST, COARSEST = -40, -8  # QP
FINER = 6  # QPs: how much finer than the smallest file so far a ladder begins
SEARCHED: Mapping[str, Sequence[Any]] = {
    "nonweight_qp": (-75, -36, -28, -20),
    "opt_qp": (False, True),
    "use_dq": (True, False),
    "row_skipping": (False, True),
    "sparsity": (0.0, 0.3, 0.5),
}
TUNED: Mapping[str, Sequence[Any]] = {"lsa": (True,)}  # the others stay as the search without training found them


@dataclass(frozen=True, kw_only=True)
class Settings:
    """NNCodec's settings; the defaults are its own.

    qp, nonweight_qp: the quantisers' steps of weights, and of biases and scales: 2^(QP / 4), in between on straight
    lines. opt_qp: coarser steps for larger layers. use_dq: two quantisers, and a trellis chooses between them.
    row_skipping: a filter of zeros costs one symbol. sparsity: part of the weights that is made zero first. epochs: of
    training the biases, with lsa a scale for each filter, too.
    """

    qp: int
    nonweight_qp: int = -75
    opt_qp: bool = False
    use_dq: bool = True
    row_skipping: bool = False
    sparsity: float = 0.0
    lsa: bool = False
    epochs: int = 0

    def __str__(self) -> str:
        changed = {name: value for name, value in vars(self).items() if value != getattr(Settings, name, None)}
        return ", ".join(f"{name} {value}" for name, value in changed.items())


@dataclass(frozen=True, kw_only=True)
class File:
    """A compressed network: what made it, its size in bytes, and the accuracy of what it decodes to.

    top1: on the test images, which only a file sees that was chosen.
    """

    made_by: Settings
    size: int
    validation_top1: float
    top1: float | None = None


Make = Callable[[Settings], File]


def least(top1: float) -> float:
    """The accuracy allowed to files of a network of this one; rounding must not decide about an image."""
    return top1 - MOST_LOST - 1e-9


def smallest(files: Sequence[File], allowed: float) -> File | None:
    """The smallest file of at least the allowed validation accuracy; None if there is none."""
    passing = [file for file in files if file.validation_top1 >= allowed]
    return min(passing, key=lambda file: file.size, default=None)


def ladder(make: Make, begin: Settings, allowed: float) -> list[File]:
    """Files of coarser and coarser QP: every second one until FAR, and the next one after the coarsest that passes.

    Each file with epochs is a training, so their ladder ends sooner.
    """
    files, far = {}, MOST_LOST if begin.epochs else FAR
    for qp in range(begin.qp, COARSEST + 1, 2):
        files[qp] = make(replace(begin, qp=qp))
        if files[qp].validation_top1 < allowed - far:
            break
    passing = [qp for qp, file in files.items() if file.validation_top1 >= allowed]
    if passing:
        between = max(passing) + 1
        files[between] = make(replace(begin, qp=between))
    return list(files.values())


def search(make: Make, begin: Settings, choices: Mapping[str, Sequence[Any]], allowed: float) -> list[File]:
    """A ladder from `begin`, then one for each choice: a setting of the smallest file so far is changed to it."""
    files = ladder(make, begin, allowed)
    for name, values in choices.items():
        for value in values:
            settings = finer(smallest(files, allowed), begin)
            if getattr(settings, name) != value:
                files += ladder(make, replace(settings, **{name: value}), allowed)
    return files


def finer(file: File | None, begin: Settings) -> Settings:
    """Where to begin a ladder: the file's settings at a finer QP, or `begin` if there is no file.

    With the epochs of `begin`; if it has any, at the file's own QP, as training only helps.
    """
    if file is None:
        return begin
    qp = file.made_by.qp if begin.epochs else max(file.made_by.qp - FINER, FINEST)
    return replace(file.made_by, qp=qp, epochs=begin.epochs)


def kept(make: Make, path: Path, network: str) -> Make:
    """`make` that remembers: what was scored is kept as a line of JSON, and is not made again by later processes.

    network: names the weights, since the file has lines of several networks.
    """
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    files = [
        File(**line["file"] | {"made_by": Settings(**line["file"]["made_by"])})
        for line in lines
        if line["network"] == network
    ]
    known = {file.made_by: file for file in files}

    def made(settings: Settings) -> File:
        if settings not in known:
            known[settings] = make(settings)
            line = json.dumps({"network": network, "file": asdict(known[settings])})
            with open(path, "a") as file:
                file.write(line + "\n")
        return known[settings]

    return made
