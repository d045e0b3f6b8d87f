"""What this machine has to compute with: cores, GPUs, bfloat16. Standard library only."""

import functools
import itertools
import math
import os
import platform
import re
import runpy
import subprocess
from importlib.util import find_spec
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")  # of Linux
QUOTA = Path("/sys/fs/cgroup/cpu.max")  # in microseconds; a container sees its own
DEVICES = Path("/dev")
AMD = "AuthenticAMD"
INSTRUCTIONS = {"amx_bf16": "AMX", "avx512f": "AVX-512", "avx2": "AVX2"}  # Linux' flags of those that oneDNN uses
KERNEL_FLAG = "avx512f"  # with narrower registers the compiled kernels are slower than those of torch: docs/log.md
BF16_CAPABILITY = (8, 0)  # of NVIDIA's GPUs, from Ampere on


def cores() -> int:
    """The cores this process may use: in a container no more than its share of processor time amounts to."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = QUOTA.read_text().split()  # "max 100000" without a limit
        return min(count, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):
        return count


def processor() -> str:
    """The name of the processor."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def gpus() -> list[str]:
    """The GPUs this process may use, named as in CUDA_VISIBLE_DEVICES; found without importing torch.

    None of them if torch is built without CUDA: runs that were given a GPU would train on the processor. CUDA ignores
    the variable from the first number on that is no GPU's, and so does this.
    """
    listed = [line for line in _nvidia_smi("--list-gpus") if line.startswith("GPU ")]  # its MIG parts lie below it
    count = len(listed) or len(list(DEVICES.glob("nvidia[0-9]*")))
    # The variable alone is no GPU: many set it on every machine.
    if count == 0 or not torch_has_cuda():
        return []
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    numbers = [str(number) for number in range(count)]
    if allowed is None:
        return numbers
    names = map(str.strip, allowed.split(","))
    return list(itertools.takewhile(lambda name: name in numbers or name.startswith(("GPU-", "MIG-")), names))


@functools.cache
def torch_has_cuda() -> bool:
    """Whether torch is built for NVIDIA's GPUs; found without importing it, which takes a second."""
    torch = find_spec("torch")
    if torch is None or torch.origin is None:
        return False
    return runpy.run_path(str(Path(torch.origin).with_name("version.py"))).get("cuda") is not None


@functools.cache
def has_fast_bf16(device: str) -> bool:
    """Whether the processor ("cpu") or all GPUs ("cuda") multiply bfloat16 numbers faster than float32.

    Processors with AVX512-BF16 alone do if they are AMD's; on Intel's, convolutions take twice as long: docs/log.md.
    Without such instructions bfloat16 is emulated.
    """
    match device:
        case "cpu":
            flags = _processor_flags()
            return "amx_bf16" in flags or ("avx512_bf16" in flags and _cpuinfo("vendor_id") == AMD)
        case "cuda":
            lines = _nvidia_smi("--query-gpu=compute_cap", "--format=csv,noheader")
            found = [re.fullmatch(r"(\d+)\.(\d+)", line.strip()) for line in lines]  # or [N/A]
            return bool(found) and all(each and (int(each[1]), int(each[2])) >= BF16_CAPABILITY for each in found)
    raise ValueError(f"device must be cpu or cuda, got {device!r}")


def fastest_precision(device: str) -> str:
    """What train.precision=auto means on a device, "cpu" or "cuda": "bf16" where that is faster, else "fp32".

    The same for every network: chosen by a stopwatch, the same command would train in one precision today and in the
    other tomorrow.
    """
    return "bf16" if has_fast_bf16(device) else "fp32"


def suits_kernels() -> bool:
    """Whether the processor runs the compiled kernels faster than those of torch."""
    return KERNEL_FLAG in _processor_flags()


def instructions() -> str:
    """The widest instructions of the processor, such as "AVX-512"; empty if it has none that we know."""
    return next((name for flag, name in INSTRUCTIONS.items() if flag in _processor_flags()), "")


def _processor_flags() -> set[str]:
    return set(_cpuinfo("flags").split())


def _cpuinfo(name: str) -> str:
    """The first value of that name in /proc/cpuinfo; empty where there is none."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), "")


def _nvidia_smi(*arguments: str) -> list[str]:
    """The lines it prints; none where there is no such program, or no GPU."""
    try:
        done = subprocess.run(["nvidia-smi", *arguments], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    return [line for line in done.stdout.splitlines() if line.strip()]
