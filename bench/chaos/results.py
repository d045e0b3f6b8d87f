"""What a command leaves in its results, to compare with what it leaves where nothing goes wrong."""

import csv
import hashlib
import io
import json
import re
from collections import Counter
from pathlib import Path

from bench.chaos.commands import Ended

# What differs between two runs of the same bits: times, and what they are divided by.
MEASURED = re.compile(r"(latency|seconds|images_per_second|_spread)|^(start|end|launched)$")
PASSED_OVER = {".lock", "log"}  # the process that wrote last, and the hours

Left = dict[str, str]  # the files below the results by their names, with a text that is equal where they are


def left(results: Path) -> Left:
    """What the results hold, but for what was measured."""
    found = {}
    for path in sorted(results.rglob("*")):
        if path.is_file() and path.name not in PASSED_OVER and not path.match("sweeps/.*.lock"):
            found[str(path.relative_to(results))] = _comparable(path)
    return found


def _comparable(path: Path) -> str:
    content = path.read_bytes()
    match path.suffix:
        case ".json":
            values = json.loads(content)
            return json.dumps({name: value for name, value in values.items() if not MEASURED.search(name)})
        case ".csv":
            rows = csv.DictReader(io.StringIO(content.decode()))
            return str([{name: value for name, value in row.items() if not MEASURED.search(name)} for row in rows])
        case _:
            return hashlib.sha256(content).hexdigest()


def differences(expected: Left, found: Left) -> list[str]:
    """Names of the files that are missing, too many, or others."""
    return [
        f"{name} {'is missing' if name not in found else 'should not be there' if name not in expected else 'differs'}"
        for name in sorted({*expected, *found})
        if expected.get(name) != found.get(name)
    ]


def differences_of_search(expected: Left, found: Left) -> list[str]:
    """What differs that may not: a search that was disturbed may choose other networks, and stop others early.

    Networks that both searches trained to the end have the same weights, and no search leaves other kinds of files.
    """
    shared = {name for name in {*expected} & {*found} if name.endswith(".safetensors")}
    wrong = [f"{name} differs" for name in sorted(shared) if expected[name] != found[name]]
    kinds = {*map(_kind, expected), "checkpoint.pt", "weights.safetensors"}
    return wrong + [f"{name} should not be there" for name in found if _kind(name) not in kinds]


def _kind(name: str) -> str:
    return name.rpartition("/")[2] if not name.startswith("sweeps/") else "sweeps/" + Path(name).suffix


def trained_twice(results: Path) -> int:
    """Epochs that were trained more than once. Each leaves a line in the log of its run, with its seconds in it."""
    twice = 0
    for path in results.glob("*/log"):
        lines = set(re.findall(r" epoch (\d+): (.*)", path.read_text(errors="replace")))
        twice += sum(count - 1 for count in Counter(epoch for epoch, _ in lines).values())
    return twice


def untidy(ended: Ended, codes: tuple[int, ...]) -> list[str]:
    """What is wrong with how a command ended: a traceback, more than a line of error, or another exit code."""
    wrong = []
    if ended.code not in codes:
        last = (ended.err.strip() or ended.out.strip()).splitlines()[-1:]
        wrong.append(f"exit code {ended.code}, not {' or '.join(map(str, codes))}: {''.join(last)[:200]}")
    if "Traceback (most recent call last)" in ended.err + ended.out:
        wrong.append(f"a traceback: {(ended.err + ended.out).strip().splitlines()[-1][:200]}")
    elif ended.err.count("\n") > 1:
        wrong.append(f"{ended.err.count(chr(10))} lines of error: {ended.err[:200]!r}")
    return wrong
