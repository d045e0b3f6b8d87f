"""What the machine is found to have, on machines made up for it."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fire.machine import hardware, native

EPYC_ZEN3 = "fma avx avx2 sha_ni"
EPYC_ZEN4 = "fma avx2 avx512f avx512_bf16 avx512_vnni"
SAPPHIRE_RAPIDS = "avx512f avx512_bf16 amx_bf16 amx_tile amx_int8"
WITHOUT_TILES = "avx2 avx512f avx512_bf16 avx512_fp16"  # the same processor in a virtual machine that hides AMX
SKYLAKE = "avx2 avx512f avx512dq"
INTEL, AMD = "GenuineIntel", "AuthenticAMD"


@pytest.fixture(autouse=True)
def nothing_remembered():
    for remembering in (hardware.has_fast_bf16, hardware.torch_has_cuda):
        remembering.cache_clear()
    yield
    for remembering in (hardware.has_fast_bf16, hardware.torch_has_cuda):
        remembering.cache_clear()


def torch_with(folder, version):
    """What finds a torch whose version.py has this line."""
    (folder / "version.py").write_text(f"__version__ = '2.11.0'\n{version}\n")
    return lambda name: SimpleNamespace(origin=str(folder / "__init__.py"))


@pytest.fixture
def nvidia_smi(monkeypatch, tmp_path):
    """A machine whose nvidia-smi is this shell script, with a torch that is built for its GPUs."""
    monkeypatch.setattr(hardware, "find_spec", torch_with(tmp_path, "cuda: str | None = '13.0'"))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(hardware, "DEVICES", tmp_path / "dev")

    def make(script: str) -> None:
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)

    return make


TWO_GPUS = """case $1 in
--list-gpus) echo 'GPU 0: A (UUID: x)'; echo 'GPU 1: A (UUID: y)';;
--query-gpu=compute_cap) echo 9.0; echo 8.0;;
esac"""


@pytest.mark.parametrize(
    ("vendor", "flags", "precision", "instructions"),
    [
        (AMD, EPYC_ZEN3, "fp32", "AVX2"),
        (INTEL, SKYLAKE, "fp32", "AVX-512"),
        (AMD, EPYC_ZEN4, "bf16", "AVX-512"),
        (INTEL, SAPPHIRE_RAPIDS, "bf16", "AMX"),
        (INTEL, WITHOUT_TILES, "fp32", "AVX-512"),
        (INTEL, "sse2", "fp32", ""),
    ],
)
def test_precision_and_instructions_of_processors(vendor, flags, precision, instructions, monkeypatch, tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: fpu {flags}\n\nprocessor\t: 1\n")
    monkeypatch.setattr(hardware, "CPUINFO", cpuinfo)
    assert (hardware.fastest_precision("cpu"), hardware.instructions()) == (precision, instructions)


@pytest.mark.parametrize(
    ("flags", "device", "expected"),
    [
        (EPYC_ZEN3, "cpu", "torch"),
        (SKYLAKE, "cpu", "compiled"),
        (SAPPHIRE_RAPIDS, "cpu", "compiled"),
        (SAPPHIRE_RAPIDS, "cuda", "torch"),
    ],
)
def test_kernels_of_processors(flags, device, expected, monkeypatch, tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"flags\t\t: fpu {flags}\n")
    monkeypatch.setattr(hardware, "CPUINFO", cpuinfo)
    monkeypatch.setattr(native, "available", lambda: True)
    assert native.fastest(device) == expected
    monkeypatch.setattr(native, "available", lambda: False)
    assert native.fastest(device) == "torch"


def test_a_machine_without_cpuinfo_has_no_bf16(monkeypatch):
    monkeypatch.setattr(hardware, "CPUINFO", Path("/no/such/file"))
    assert hardware.fastest_precision("cpu") == "fp32"
    assert native.fastest("cpu") == "torch"
    assert hardware.processor()


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ("9.0", "bf16"),
        ("10.0", "bf16"),
        ("8.0\n8.9", "bf16"),
        ("7.5", "fp32"),
        ("9.0\n7.5", "fp32"),
        ("[N/A]", "fp32"),
        ("9.0\n[Unknown Error]", "fp32"),
    ],
)
def test_precision_of_gpus(capabilities, expected, nvidia_smi):
    nvidia_smi(f"printf '{capabilities}\\n'")
    assert hardware.fastest_precision("cuda") == expected


def test_another_kind_of_device_is_an_error():
    with pytest.raises(ValueError, match="device must be cpu or cuda, got 'mps'"):
        hardware.fastest_precision("mps")


def test_gpus_are_counted_without_torch(nvidia_smi, monkeypatch):
    nvidia_smi(TWO_GPUS)
    assert hardware.gpus() == ["0", "1"]


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ("1", ["1"]), ("1, 0", ["1", "0"]), ("", []), ("-1", []), ("GPU-8c9e,1", ["GPU-8c9e", "1"]),
        # CUDA's rule: of the devices before the first number that is none.
        ("0,-1,1", ["0"]), ("-1,0", []), ("7", []), ("1,2,0", ["1"]),
    ],
)  # fmt: skip
def test_gpus_are_those_that_cuda_shows(variable, expected, nvidia_smi, monkeypatch):
    nvidia_smi(TWO_GPUS)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert hardware.gpus() == expected


def test_the_parts_of_a_gpu_are_no_gpus(nvidia_smi):
    nvidia_smi("echo 'GPU 0: A (UUID: x)'; echo '  MIG 1g.10gb     Device  0: (UUID: y)'")
    assert hardware.gpus() == ["0"]


@pytest.mark.parametrize("version", ["cuda: str | None = None", "hip = '6.4'"])
def test_a_torch_without_cuda_has_no_gpus(version, nvidia_smi, monkeypatch, tmp_path):
    nvidia_smi(TWO_GPUS)
    monkeypatch.setattr(hardware, "find_spec", torch_with(tmp_path, version))
    assert hardware.gpus() == []


def test_what_this_torch_is_built_for():
    assert hardware.torch_has_cuda() == (torch.version.cuda is not None)


def test_a_variable_alone_is_no_gpu(nvidia_smi, monkeypatch):
    nvidia_smi("exit 9")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert hardware.gpus() == []


def test_gpus_of_a_container_without_nvidia_smi(nvidia_smi, tmp_path):
    nvidia_smi("exit 127")
    (tmp_path / "dev").mkdir()
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / "dev" / name).touch()
    assert hardware.gpus() == ["0", "1"]


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("max 100000", 8), ("250000 100000", 3), ("50000 100000", 1), ("9900000 100000", 8), ("odd", 8), (None, 8)],
)
def test_a_containers_share_bounds_the_cores(quota, expected, monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    monkeypatch.setattr(hardware, "QUOTA", tmp_path / "cpu.max")
    if quota is not None:
        (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert hardware.cores() == expected
