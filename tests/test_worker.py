import pickle
import subprocess
import sys

import pytest

from fire.data import dataset
from sweep.config import Options
from sweep.worker import placed
from tests.sweeping import ROOT, TINY, launch

# A run in a process that has imported what workers are forked with: what does it import beyond that?
PROGRAM = """
import pickle, sys
import sweep.preloaded
preloaded = set(sys.modules)
with open(sys.argv[1], "rb") as file:
    config, options = pickle.load(file)
record = sys.modules["sweep.run"].run(config, options)
print(record.status, *sorted(set(sys.modules) - preloaded))
print(*sorted({"torch._dynamo", "sympy", "hydra", "rich"} & preloaded))
"""


def test_a_run_imports_nothing_that_workers_are_not_forked_with(tmp_path):
    # SGD and Muon train, Adam tunes the compressed network.
    overrides = ["train.optimizer=muon", "train.ema=0.9", "compress=entropy", "compress.epochs=1"]
    options = [f"data_dir={tmp_path}", f"results_dir={tmp_path / 'results'}", "train.epochs=1", "data.limit=128"]
    launched = launch(*TINY, *options, *overrides)
    dataset.prepare(launched.config.data, tmp_path)  # as the launcher does
    (tmp_path / "launch").write_bytes(pickle.dumps(tuple(launched)))
    program = [sys.executable, "-c", PROGRAM, str(tmp_path / "launch")]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("finished\n\n", "")


@pytest.mark.parametrize(
    ("device", "slot", "expected"),
    [
        ("auto", None, "auto"),
        ("cpu", None, "cpu"),
        # Not auto, with which a run would train on the processor where torch cannot use the GPU that it was given.
        ("auto", "1", "cuda"),
        ("cuda", "1", "cuda"),
        ("cuda:1", "1", "cuda"),  # the only one that the run sees
    ],
)
def test_a_run_uses_the_gpu_that_it_was_given(device, slot, expected):
    assert placed(Options(device=device, workers=3), slot) == Options(device=expected, workers=3)
