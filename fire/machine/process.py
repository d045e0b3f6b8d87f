"""This process, set up for training on a device."""

import ctypes

import torch

from fire.errors import InputError
from fire.machine import hardware


def prepare_process(device: str, threads: int) -> torch.device:
    """Set this process up for training; the device that the choice leads to.

    Raises InputError if the device is not there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device must be one that torch can use here, got {device!r}") from error
    if threads or chosen.type == "cpu":
        torch.set_num_threads(min(threads or 1, hardware.cores()))
    torch.set_flush_denormal(True)
    if chosen.type == "cuda":
        _compute_the_same_bits()
    _keep_freed_memory()
    return chosen


def _compute_the_same_bits() -> None:
    """Have cuDNN repeat its bits, and compute fp32 as such: by default it rounds to the 10 bits of TF32."""
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]


def _keep_freed_memory() -> None:
    """Have glibc keep what is freed: else each step maps and clears its tensors anew, a fifth of its time."""
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return  # another C library
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(top_pad, 2**24)
    mallopt(mmap_threshold, 2**30)


def device_name(device: torch.device) -> str:
    """What records call it."""
    return str(device) if device.type == "cpu" else torch.cuda.get_device_name(device)
