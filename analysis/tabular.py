"""python -m analysis.tabular RESULTS --out FILE.parquet: every finished run with its curve, a row each, in one file.

bench/tabular.py reads the file; `table` explains its columns. The runs of compressed networks are left out.
"""

import sys
from collections import defaultdict
from pathlib import Path

import pandas as pd

from analysis import results, tables
from analysis.results import Results
from fire.cost import COSTS
from fire.errors import InputError, require
from sweep.commands import exits
from sweep.store import Store

FIRST = ("key", "experiments", "data_set", "seed")
MEASURED = ("curve", "validation_top1", "top1", "train_seconds", "images_per_second")
MACHINE = ("host", "device", "threads", "precision", "kernels", "torch", "git_commit")


def main() -> None:
    """Run the command."""
    exits.main("analysis.tabular", lambda: _main(sys.argv[1:]))


def _main(arguments: list[str]) -> None:
    parser = exits.Parser(prog="python -m analysis.tabular", description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    found = results.read(given.results)
    for damage in found.unreadable:
        print(f"analysis.tabular: {damage}", file=sys.stderr)
    rows = table(found)
    require(len(rows) > 0, "results", "a directory with finished runs", str(given.results))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    try:
        rows.to_parquet(given.out, index=False)
    except ImportError as error:
        raise InputError("--out needs the package pyarrow to write Parquet: pip install pyarrow") from error
    print(f"{given.out}: {tables.counted(len(rows), 'run')}")


def table(found: Results) -> pd.DataFrame:
    """The finished runs without compression that have a curve, sorted by key.

    Columns: key; experiments, the names of those that the run is a point of; data_set; seed; the metaparameters under
    their own names; the costs, as fire.cost counts them; curve, validation top-1 after each epoch; validation_top1 and
    top1, of the test images, at the end; train_seconds; images_per_second; train.*, the recipe; what it ran on.
    """
    runs = found.runs[(found.runs["status"] == "finished") & (found.runs["compress"] == "none")].sort_values("key")
    store, experiments = Store(found.folder), _experiments(found)
    data_set = pd.Series("", index=runs.index)
    for _, alike in runs.groupby(["data", "data_title"], dropna=False):
        data_set[alike.index] = tables.data_of(alike)
    runs = runs.assign(
        experiments=runs["key"].map(lambda key: sorted(experiments[key])),
        data_set=data_set,
        curve=runs["key"].map(lambda key: list(store.validation_curve(key))),
    )
    recipe = [name for name in map(str, runs.columns) if name.startswith("train.")]
    network = [name for name in map(str, runs.columns) if name in tables.METAPARAMETERS]
    columns = [*FIRST, *network, *COSTS, *MEASURED, *recipe, *MACHINE]
    return runs.loc[runs["curve"].map(len) > 0, columns].reset_index(drop=True)


def _experiments(found: Results) -> defaultdict[str, set[str]]:
    """The experiments that each run belongs to, by its key."""
    experiments: defaultdict[str, set[str]] = defaultdict(set)
    for sweep in found.sweeps:
        for key in sweep.keys if sweep.experiment else ():
            experiments[key].add(str(sweep.experiment))
    return experiments


if __name__ == "__main__":
    main()
