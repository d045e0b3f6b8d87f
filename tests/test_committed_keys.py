"""The committed manifests: composed again, each of their points is still the run that they name."""

import json
from collections.abc import Sequence

import pytest

from sweep import points
from sweep.manifests import Sweep
from sweep.store import Store
from tests import sweeping

COMMITTED = Store(sweeping.ROOT / "docs" / "results")
GRIDS = [
    path.stem
    for path in sorted((COMMITTED.root / "sweeps").glob("*.json"))
    if json.loads(path.read_text()).get("search") is None
]
# Manifests of earlier versions say neither experiment nor command line. Each is named after its experiment; only this
# one had more on its command line.
EARLIER = {
    "results_arch.bypass=none_compress=entropy_compress.rate=0.02_seed=0,1,2": (
        "experiment=results",
        "arch.bypass=none",
        "compress=entropy",
        "compress.rate=0.02",
    )
}


def launched_with(sweep: Sweep) -> Sequence[str]:
    """The words of the command line that all points of the sweep share."""
    if sweep.launched is None:
        return EARLIER.get(sweep.name, (f"experiment={sweep.name}",))
    experiment = () if sweep.experiment is None else (f"experiment={sweep.experiment}",)
    return *experiment, *(word for word in sweep.overrides if word.partition("=")[0] not in sweep.varied)


def fingerprint_of(sweep: Sweep) -> str:
    """That of the image folder which the sweep's runs were trained on; "" of other data."""
    records = [record for key in sweep.keys if (record := COMMITTED.read(key)) is not None]
    (fingerprint,) = {record.config.data.fingerprint for record in records if record.config is not None}
    return fingerprint


def test_there_are_manifests_of_grids():
    assert len(GRIDS) >= 13


@pytest.mark.parametrize("name", GRIDS)
def test_the_points_of_a_manifest_lead_to_its_keys(name, monkeypatch):
    sweep = COMMITTED.read_sweep(name)
    assert sweep is not None, "it can be read"
    words, fingerprint = launched_with(sweep), fingerprint_of(sweep)
    if fingerprint:  # where the folder was is not in the manifest, nor does it count
        words = [*words, "data.root=images"]
    monkeypatch.setattr(points, "describe_folder", lambda root, data_dir: (10, fingerprint))
    planner = sweeping.planner.__wrapped__()  # not the one of other tests, which describes folders
    found = [
        planner.point([*words, *(f"{key}={value}" for key, value in settings.items())]).key
        for settings, _ in sweep.points
    ]
    assert found == list(sweep.keys)
    assert len(set(found)) == len(found) > 1
