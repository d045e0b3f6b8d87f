"""The paper's claims as contrasts, on accuracies made up so that each result follows by hand."""

import dataclasses

import numpy as np
import pytest

from analysis import claims
from analysis.results import read
from fire.arch import SqueezeNetSpec
from fire.stats import p_of_zero
from sweep.store import Store
from tests.records import DATA, TRAIN, record
from tests.sweeping import ROOT


def test_p_by_hand():
    # With 2 degrees of freedom p is 1 - t / sqrt(2 + t^2); the mean is 2, the standard deviation 1, so t^2 is 12.
    assert p_of_zero([1.0, 2.0, 3.0]) == pytest.approx(1 - np.sqrt(12 / 14))
    assert p_of_zero([-1.0, -2.0, -3.0]) == p_of_zero([1.0, 2.0, 3.0])
    assert (p_of_zero([1.0, -1.0]), p_of_zero([0.0, 0.0]), p_of_zero([1.0, 1.0])) == (1, 1, 0)
    assert np.isnan(p_of_zero([1.0]))


def add(store: Store, name: str, accuracies: list[float], train=TRAIN, **arch) -> None:
    """A run for each accuracy, each with its own seed."""
    for seed, top1 in enumerate(accuracies):
        spec = SqueezeNetSpec(classes=10, **arch)
        store.write(record(f"{name}{seed}", arch=spec, seed=seed, top1=top1, train=train))


def test_the_knee_by_hand(tmp_path):
    store = Store(tmp_path)
    add(store, "a", [0.50, 0.50, 0.50, 0.9], sr=0.125)
    add(store, "b", [0.60, 0.61, 0.62, 0.9], sr=0.25)
    add(store, "c", [0.65, 0.65, 0.65], sr=0.5)
    (row,) = claims.table(claims.tested(read(tmp_path).runs)).to_dict("records")
    assert (row["claim"], row["data"], row["n"]) == ("a knee at SR 0.25", "digits, 3 epochs", 3), "seed 3 has no SR 0.5"
    # By seed 0.10 - 0.05, 0.11 - 0.04, 0.12 - 0.03; the standard deviation is 0.02, Student's t with 2 degrees 4.30265
    assert row["difference"] == pytest.approx(0.07)
    assert row["difference_high"] - 0.07 == pytest.approx(4.30265 * 0.02 / np.sqrt(3), rel=1e-5)
    assert row["p"] == pytest.approx(p_of_zero([0.05, 0.07, 0.09]))
    (section,) = claims.of(read(tmp_path))
    assert section.tables[0][0] == "claims"


def test_simple_bypass_against_both_others_with_one_seed(tmp_path):
    store = Store(tmp_path)
    for bypass, top1 in (("none", 0.5), ("simple", 0.6), ("complex", 0.7)):
        add(store, bypass, [top1], bypass=bypass)
    found = claims.table(claims.tested(read(tmp_path).runs)).set_index("contrast")
    assert found["difference"].round(9).to_dict() == {"simple less none": 0.1, "simple less complex": -0.1}
    assert found["p"].isna().all()
    assert found["difference_low"].isna().all()


def test_a_contrast_that_is_zero_but_for_rounding_is_zero(tmp_path):
    store = Store(tmp_path)
    for sr, top1 in ((0.125, 0.7), (0.25, 0.8), (0.5, 0.9)):
        add(store, f"s{sr}-", [top1, top1 + 0.01], sr=sr)
    (row,) = claims.table(claims.tested(read(tmp_path).runs)).to_dict("records")
    assert 2 * 0.8 - 0.7 - 0.9 != 0, "in floating point"
    assert (row["difference"], row["p"]) == (0, 1)


def test_the_section_says_that_runs_were_computed_otherwise(tmp_path):
    store = Store(tmp_path)
    for bypass, precision in (("none", "fp32"), ("simple", "bf16")):
        store.write(record(bypass, arch=SqueezeNetSpec(classes=10, bypass=bypass), precision=precision))
    store.write(record("other", arch=SqueezeNetSpec(classes=10, bypass="none", sr=0.5), precision="tf32"))
    ((_, note),) = [section.notes for section in claims.of(read(tmp_path))]
    assert "precision bf16 (1), fp32 (1)" in note


def test_runs_of_other_recipes_and_networks_are_never_paired(tmp_path):
    store = Store(tmp_path)
    add(store, "a", [0.5, 0.6], pct_3x3=0.5)
    add(store, "b", [0.5, 0.5], pct_3x3=0.99, train=dataclasses.replace(TRAIN, epochs=24))
    add(store, "c", [0.5, 0.5], pct_3x3=0.99, sr=0.5)
    assert claims.table(claims.tested(read(tmp_path).runs)).empty
    assert not list(claims.of(read(tmp_path)))
    add(store, "d", [0.4, 0.3], pct_3x3=0.5, sr=0.5)
    add(store, "e", [0.4, 0.5], pct_3x3=0.99)
    found = claims.table(claims.tested(read(tmp_path).runs)).set_index("network")["difference"]
    assert found.round(9).to_dict() == {"sr 0.125": 0.1, "sr 0.5": -0.15}


def test_what_is_tested_is_what_the_page_says():
    page = (ROOT / "docs/curves.md").read_text()
    for claim in claims.CLAIMS:
        assert claim.text in page
        assert claim.contrast in page


def test_what_sets_rows_of_the_same_data_and_epochs_apart_is_named(tmp_path):
    store = Store(tmp_path)
    for limit, top1 in ((0, 0.9), (100, 0.5)):
        for bypass in ("none", "simple"):
            spec, data = SqueezeNetSpec(classes=10, bypass=bypass), dataclasses.replace(DATA, limit=limit)
            store.write(record(f"{bypass}{limit}", arch=spec, data=data, top1=top1 + 0.1 * (bypass == "simple")))
    assert claims.table(claims.tested(read(tmp_path).runs))["network"].tolist() == ["limit 0", "limit 100"]
