"""python -m bench [--full] [--out FOLDER] [steps|sweeps|cost|overhead|accuracy ...]: the benchmarks, and their table.

The quick form takes about ten minutes, the full one an hour. With names, these parts alone are measured, and the others
keep what was measured before: the folder holds each part's rows in <part>.json, and table.md of all of them. The
published ones were written with --out docs/bench/MACHINE, a folder for each kind of machine. accuracy takes three
to four hours, so it has to be named; stopped, it goes on from the pairs in pairs.json.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from bench import accuracy, cost, overhead, step, sweeps
from bench.measure import Row, machine, markdown
from fire.data import dataset
from fire.data.spec import DataSpec
from fire.files import write
from sweep import origin
from sweep.commands import exits


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Speed against peers, as ratios.")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; all but accuracy unless said")
    parser.add_argument("--full", action="store_true", help="more rounds, longer ones: an hour instead of ten minutes")
    parser.add_argument("--out", type=Path, default=Path("report/bench"), help="(default: report/bench)")
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--pictures", help="a folder of colour images with train/ and val/, for rows at 32 pixels")
    chosen = parser.parse_args()
    unknown = [part for part in chosen.parts if part not in PARTS]
    if unknown:
        parser.error(f"part must be one of {', '.join(PARTS)}, got {unknown[0]!r}")
    parts = chosen.parts or [part for part in PARTS if part != "accuracy"]
    if parts != ["cost"]:  # which trains nothing
        exits.guarded("bench", lambda: dataset.prepare(DataSpec(), Path(chosen.data_dir)))
    folder: Path = chosen.out
    folder.mkdir(parents=True, exist_ok=True)
    form = "full" if chosen.full else "quick"
    for part in parts:
        print(part, flush=True)
        rows = [asdict(row) for row in PARTS[part](chosen)]
        head = f"{form} form: {machine()}, torch {torch.__version__}, commit {origin.git_state()[0]}"
        write(folder / f"{part}.json", json.dumps({"measured": head, "rows": rows}, indent=1) + "\n")
        write(folder / "table.md", table(folder))
    print(table(folder))


def table(folder: Path) -> str:
    """The rows of all parts that were measured, and on what."""
    found = [(part, json.loads(path.read_text())) for part in PARTS if (path := folder / f"{part}.json").is_file()]
    heads = "".join(f"- {part}, {content['measured']}\n" for part, content in found)
    return heads + "\n" + markdown([Row(**row) for _, content in found for row in content["rows"]])


def _steps(chosen: argparse.Namespace) -> list[Row]:
    rounds = {"rounds": 5, "floor_rounds": 5 if chosen.full else 2, "seconds": 8 if chosen.full else 2}
    found = [row for name in step.NETWORKS for row in step.rows(name, DataSpec(), **rounds, data_dir=chosen.data_dir)]
    if chosen.pictures:
        spec = DataSpec(name="image_folder", root=chosen.pictures, channels=3, stored_size=32, image_size=32)
        found += step.rows("squeezenet_narrow", spec, **rounds, data_dir=chosen.data_dir)
    return found


def _sweeps(chosen: argparse.Namespace) -> list[Row]:
    images = 5_120 if chosen.full else 2_560
    return sweeps.rows(rounds=5 if chosen.full else 1, epochs=2, images=images, data_dir=chosen.data_dir)


def _cost(chosen: argparse.Namespace) -> list[Row]:
    return cost.rows(rounds=5)


def _overhead(chosen: argparse.Namespace) -> list[Row]:
    records = (10_000, 100_000) if chosen.full else (10_000,)
    return overhead.rows(rounds=5 if chosen.full else 1, data_dir=chosen.data_dir, records=records)


def _accuracy(chosen: argparse.Namespace) -> list[Row]:
    return accuracy.rows(accuracy.add(chosen.out / "pairs.json", chosen.data_dir))


PARTS: dict[str, Callable[[argparse.Namespace], list[Row]]] = {
    "steps": _steps,
    "sweeps": _sweeps,
    "cost": _cost,
    "overhead": _overhead,
    "accuracy": _accuracy,
}


if __name__ == "__main__":
    main()
