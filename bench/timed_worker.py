"""A worker's body that also says how long its training steps and evaluations took.

Apart from bench/overhead.py, whose imports a worker does not have: whatever a run has to import must be counted.
"""

import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sweep.config import Options, RunConfig
from sweep.store import Store
from sweep.worker import work


def timed_work(config: RunConfig, options: Options, connection: Connection, seconds: Connection) -> None:
    """Do the run as workers do; then send the seconds of its training steps and evaluations."""
    from fire.train import evaluation

    evaluating = 0.0
    evaluate = evaluation.evaluate

    def timed(*arguments: Any) -> Any:
        nonlocal evaluating
        started = time.perf_counter()
        scores = evaluate(*arguments)
        evaluating += time.perf_counter() - started
        return scores

    evaluation.evaluate = timed
    work(config, options, None, connection)
    record = Store(Path(options.results_dir)).read(config.key)
    assert record is not None
    assert record.train_seconds is not None, record.error
    seconds.send(evaluating + record.train_seconds)
