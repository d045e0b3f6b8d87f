"""How long a network takes for one image."""

import time

import torch
from torch import nn

from fire.machine.accelerate import accelerate

REPEATS = 20


@torch.inference_mode()
def latency(network: nn.Module, image_size: int, channels: int, device: torch.device) -> float:
    """Seconds of a forward pass of one fp32 image, with the process's threads: the shortest of 20.

    The shortest, since whatever else the machine does only adds to it. The network is left in evaluation mode; its
    1x1 convolutions of many channels are computed as matrix products, as in training.
    """
    faster = accelerate(network.eval(), "torch")
    image = torch.zeros(1, channels, image_size, image_size, device=device)
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        faster(image)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return min(times)
