"""What decides the bits of a sweep's runs: chosen by the hardware, kept by the manifest."""

from dataclasses import replace

import pytest

from fire.errors import InputError
from fire.machine import hardware, native
from fire.train.spec import TrainSpec
from sweep.arithmetic import arithmetic_of, as_begun, described, with_arithmetic
from sweep.config import Options
from sweep.manifests import Arithmetic, Sweep
from sweep.store import Store

HERE = Arithmetic(precision="fp32", kernels="compiled", threads=1)
ELSEWHERE = Arithmetic(precision="bf16", kernels="torch", threads=4)
BEGUN_ELSEWHERE = Sweep(name="sr", varied=(), points=(), arithmetic=ELSEWHERE)


@pytest.fixture(autouse=True)
def two_cores_a_compiler_no_bf16(monkeypatch):
    monkeypatch.setattr(hardware, "cores", lambda: 2)
    monkeypatch.setattr(hardware, "gpus", list)
    monkeypatch.setattr(hardware, "has_fast_bf16", lambda device: False)
    monkeypatch.setattr(hardware, "suits_kernels", lambda: True)
    monkeypatch.setattr(native, "available", lambda: True)


@pytest.fixture
def options():
    return Options()


@pytest.mark.parametrize(
    ("given", "former", "expected"),
    [
        ({}, None, HERE),
        ({"workers": 1}, None, HERE),  # a run by itself as one of many
        ({}, Sweep(name="sr", varied=(), points=()), HERE),  # a manifest of an earlier version
        ({}, BEGUN_ELSEWHERE, ELSEWHERE),
        ({"threads": 2}, BEGUN_ELSEWHERE, replace(ELSEWHERE, threads=2)),
        ({"auto_precision": "fp32"}, BEGUN_ELSEWHERE, replace(ELSEWHERE, precision="fp32")),
        ({"auto_kernels": "torch"}, None, replace(HERE, kernels="torch")),
    ],
)
def test_the_user_decides_then_the_first_launch_then_the_machine(given, former, expected):
    assert arithmetic_of(Options(**given), former) == expected


def test_gpus_have_kernels_of_their_own(options, monkeypatch):
    monkeypatch.setattr(hardware, "gpus", lambda: ["0"])
    monkeypatch.setattr(hardware, "has_fast_bf16", lambda device: device == "cuda")
    assert arithmetic_of(options, None) == Arithmetic(precision="bf16", kernels="torch", threads=1)


def test_a_sweep_that_began_with_compiled_kernels_needs_a_compiler(options, monkeypatch):
    monkeypatch.setattr(native, "available", lambda: False)
    begun = replace(BEGUN_ELSEWHERE, arithmetic=HERE)
    with pytest.raises(InputError, match="auto_kernels must be torch where there is no C\\+\\+ compiler, got compiled"):
        arithmetic_of(options, begun)
    assert arithmetic_of(replace(options, auto_kernels="torch"), begun).kernels == "torch"


def test_runs_are_computed_as_was_chosen(options):
    computed = Options(auto_precision="bf16", auto_kernels="torch", threads=4, workers=3)
    assert with_arithmetic(replace(options, workers=3), ELSEWHERE) == computed


def test_a_manifest_keeps_the_choice(tmp_path):
    store = Store(tmp_path)
    store.write_sweep(BEGUN_ELSEWHERE)
    assert store.read_sweep("sr") == BEGUN_ELSEWHERE


def test_what_does_not_suit_this_machine_is_said(options):
    auto = [TrainSpec()]
    assert described(HERE, options, auto) == "fp32, kernels=compiled, 1 thread a run"
    assert described(replace(ELSEWHERE, threads=1000), options, auto) == (
        "bf16, kernels=torch, 1000 threads a run (this machine has 2 cores, which are used) "
        "(bf16 is slower than fp32 on this processor)"
    )


def test_what_the_runs_ask_for_is_said_before_what_auto_means(options):
    fp32, plain = TrainSpec(precision="fp32"), TrainSpec(channels_last=False)
    assert described(replace(ELSEWHERE, threads=2), options, [fp32]) == "fp32, kernels=torch, 2 threads a run"
    assert described(HERE, options, [plain]) == "fp32, kernels=torch, 1 thread a run"
    both = described(HERE, options, [TrainSpec(), TrainSpec(precision="bf16", kernels="torch")])
    assert both.startswith("bf16 and fp32, kernels=compiled and torch, 1 thread a run (bf16 is slower")


def test_workers_are_counted_by_the_threads_that_the_sweep_began_with(options):
    assert as_begun(options, BEGUN_ELSEWHERE).threads == 4
    assert as_begun(replace(options, threads=2), BEGUN_ELSEWHERE).threads == 2, "the user decides"
    assert as_begun(options, None) == options
