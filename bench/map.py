"""python -m bench.map --table FILE.parquet [--supernet FILE.csv] [--out FILE]: how well maps order unseen networks.

FILE is the tabular benchmark: python -m analysis.tabular. Each predictor is fitted to FITTED networks in DRAWS draws
and tested on the others; rows have the mean over draws, and their range. The tau between two seeds, where FILE has
them, is what they are compared with: both seeds are noisy, so that a perfect predictor would reach more against one.
Then: what a search costs that begins with a map's best networks, and the time of a map of a million points.
"""

import argparse
import resource
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

from bench import replay, tabular
from bench.measure import Row, markdown
from bench.search import drawn_table
from fire.arch import SqueezeNetSpec
from fire.cost import COSTS
from fire.data.spec import DataSpec
from fire.fields import settings_of
from fire.train.spec import TrainSpec
from sweep import origin
from sweep.config import RunConfig
from sweep.map.making import make
from sweep.map.surrogate import COLUMNS, Encoder, Surrogate
from sweep.map.trained import Trained
from sweep.record import Record
from sweep.search import guided
from sweep.search.spec import SearchSpec

FITTED, DRAWS = 20, 20
ALIKE = 1.2  # the most by which the MACs of two networks differ that are about equally large
SHARE = 0.99  # of the table's hypervolume
GOAL = 0.95  # of the tau between two seeds
AGAIN = "tabular_again"  # the experiment whose networks were trained with a second seed

Floats = NDArray[np.float64]
Pairs = NDArray[np.bool_]  # shape (networks, networks), above the diagonal


class Networks(NamedTuple):
    """The table's networks: settings and costs as columns, accuracies after the first epoch and at the end, MACs.

    supernet: accuracies with shared weights (bench.supernet); None: not known.
    """

    columns: Mapping[str, NDArray]
    epoch_1: Floats
    top1: Floats
    macs: Floats
    supernet: Floats | None = None


def networks_of(table: tabular.Tabular, shared: Path | None = None) -> Networks:
    """The networks of the benchmark with the costs and settings that a map learns from.

    shared: a file of bench.supernet. Raises ValueError if it lacks a network.
    """
    rows = table.networks
    varied = [name for name in settings_of(SqueezeNetSpec) if name in rows and rows[name].nunique() > 1]
    columns = {name: np.array(rows[name].tolist()) for name in (*COLUMNS, *varied)}
    supernet = None
    if shared is not None:
        supernet = pd.read_csv(shared).set_index("key")["top1"].reindex(rows["key"]).to_numpy(np.float64)
        if np.isnan(supernet).any():
            raise ValueError(f"{shared} must hold all {len(rows)} networks, lacks {int(np.isnan(supernet).sum())}")
    return Networks(columns, table.curves[:, 0], table.curves[:, -1], rows["macs"].to_numpy(np.float64), supernet)


def pairs_of(macs: Floats, times: float = np.inf) -> Pairs:
    """All pairs of networks whose MACs differ by no more than this factor."""
    ratio = np.abs(np.log(macs)[:, None] - np.log(macs)[None])
    return np.triu(ratio <= np.log(times), k=1)


def tau(a: Floats, b: Floats, pairs: Pairs) -> float:
    """Kendall's tau over these pairs: those in the same order less those in opposite order, per pair; NaN for none."""
    agree = np.sign(a[:, None] - a[None]) * np.sign(b[:, None] - b[None])
    return float(agree[pairs].mean()) if pairs.any() else np.nan


# A predictor expects the accuracies of networks, from the features and the accuracies of others. The last argument
# says how many of the features, the first ones, are costs.
Predictor = Callable[[Floats, Floats, Floats, int], Floats]


def ridge(known: Floats, top1: Floats, asked: Floats, _: int) -> Floats:
    """Ridge regression; of a single feature it gives that feature's order."""
    return make_pipeline(StandardScaler(), Ridge()).fit(known, top1).predict(asked)


def forest(known: Floats, top1: Floats, asked: Floats, _: int) -> Floats:
    """A random forest."""
    return RandomForestRegressor(300, random_state=0, n_jobs=1).fit(known, top1).predict(asked)


def process(known: Floats, top1: Floats, asked: Floats, costs: int) -> Floats:
    """The map's Gaussian process."""
    return Surrogate(known, top1, costs).expect(asked).top1


def alike(known: Floats, top1: Floats, asked: Floats, _: int) -> Floats:
    """The map's process with settings that weigh as much as costs."""
    return process(known, top1, asked, known.shape[1])


def rows(networks: Networks, second: Floats | None = None) -> Iterator[Row]:
    """A row for each predictor, also with the accuracy after one epoch or in the supernet, and for the band.

    second: the accuracies of the same networks with another seed, NaN where it was not trained.
    """
    limit = ""
    if second is not None and (both := np.flatnonzero(~np.isnan(second))).size > 1:
        values = [
            tau(networks.top1[both], second[both], pairs_of(networks.macs[both], times)) for times in (np.inf, ALIKE)
        ]
        limit = f"{GOAL * values[0]:.2f}"
        yield Row(
            what="two seeds", peer=f"{len(both)} networks", goal="-", measured=f"{values[0]:.2f}",
            detail=f"{values[1]:.2f} among equal MACs",
        )  # fmt: skip
    learned: list[tuple[str, Predictor, Iterable[str]]] = [
        ("parameters alone", ridge, ["parameters"]),
        ("MACs alone", ridge, ["macs"]),
        ("ridge regression", ridge, networks.columns),
        ("random forest", forest, networks.columns),
        ("Gaussian process of costs alone", process, COLUMNS),
        ("Gaussian process, settings weigh as costs", alike, networks.columns),
        ("the map's Gaussian process", process, networks.columns),
    ]
    more = {"": [], " and one epoch of each": [scale(networks.epoch_1)]}
    if networks.supernet is not None:
        more[" and the supernet"] = [scale(networks.supernet)]
        yield _row("the supernet alone", networks, networks.supernet[:, None], 0, ridge, limit)
    for name, predictor, names in learned:
        columns = {each: networks.columns[each] for each in names}
        encoder = Encoder(columns)
        for also, others in more.items():
            features = np.column_stack([*others, encoder.matrix(columns)])  # the others weigh as costs
            yield _row(f"{name}{also}", networks, features, len(others) + encoder.costs, predictor, limit)
    yield _band(networks)


def _draws(networks: int) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """The places of the networks to fit, and of those to test, in each draw."""
    for draw in range(DRAWS):
        order = np.random.default_rng(draw).permutation(networks)
        yield order[:FITTED], order[FITTED:]


def _row(name: str, networks: Networks, features: Floats, costs: int, predictor: Predictor, goal: str) -> Row:
    found: list[list[float]] = [[], []]
    for known, asked in _draws(len(networks.top1)):
        expected = predictor(features[known], networks.top1[known], features[asked], costs)
        for values, times in zip(found, (np.inf, ALIKE), strict=True):
            values.append(tau(expected, networks.top1[asked], pairs_of(networks.macs[asked], times)))
    return Row(
        what=f"tau: {name}", peer=f"fitted to {FITTED} of {len(networks.top1)}", goal=goal or "-",
        measured=_range(found[0]), detail=f"{_range(found[1])} among equal MACs",
    )  # fmt: skip


def _band(networks: Networks) -> Row:
    """The part of held-out networks within the band."""
    encoder, found, widths = Encoder(networks.columns), [], []
    features = encoder.matrix(networks.columns)
    for known, asked in _draws(len(networks.top1)):
        expected = Surrogate(features[known], networks.top1[known], encoder.costs).expect(features[asked])
        top1 = networks.top1[asked]
        found.append(float(np.mean((expected.low <= top1) & (top1 <= expected.high))))
        widths.append(100 * float(np.mean(expected.high - expected.low)))
    return Row(
        what="coverage of the 90 % band", peer=f"fitted to {FITTED} of {len(networks.top1)}", goal="0.85 to 0.95",
        measured=_range(found), detail=f"{np.mean(widths):.1f} points wide",
    )  # fmt: skip


def warm_rows(table: replay.Table) -> Iterator[Row]:
    """The cost of a search until SHARE of the hypervolume, without a map and with one of FITTED networks."""
    costs: dict[str, list[float]] = {"none": [], "map": []}
    spec = SearchSpec(budget_runs=len(table.points) - 1)
    for draw, (places, _) in enumerate(_draws(len(table.points))):
        known = [table.points[place] for place in places]
        planned = [table.space.point(point) for point in known]
        configs = tuple(point.config for point in planned if point is not None)
        top1 = np.array([table.curves[point][-1] for point in known])
        warm = tuple(guided.best(table.space, spec, Trained(configs=configs, top1=top1, keys=())))
        for name, beginning in (("none", ()), ("map", warm)):
            found = replay.search(table, SearchSpec(budget_runs=spec.budget_runs, seed=draw), known, beginning)
            costs[name].append(_cost_to(table, known, found))
    for name, values in costs.items():
        yield Row(
            what=f"search.warm_start={name}: cost to {SHARE:.0%} of the hypervolume",
            peer=f"{FITTED} of {len(table.points)} networks trained before, which cost, too",
            goal="-",
            measured=_range(values),
            detail="parts of the table's cost",
        )


def _cost_to(table: replay.Table, known: Sequence[int], steps: Iterator[tuple[float, int | None]]) -> float:
    """The part of the table's cost that is spent when SHARE of the hypervolume is reached; 1 if it is not."""
    points, spent = list(known), sum(table.cost_of(point, table.epochs) for point in known)
    while table.dominated(points) < SHARE * table.hypervolume:
        step = next(steps, None)
        if step is None:
            return 1.0
        spent += step[0]
        points += [] if step[1] is None else [step[1]]
    return spent / table.cost


def million() -> Row:
    """The time and memory of a map of 2^20 points, of 96 networks whose accuracies are made up."""
    random = np.random.default_rng(0)
    records = []
    for _ in range(96):
        arch = SqueezeNetSpec(
            version="small", norm="batch", classes=10, bypass=str(random.choice(["none", "simple", "complex"])),
            sr=float(random.choice([0.125, 0.25, 0.5, 1.0])), pct_3x3=float(random.choice([0.01, 0.5, 0.99])),
            base_e=int(random.choice([16, 24, 32, 48, 64])), incr_e=int(random.choice([16, 32, 48, 64])),
            fires=int(random.choice([4, 5, 6, 7, 8])), conv1=int(random.choice([16, 24, 32, 64])),
            freq=int(random.choice([2, 3, 4])),
        )  # fmt: skip
        config = RunConfig(arch=arch, data=DataSpec(), train=TrainSpec(), seed=0)
        top1 = 0.6 + 0.05 * np.log10(config.cost.macs / 1e6) + float(random.normal(0, 0.005))
        costs = {name: getattr(config.cost, name) for name in COSTS}
        records.append(Record(key=config.key, status="finished", config=config, validation_top1=top1, **costs))
    begun, processor = time.monotonic(), time.process_time()
    made = make(records)
    wall, processor = time.monotonic() - begun, time.process_time() - processor
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 2**10 / 1e9  # Linux counts KiB
    return Row(
        what=f"a map of {made.points:,} points", peer=f"{len(made.keys)} networks", goal="60 s, 2 GB",
        measured=f"{wall:.1f} s, {most:.1f} GB", detail=f"{processor:.1f} s of processor time",
    )  # fmt: skip


def second_seed(path: Path, table: tabular.Tabular) -> Floats | None:
    """The accuracies of the table's networks with seed 1, NaN where one has none; None if none has."""
    try:
        other = tabular.load(path, AGAIN, seed=1)
    except ValueError:
        return None
    names = [name for name in settings_of(SqueezeNetSpec) if name in table.networks]
    key = [tuple(row) for row in other.networks[names].itertuples(index=False)]
    top1 = pd.Series(other.curves[:, -1], index=pd.Index(key, tupleize_cols=False))
    return np.array([top1.get(tuple(row), np.nan) for row in table.networks[names].itertuples(index=False)])


def _range(values: Sequence[float]) -> str:
    """The mean over draws with its range: "0.81 (0.77 to 0.85, n = 5)".

    Draws share networks, so they are not independent, and an interval of confidence would be too narrow.
    """
    return f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f}, n = {len(values)})"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.map", description="How well maps order networks.")
    parser.add_argument("--table", type=Path, required=True, help="a file that python -m analysis.tabular wrote")
    parser.add_argument("--supernet", type=Path, help="a file that python -m bench.supernet wrote")
    parser.add_argument("--out", type=Path, default=Path("report") / "bench_map.md")
    chosen = parser.parse_args()
    table = tabular.load(chosen.table)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    head = f"python -m bench.map: {origin.host()}, commit {origin.git_state()[0]}"
    found: list[Row] = []

    def measured() -> Iterator[Row]:
        yield million()  # first: memory is the most that this process ever had
        yield from rows(networks_of(table, chosen.supernet), second_seed(chosen.table, table))
        yield from warm_rows(drawn_table(chosen.table))

    for row in measured():
        found.append(row)
        chosen.out.write_text(f"<!-- {head} -->\n{markdown(found)}")
        print(row, flush=True)


if __name__ == "__main__":
    main()
