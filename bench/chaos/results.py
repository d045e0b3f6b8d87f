"""What a command leaves in its results, to compare with what it leaves where nothing goes wrong."""

import csv
import hashlib
import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

from bench.chaos.commands import Ended
from sweep.store import CHECKPOINT, COMPRESSED, WEIGHTS

# What differs between two runs of the same bits: times, what they are divided by, and the checkout meanwhile.
MEASURED = re.compile(r"(latency|seconds|images_per_second|_spread)|^(start|end|launched|git_commit|git_dirty)$")
HEX = re.compile(r"[0-9a-f]{12,}")  # in names of a cache, of a place
UNREADABLE = "unreadable"

Left = dict[str, str]  # the files below the results by their names, with a text that is equal where they are


def left(results: Path) -> Left:
    """What the results hold, but for what was measured and where they lie; of a cache beside them the names."""
    cache = results.parent / "data"
    place = str(results.parent).encode()
    found = {
        str(path.relative_to(results)): _comparable(path.suffix, path.read_bytes().replace(place, b""))
        for path in _files(results)
    }
    return found | {HEX.sub("*", str(path.relative_to(results.parent))): "" for path in _files(cache)}


def _files(folder: Path) -> list[Path]:
    """All but locks and logs, which hold the process that wrote last, and the hours."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [path for path in files if path.name != "log" and not path.name.endswith(".lock")]


def _comparable(suffix: str, content: bytes) -> str:
    match suffix:
        case ".json":
            values = _values(content)
            if not values:
                return UNREADABLE
            return json.dumps({name: value for name, value in values.items() if not MEASURED.search(name)})
        case ".csv":
            rows = csv.DictReader(io.StringIO(content.decode(errors="replace")))
            return str([{name: value for name, value in row.items() if not MEASURED.search(name)} for row in rows])
        case _:
            return hashlib.sha256(content).hexdigest()


def _values(content: str | bytes) -> dict[str, Any]:
    """The values of JSON; none if it is torn."""
    try:
        values = json.loads(content)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def differences(expected: Left, found: Left) -> list[str]:
    """Names of the files that are missing, too many, or others."""
    return [
        f"{name} {'is missing' if name not in found else 'should not be there' if name not in expected else 'differs'}"
        for name in sorted({*expected, *found})
        if expected.get(name) != found.get(name)
    ]


def differences_of_search(expected: Left, found: Left) -> list[str]:
    """What differs that may not: a search that was disturbed may choose other networks.

    As many runs must have ended, one manifest must name them, each that has finished has weights and no checkpoint,
    runs that both searches finished have equal files, and there are no other kinds of files.
    """
    before, now = _statuses(expected), _statuses(found)
    wrong = [] if len(now) == len(before) else [f"{len(now)} runs have ended, not {len(before)}"]
    manifests = [name for name in found if name.startswith("sweeps/") and name.endswith(".json")]
    named = {point["key"] for name in manifests for point in _values(found[name]).get("points", [])}
    if len(manifests) != 1 or named != now.keys():
        ended = len(named & now.keys())
        wrong.append(f"{len(manifests)} manifests name {len(named)} runs, of which {ended} have ended")
    finished = {key for key, status in now.items() if status == "finished"}
    wrong += [f"{key} has no weights" for key in sorted(finished) if f"{key}/{WEIGHTS}" not in found]
    wrong += [f"{key} still has a checkpoint" for key in sorted(finished) if f"{key}/{CHECKPOINT}" in found]
    both = finished & {key for key, status in before.items() if status == "finished"}
    ours, theirs = ({name: text for name, text in each.items() if _run(name) in both} for each in (expected, found))
    kinds = {*map(_kind, expected), CHECKPOINT, WEIGHTS}
    others = [name for name in found if name not in theirs and _kind(name) not in kinds]
    return wrong + differences(ours, theirs) + [f"{name} should not be there" for name in others]


def _statuses(found: Left) -> dict[str, str]:
    """Finished or stopped, by the keys of the runs that have ended so."""
    statuses = {_run(name): _values(text).get("status") for name, text in found.items() if _kind(name) == "record.json"}
    return {key: status for key, status in statuses.items() if status in ("finished", "stopped")}


def _run(name: str) -> str:
    return name.partition("/")[0]


def _kind(name: str) -> str:
    return name.rpartition("/")[2] if not name.startswith("sweeps/") else "sweeps/" + Path(name).suffix


def half_counted(results: Path) -> list[str]:
    """Records that a disturbed command must not leave: of a failure, torn, or of an end without its weights."""
    wrong = []
    for path in sorted(results.glob("*/record.json")):
        values = _values(path.read_bytes())
        match values.get("status"):
            case "failed":
                wrong.append(f"{path.parent.name} counts as failed: {values.get('error')}")
            case "finished" if not any(path.with_name(name).is_file() for name in (WEIGHTS, COMPRESSED)):
                wrong.append(f"{path.parent.name} counts as finished and has no weights")
            case None:
                wrong.append(f"{path.parent.name} has a torn record")
    return wrong


def records(results: Path) -> dict[str, bytes]:
    """The contents of the runs' records by the runs' keys."""
    return {path.parent.name: path.read_bytes() for path in sorted(results.glob("*/record.json"))}


def trained_twice(results: Path) -> int:
    """Epochs that were trained more than once. Each leaves a line in the log of its run, with its seconds in it."""
    twice = 0
    for path in results.glob("*/log"):
        lines = set(re.findall(r" epoch (\d+): (.*)", path.read_text(errors="replace")))
        twice += sum(count - 1 for count in Counter(epoch for epoch, _ in lines).values())
    return twice


def untidy(ended: Ended, codes: tuple[int, ...]) -> list[str]:
    """What is wrong with how a command ended: an orphan, a traceback, not one line of error, or another exit code.

    Where runs have failed, the table of failures takes the place of that line.
    """
    wrong = [f"orphans: {ended.orphans}"] if ended.orphans else []
    if ended.code not in codes:
        last = (ended.err.strip() or ended.out.strip()).splitlines()[-1:]
        wrong.append(f"exit code {ended.code}, not {' or '.join(map(str, codes))}: {''.join(last)[:200]}")
    lines = ended.err.count("\n")
    least = ended.code == 2 or (ended.code == 1 and "failures" not in ended.out)
    if "Traceback (most recent call last)" in ended.err + ended.out:
        wrong.append(f"a traceback: {(ended.err + ended.out).strip().splitlines()[-1][:200]}")
    elif not least <= lines <= 1:
        wrong.append(f"{lines} lines of error: {ended.err[:200]!r}")
    return wrong
