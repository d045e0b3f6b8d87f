"""python -m bench [--full] [--out FILE]: every benchmark, and the table in Markdown.

The quick form takes about ten minutes, the full one an hour.
"""

import argparse
from pathlib import Path

import torch

from bench import cost, overhead, step, sweeps
from bench.measure import Row, markdown
from fire import data
from fire.recipe import DataSpec
from sweep import origin


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Speed against peers, as ratios.")
    parser.add_argument("--full", action="store_true", help="more rounds, longer ones: an hour instead of ten minutes")
    parser.add_argument("--out", type=Path, default=Path("docs/bench.md"))
    parser.add_argument("--data-dir", default="data")
    chosen = parser.parse_args()
    full: bool = chosen.full
    data.prepare(DataSpec(), Path(chosen.data_dir))

    rows: list[Row] = []
    for name in step.NETWORKS:
        print(f"steps of {name}", flush=True)
        rows += step.rows(
            name, rounds=5, floor_rounds=5 if full else 2, seconds=8 if full else 2, data_dir=chosen.data_dir
        )
    print("sweeps", flush=True)
    rows += sweeps.rows(rounds=5 if full else 1, epochs=2, images=2_560, data_dir=chosen.data_dir)
    print("cost models", flush=True)
    rows += cost.rows(rounds=5)
    print("overhead", flush=True)
    rows += overhead.rows(
        rounds=5 if full else 1, data_dir=chosen.data_dir, records=(10_000, 100_000) if full else (10_000,)
    )

    form = "full" if full else "quick"
    head = f"python -m bench, {form} form: {origin.host()}, torch {torch.__version__}, commit {origin.git_state()[0]}"
    text = f"<!-- {head} -->\n{markdown(rows)}"
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    chosen.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
