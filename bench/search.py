"""python -m bench.search table|replay [--data digits|fashion_mnist] [--table DIR] [--out FILE]: searches, replayed.

`table` trains every network of a space once (216 of them, 9 epochs each; about 15 minutes of a core on the digits) into
a store outside of the repository; launched again it goes on. `replay` has searches choose from that table: nothing is
trained, and what each would have cost is counted in epochs x MACs. In the end a real search is killed ten times.
"""

import argparse
import itertools
import tempfile
from pathlib import Path

from hydra import compose
from hydra.core.global_hydra import GlobalHydra

from bench import kills, replay
from bench.measure import markdown
from fire.data import dataset
from sweep import origin
from sweep.compose import presets
from sweep.config import Options
from sweep.launcher import LocalLauncher
from sweep.points import Planner
from sweep.search import history
from sweep.search.space import Space
from sweep.search.spec import AtMost
from sweep.store import Store

EPOCHS = 9
AXES = {
    "arch.base_e": ["8", "16", "32"],
    "arch.sr": ["0.125", "0.25", "0.5", "1.0"],
    "arch.pct_3x3": ["0.125", "0.5", "0.99"],
    "arch.bypass": ["none", "simple", "complex"],
    "arch.fires": ["4", "8"],
}
BASE = [
    "arch=squeezenet_narrow",
    "arch.base_e=16",
    "arch.incr_e=16",
    "train.precision=fp32",
    f"train.epochs={EPOCHS}",
]
DATA = {
    "digits": ["data=digits", "data.validation=500", "train.batch_size=64", "train.lr=0.1"],
    "fashion_mnist": [
        "data=fashion_mnist",
        "data.limit=2000",
        "data.validation=2000",
        "train.batch_size=64",
        "train.lr=0.1",
    ],
}


def space_of(data: str) -> Space:
    """The space of the table."""
    with presets():
        cfg = compose("config", return_hydra_config=True)
        planner = Planner(GlobalHydra.instance().config_loader(), cfg)
        return Space(planner, [*BASE, *DATA[data]], AXES)


def large_space(at_most: AtMost) -> Space:
    """The space of experiment=search."""
    with presets():
        cfg = compose("config", ["experiment=search"], return_hydra_config=True)
        planner = Planner(GlobalHydra.instance().config_loader(), cfg)
        grid = {str(key): str(text).split(",") for key, text in cfg.hydra.sweeper.params.items()}
        return Space(planner, ["experiment=search"], grid, at_most)


def train_table(space: Space, options: Options) -> None:
    """Run all points of the space that have not been run, on all cores."""
    store = Store(options.results_dir)
    points = [point for index in range(space.size) if (point := space.point(index)) is not None]
    todo = [point for point in points if not store.is_done(point.key)]
    if todo:
        store.check_writable()
        dataset.prepare(space.any_point.config.data, Path(options.data_dir))
        LocalLauncher().run_all(todo, options)


def main() -> None:
    """Train the table, or replay searches and write what they cost."""
    parser = argparse.ArgumentParser(prog="python -m bench.search", description="Searches, replayed from a table.")
    parser.add_argument("what", choices=["table", "replay"])
    parser.add_argument("--data", choices=sorted(DATA), default="digits")
    parser.add_argument("--table", type=Path, help="the store of the table (default: bench_search/DATA)")
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--out", type=Path, help="where to write the rows (default: report/bench_search_DATA.md)")
    chosen = parser.parse_args()
    table = chosen.table or Path("bench_search") / chosen.data
    space = space_of(chosen.data)
    if chosen.what == "table":
        train_table(space, Options(threads=1, results_dir=str(table), data_dir=chosen.data_dir))
        return
    store = Store(table)
    trials = history.trials(store, space, history.records(store, space))
    head = f"python -m bench.search replay --data {chosen.data}: {origin.host()}, commit {origin.git_state()[0]}"
    out = chosen.out or Path("report") / f"bench_search_{chosen.data}.md"
    out.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        timed = (
            large_space(AtMost()),
            large_space(AtMost(size_bytes=12e3)),
        )  # of the second, most points share their networks
        replayed = replay.rows(replay.Table(space, trials, EPOCHS), timed)
        for row in itertools.chain(replayed, kills.rows(Path(folder), chosen.data_dir)):
            rows.append(row)
            out.write_text(f"<!-- {head} -->\n{markdown(rows)}")
            print(row, flush=True)


if __name__ == "__main__":
    main()
