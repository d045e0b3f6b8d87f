"""Every number that a user can set, at values beyond all reason: refused by its rule, or the run leaves a record."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from fire.arch import AlexNetSpec
from fire.compress.spec import CompressSpec
from fire.errors import InputError, SpecError
from fire.train.spec import TrainSpec
from sweep.config import PARTS, RunConfig
from sweep.run import run
from tests.sweeping import TINY, Launch, launch

FLOATS = (math.inf, -math.inf, math.nan, -1.0, 1e308)
INTEGERS = (-1, 2**31, 2**64)
LONG = ("epochs", "final_epochs")  # 2^31 epochs are a legal wish


@pytest.fixture(scope="module")
def launched(tmp_path_factory) -> Launch:
    folder = tmp_path_factory.mktemp("extreme")
    return launch(*TINY, "train.epochs=1", "data.limit=64", f"data_dir={folder}/data", f"results_dir={folder}/results")


@pytest.fixture(scope="module")
def tiny(launched) -> RunConfig:
    return launched.config


def extremes(spec: Any) -> Iterator[tuple[str, float]]:
    """Each number of the specification with its extreme values."""
    for field in dataclasses.fields(spec):
        kind = type(getattr(spec, field.name))
        for value in FLOATS if kind is float else INTEGERS if kind is int else ():
            yield field.name, value


def accepted(tiny: RunConfig, part: str) -> Iterator[tuple[str, float, RunConfig]]:
    """The extreme settings of a part that no rule refuses; a refusal must name the field and the value."""
    for name, value in extremes(getattr(tiny, part) if part else tiny):
        refusal, made = "", tiny
        try:
            changed = {name: value} if not part else {part: replace(getattr(tiny, part), **{name: value})}
            made = replace(tiny, **changed)
            _ = made.cost
        except InputError as error:
            refusal = str(error)
        if refusal:
            assert f"{name} must be" in refusal
        else:
            yield name, value, made


@pytest.mark.parametrize("part", [*(part for part in PARTS if part != "compress"), ""])
def test_a_run_with_an_extreme_setting_leaves_a_record(launched, part):
    for name, value, made in accepted(launched.config, part):
        assert math.isfinite(value), f"{part}.{name}={value} cannot be written into a record"
        if name not in LONG:
            record = run(made, launched.options)
            assert launched.store.read(made.key) == record, f"{part}.{name}={value}"


def test_a_run_with_an_extreme_option_leaves_a_record(launched):
    for name, value in extremes(launched.options):
        refusal, made = "", launched
        try:
            made = launched.having(**{name: value})
        except InputError as error:
            refusal = str(error)
        if refusal:
            assert f"{name} must be" in refusal
        else:
            record = run(*made)
            assert made.store.read(made.config.key) == record, f"{name}={value}"


@pytest.mark.parametrize("spec", [CompressSpec(), AlexNetSpec(), TrainSpec()])
def test_what_cannot_be_written_into_a_record_is_refused(spec):
    for name, value in extremes(spec):
        if not math.isfinite(value):
            with pytest.raises(SpecError, match=rf"{name} must be .*, got {value!r}"):
                replace(spec, **{name: value})


def test_a_network_beyond_all_reason_is_refused(tiny):
    with pytest.raises(SpecError, match=r"^arch must be a network of less than 2\^63 MACs an image, got \d+$"):
        _ = replace(tiny, arch=replace(tiny.arch, base_e=2**20, incr_e=2**20, freq=1, fires=512, sr=1.0)).cost


def test_rules_of_settings_that_may_be_0_say_so():
    for name in ("weight_decay", "muon_weight_decay"):
        with pytest.raises(SpecError, match=rf"^train\.{name} must be at least 0 and finite, got inf$"):
            TrainSpec(**{name: math.inf})
    with pytest.raises(SpecError, match=r"^train\.clip must be at least 0 and finite \(0: no clipping\), got inf$"):
        TrainSpec(clip=math.inf)


def test_a_seed_is_one_that_generators_take(launched, tiny):
    assert run(replace(tiny, seed=2**64 - 1), launched.options).status == "finished"
    with pytest.raises(SpecError, match=r"^seed must be at least 0 and below 2\^64, got 18446744073709551616$"):
        replace(tiny, seed=2**64)
