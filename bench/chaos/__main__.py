"""python -m bench.chaos [--full] [--seed N] [--only NAME ...] [--out FOLDER]: try faults on purpose, count what holds.

By default a sample that takes about ten minutes; --full makes the table of docs/reliability.md, in some hours. Trials
are drawn at random, and the seed is printed: it draws the same ones again, but for moments of kills and copies, which
depend on the machine's speed. Exit code 1 if anything did not hold, or nothing was tried.

The table can be made in parts: a call with --only replaces the rows of its faults in the folder of --out.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.chaos import commands
from bench.chaos.scene import Scene, Trials
from sweep import origin


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A row of the table. sample, full: how many trials."""

    name: str
    what: str
    holds: str
    trials: Callable[[Scene, int], Trials]
    sample: int
    full: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """What came of the trials of a fault."""

    name: str
    what: str
    holds: str
    tried: int
    survived: int
    seed: int
    host: str
    commit: str


SAME = "the next launch leaves the bits of an undisturbed one, trains nothing twice, leaves no file over"


def faults() -> tuple[Fault, ...]:
    """All of them. Their modules import what commands import, so this is called once that is done."""
    return (*_of_processes(), *_of_files())


def _of_processes() -> tuple[Fault, ...]:
    from bench.chaos import calls, kills, memory, moved, together

    return (
        Fault(
            name="kills",
            what="kill -9 of a worker, the launcher, the forkserver or all, at a random moment, three in four in a run",
            holds=f"{SAME}; no orphan, no traceback", trials=kills.trials, sample=8, full=200,
        ),
        Fault(
            name="calls",
            what="kill before or after any call that writes, of a run, compression or export, and of 100 of a search",
            holds=SAME, trials=calls.kills, sample=40, full=100_000,
        ),
        Fault(
            name="disks", what="disk full or read-only, results or data gone, from any such call on",
            holds="one line; exit code 2 before the first run, 1 after; nothing half counted, made anew or lost; then "
            "as above", trials=calls.disks, sample=40, full=100_000,
        ),
        Fault(
            name="launchers", what="two or three launchers of one sweep or search", holds="no epoch trained twice",
            trials=together.launchers, sample=2, full=40,
        ),
        Fault(
            name="writers", what="16 writers of one record and one manifest, each with its own content",
            holds="what is read is whole, and of one of them",
            trials=together.writers, sample=1, full=20,
        ),
        Fault(
            name="copies", what="a copy by cp -r while runs are under way, merged with other results",
            holds="every record whole, no finished run trained again, the sweep ends as usual", trials=together.copies,
            sample=2, full=40,
        ),
        Fault(
            name="memory", what="one run of a sweep wants more memory than its limit of addresses",
            holds="that run alone fails, with the reason in its record; the other's files are as usual",
            trials=memory.trials, sample=1, full=10,
        ),
        Fault(
            name="moved", what="clock set back, another host, results moved, odd paths",
            holds="nothing is trained again, a stopped run goes on", trials=moved.trials, sample=6, full=1_000,
        ),
    )  # fmt: skip


def _of_files() -> tuple[Fault, ...]:
    from bench.chaos import damage

    return (
        Fault(
            name="files",
            what="a mutated record, manifest, curve, configuration, preset, checkpoint (half with digest), weights, "
            "cache or image",
            holds="the usual output or a line; at most 5 s of CPU and 1 GB more; nothing written elsewhere",
            trials=damage.files, sample=80, full=2_500,
        ),
        Fault(
            name="overrides", what="a mistyped command", holds="a line, exit code 2, as quickly; nothing is written",
            trials=damage.overrides, sample=30, full=500,
        ),
        Fault(
            name="pickles", what="a pickle in place of a checkpoint, with its digest, or of weights",
            holds="it is not executed", trials=damage.pickles, sample=4, full=30,
        ),
        Fault(
            name="last lines", what="the last line of a text file cut short", holds="the run ends as usual",
            trials=damage.last_lines, sample=4, full=50,
        ),
    )  # fmt: skip


def main() -> None:
    """Try, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="all trials: some hours")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn (default: 0)")
    parser.add_argument("--most", type=int, help="trials of a fault at most")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="faults by name (default: all)")
    parser.add_argument("--out", type=Path, help="a folder for faults.json and table.md; rows of other faults stay")
    chosen = parser.parse_args()
    commands.preload()
    try:
        every = faults()
        names = [fault.name for fault in every]
        if unknown := [name for name in chosen.only or () if name not in names]:
            parser.error(f"--only must be of {', '.join(names)}, got {unknown[0]!r}")
        rows = []
        for fault in every:
            if fault.name in (chosen.only or names):
                rows.append(_tried(fault, chosen))
                if chosen.out:  # now: whatever stops the next ones
                    merged(rows, names, chosen.out)
    finally:
        commands.remove_library()
    print(markdown(merged(rows, names, chosen.out)) if chosen.out else markdown(rows))
    sys.exit(not all(map(held, rows)))


def held(row: Row) -> bool:
    """Whether all trials of a row held, and there were some."""
    return 0 < row.tried == row.survived


def merged(rows: Sequence[Row], names: Sequence[str], out: Path) -> list[Row]:
    """Write the rows into a folder's faults.json and table.md, where they replace those of the same faults.

    Returns all rows that are there then, in the order of `names`.
    """
    path = out / "faults.json"
    before = [Row(**row) for row in json.loads(path.read_text())] if path.exists() else []
    by_name = {row.name: row for row in (*before, *rows)}
    every = [by_name[name] for name in names if name in by_name]
    out.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(row) for row in every], indent=1) + "\n")
    (out / "table.md").write_text(markdown(every))
    return every


def _tried(fault: Fault, chosen: argparse.Namespace) -> Row:
    """All trials of a fault; what does not hold is printed, and once a minute how many there were."""
    wanted = fault.full if chosen.full else fault.sample
    if chosen.most is not None:
        wanted = min(wanted, chosen.most)
    tried = survived = 0
    begun = said = time.monotonic()
    print(f"{fault.name}: {fault.what}", flush=True)
    # No TemporaryDirectory: the commands are forked from this process, and each would remove it at its end.
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        for trial in fault.trials(Scene(folder, random.Random(f"{fault.name} {chosen.seed}")), wanted):
            tried += 1
            survived += not trial.wrong
            for wrong in trial.wrong:
                print(f"  seed {chosen.seed}, {trial.what}: {wrong}", flush=True)
            if time.monotonic() > said + 60:
                said = time.monotonic()
                print(f"  {survived} of {tried} so far, {said - begun:.0f} s", flush=True)
    except Exception:  # of what comes before the trials: the other faults are tried nevertheless
        tried += 1
        traceback.print_exc()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"  {survived} of {tried} held, {time.monotonic() - begun:.0f} s", flush=True)
    return Row(
        name=fault.name,
        what=fault.what,
        holds=fault.holds,
        tried=tried,
        survived=survived,
        seed=chosen.seed,
        host=origin.host(),
        commit=origin.git_state()[0],
    )


def markdown(rows: Sequence[Row]) -> str:
    """The table, below the machines and commits that it was made with."""
    made = dict.fromkeys(f"- {row.host}, commit {row.commit}" for row in rows)
    lines = [*made, "", "| fault | must hold | tried | survived |", "|---|---|---|---|"]
    lines += [f"| {row.what} | {row.holds} | {row.tried:,} | {row.survived:,} |" for row in rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
