"""What Hydra offers beside our own sweeper and launchers: it works, or one line says that it does not."""

import re
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from sweep.manifests import Arithmetic
from sweep.points import Point
from sweep.store import Store
from tests.records import record_of
from tests.sweeping import TINY, answered, point


@pytest.fixture
def sweep(tmp_path):
    """A sweep of two runs, in this process."""
    places = (f"data_dir={tmp_path}/data", f"results_dir={tmp_path}/results")
    return lambda *arguments: answered("-m", *TINY, "seed=0,1", *places, *arguments)


@pytest.fixture
def finished(tmp_path) -> tuple[Store, list[Point]]:
    """The store of this sweep, whose runs are done."""
    store, points = Store(tmp_path / "results"), [point(*TINY, f"seed={seed}") for seed in (0, 1)]
    for each in points:
        store.write(record_of(each.config, 0.75, validation_top1=0.75))
    return store, points


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hydra/sweeper=basic", "hydra/sweeper must be store or search, unless hydra/launcher is one of Hydra's own"),
        ("hydra.job.chdir=true", "hydra.job.chdir must be left out, unless hydra/launcher is one of Hydra's own, got "),
        ("+hydra.job.env_set.A=1", "hydra.job.env_set must be left out, unless "),
        ("hydra.job.env_copy=[HOME]", "hydra.job.env_copy must be left out, unless "),
    ],
)
def test_what_our_launchers_do_not_do_is_refused_before_a_run(override, message, sweep, tmp_path):
    code, _, err = sweep(override)
    assert code == 2
    assert re.fullmatch(rf"sweep: {re.escape(message)}[^\n]*\n", err), err
    assert list(Store(tmp_path / "results").stamps()) == []


def test_a_launcher_of_hydras_leaves_the_arithmetic_of_the_sweep(sweep, finished):
    store, _ = finished
    assert sweep()[0] == 0
    (manifest,) = store.sweeps()
    began = Arithmetic(precision="bf16", kernels="torch", threads=4)
    store.write_sweep(manifest.__class__(**{**vars(manifest), "arithmetic": began}))
    assert sweep("hydra/launcher=basic", "hydra.job.chdir=false")[0] == 0
    (manifest,) = store.sweeps()
    assert manifest.arithmetic == began


def test_a_run_that_two_points_are_is_in_the_place_of_the_first(tmp_path):
    axes = ("compress.density=0.1,0.2", "compress=none,deep_compression")  # none reads no density
    code, out, err = answered(
        "-m", *TINY, *axes, "dry_run=true", f"data_dir={tmp_path}", f"results_dir={tmp_path}/results"
    )
    assert (code, err) == (0, "")
    rows = [line.split("│")[1].split() for line in out.splitlines() if line.startswith("│")]
    compressed = "compress=deep_compression"
    assert rows == [["density=0.1", "compress=none"], ["density=0.1", compressed], ["density=0.2", compressed]]


def test_hydras_own_configuration_is_shown_with_what_it_names_of_ours(tmp_path: Path):
    code, out, err = answered("--cfg", "hydra", "--resolve", "--package", "hydra.sweep", f"results_dir={tmp_path}")
    assert (code, err) == (0, "")
    assert OmegaConf.create(out) == {"dir": f"{tmp_path}/.hydra", "subdir": "."}
