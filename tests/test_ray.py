"""Sweeps on a Ray cluster of two nodes, which are processes of this machine: tests start them and kill one."""

import os
import re
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest

from sweep.store import Store
from tests.clusters import facts, free_ports
from tests.processes import wait_until
from tests.sweeping import TINY, answered, command, finish, point, start

# Not imported here: it takes seconds, in every process of the suite.
pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed (the extra ray)")

EPOCHS = 8
SWEEP = ("-m", *TINY, f"train.epochs={EPOCHS}", "seed=0,1,2")
KEYS = [point(*TINY, f"train.epochs={EPOCHS}", f"seed={seed}").key for seed in (0, 1, 2)]
SLOW = 240  # seconds for what takes ten where nothing else runs


def node() -> dict[str, object]:
    """The arguments of a node. With given ports it does not wait for those of its agents, which import for long."""
    names = ("metrics_agent_port", "runtime_env_agent_port", "dashboard_agent_listen_port", "metrics_export_port")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    return {"num_cpus": 1, "object_store_memory": 2**27, "include_dashboard": False, **ports}


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    before = os.environ.get("RAY_ADDRESS")
    made = Cluster(initialize_head=True, head_node_args=node())
    try:
        os.environ["RAY_ADDRESS"] = made.address
        yield made
    finally:
        os.environ.pop("RAY_ADDRESS")
        if before is not None:
            os.environ["RAY_ADDRESS"] = before
        made.shutdown()


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> Path:
    """The sweep by the local launcher."""
    root = tmp_path_factory.mktemp("here")
    code, out, err = command(*SWEEP, f"data_dir={root}/data", f"results_dir={root}/results")
    assert (code, err) == (0, ""), out
    return root


def epochs_done(results: Path) -> list[int]:
    return [len(Store(results).curve(key)) for key in KEYS]


@pytest.fixture(scope="module")
def there(cluster, here, tmp_path_factory):
    """The sweep on Ray: its first driver is killed, then a node of two. Results, outputs."""
    results = tmp_path_factory.mktemp("ray") / "results"
    arguments = (*SWEEP, "hydra/launcher=ray", f"data_dir={here}/data", f"results_dir={results}")
    second = cluster.add_node(**node())
    process = start(*arguments)
    try:
        assert wait_until(lambda: max(epochs_done(results)) > 0, SLOW)
        os.kill(process.pid, signal.SIGKILL)
    finally:
        code, out, _ = finish(process)
    assert code == -signal.SIGKILL, out
    store = Store(results)
    assert wait_until(lambda: not any(map(store.holder, KEYS)), SLOW), "runs go on without their launcher"
    left = epochs_done(results)
    process = start(*arguments)
    try:
        assert wait_until(lambda: sum(store.holder(key) is not None for key in KEYS) == 2, SLOW), "on two nodes"
        cluster.remove_node(second, allow_graceful=False)
    finally:
        outcome = finish(process, SLOW)
    return results, left, outcome


def test_a_killed_node_and_a_killed_driver_cost_no_run(there):
    results, left, (code, out, err) = there
    assert max(left) < EPOCHS
    assert (code, err) == (0, ""), out
    assert re.search(r"once more seed=\d: its worker on \S+, process \d+, was lost", out), out
    assert [record.status for record in Store(results).records()] == ["finished"] * 3
    assert out.count("\nfinished seed=") == 3


def test_progress_is_shown_as_the_local_launcher_does(there):
    _, _, (_, out, _) = there
    assert re.search(
        rf"seed=\d: epoch {EPOCHS}/{EPOCHS}, loss 0\.\d+, validation top-1 \d+\.\d\d %, [\d,]+ images/s", out
    )


def test_records_and_weights_are_those_of_the_local_launcher(there, here):
    assert facts(there[0]) == facts(here / "results")


def test_nothing_is_left_over(there):
    results = there[0]
    assert sorted(path.name for path in results.iterdir()) == sorted([*KEYS, "sweeps"])


def test_results_are_sent_back_where_workers_do_not_see_the_folder(cluster, here, tmp_path):
    arguments = (
        "seed=0",
        "hydra/launcher=ray",
        "hydra.launcher.store=driver",
        f"data_dir={here}/data",
        f"results_dir={tmp_path}",
    )
    code, out, err = finish(start(*SWEEP, *arguments, "stop_epoch=2"), SLOW)
    assert (code, err) == (0, ""), out
    assert "sends its results here" in out
    assert (tmp_path / KEYS[0] / "checkpoint.pt").exists()
    code, out, err = finish(start(*SWEEP, *arguments), SLOW)
    assert (code, err) == (0, ""), out
    assert facts(tmp_path)[KEYS[0]] == facts(here / "results")[KEYS[0]]
    assert (tmp_path / KEYS[0] / "log").read_text().count(" epoch 1: ") == 1, "resumed"


def test_a_search_runs_on_ray(cluster, here, tmp_path):
    space = ("arch.sr=0.25,0.5", "arch.bypass=none", "arch.incr_e=16", "arch.freq=2", "arch.pct_3x3=0.5")
    options = ("search.budget_runs=2", "search.first=[]", f"data_dir={here}/data", f"results_dir={tmp_path}")
    code, out, err = finish(start("experiment=search", *TINY, *space, *options, "hydra/launcher=ray"), SLOW)
    assert (code, err) == (0, ""), out
    assert "2 networks tried: " in out


def test_a_cluster_that_is_not_there_is_named_on_one_line(tmp_path, monkeypatch):
    (port,) = free_ports(1)
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
    code, _, err = command(*SWEEP, "hydra/launcher=ray", f"data_dir={tmp_path}", f"results_dir={tmp_path}/results")
    assert code == 2
    assert err.startswith(f"sweep: RAY_ADDRESS must be the address of a Ray cluster, got '127.0.0.1:{port}': ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hydra.launcher.store=none", "hydra.launcher.store must be one of auto, shared, driver, got 'none'"),
        ("device=cuda:1", "device must be auto, cpu or cuda on a cluster, got 'cuda:1'"),
    ],
)
def test_settings_that_cannot_be_are_refused(override, message, tmp_path, monkeypatch):
    monkeypatch.setattr("sweep.preparation.check_machine", lambda *_: None)
    options = ("hydra/launcher=ray", f"data_dir={tmp_path}/data", f"results_dir={tmp_path}/results")
    assert answered(*SWEEP, *options, override)[::2] == (2, f"sweep: {message}\n")
