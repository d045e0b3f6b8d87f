"""Which arithmetic a network trains in, chosen by measuring."""

import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F

from fire.augment import Batches
from fire.model import Network
from fire.recipe import TrainSpec

TRIAL_IMAGES = 32
TRIAL_STEPS = 3


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """The context of a forward pass: bfloat16 for convolutions and linear layers, or nothing for fp32."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def faster_precision(network: Network, batches: Batches, spec: TrainSpec, device: torch.device) -> str:
    """ "bf16" or "fp32", whichever takes less time for a training step of this network on this device.

    Measured, and the network left as it was: bf16 wins on wide networks where the hardware has it, and loses on narrow
    ones.
    A small batch tells as well as a whole one, in a third of the time; the rest is oneDNN making its kernels.
    """
    images, labels = next(batches.in_order(min(TRIAL_IMAGES, spec.batch_size)))
    seconds = {}
    statistics = [buffer.clone() for buffer in network.buffers()]  # which batch normalisation keeps
    network.train()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        for precision in ("fp32", "bf16"):
            times = []
            for _ in range(TRIAL_STEPS):
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                started = time.perf_counter()
                with autocast(device, precision):
                    logits = network(images)
                F.cross_entropy(logits.float(), labels).backward()
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                times.append(time.perf_counter() - started)
            seconds[precision] = min(times[1:])  # the first step also prepares kernels
    network.zero_grad()
    for buffer, former in zip(network.buffers(), statistics, strict=True):
        buffer.copy_(former)
    return min(seconds, key=lambda precision: seconds[precision])
