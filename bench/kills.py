"""A search that is killed with signal 9 again and again: what was trained twice."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.chaos.results import trained_twice
from bench.measure import Row
from sweep.store import Store

SEARCH = (
    "experiment=search", "data=digits", "arch.conv1=16", "arch.fires=4", "arch.base_e=16,32", "arch.incr_e=16",
    "train.epochs=3", "train.precision=fp32", "search.budget_runs=40", "workers=2",
)  # fmt: skip


def rows(folder: Path, data_dir: str, kills: int = 10) -> Iterator[Row]:
    """Launch a search, kill it within seconds, launch it again, `kills` times; then let it end.

    A launch that ends before it is killed counts as no kill. Raises RuntimeError if the last launch fails.
    """
    chance = random.Random(0)
    command = [sys.executable, "-m", "sweep", *SEARCH, f"results_dir={folder}", f"data_dir={data_dir}"]
    struck = code = 0
    for kill in range(kills + 1):
        print(f"  launch {kill + 1}, {len(list(Store(folder).keys()))} networks so far", flush=True)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
        if kill < kills:
            records = len(list(Store(folder).keys()))
            while process.poll() is None and len(list(Store(folder).keys())) < records + 1:
                time.sleep(0.1)
            time.sleep(2 * chance.random())
            process.kill()  # its workers end with it
        code = process.wait()
        struck += code == -signal.SIGKILL
    if code != 0:
        raise RuntimeError(f"the last launch of the search must end with exit code 0, got {code}")
    tried = list(Store(folder).records())
    yield Row(
        what=f"epochs trained twice, over {struck} kills with signal 9",
        peer="-",
        goal="0",
        measured=str(trained_twice(folder)),
        detail=f"{len(tried)} networks, {sum(record.epochs or 0 for record in tried)} epochs",
    )
