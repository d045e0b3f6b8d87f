"""What of training on a GPU can be tested without one: no step waits for it, and its settings."""

from dataclasses import replace
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fire.data import batches
from fire.data.batches import Batches, to_device
from fire.machine.process import prepare_process
from fire.model import build
from fire.train import loop
from fire.train.spec import TrainSpec
from fire.train.training import train

SPEC = TrainSpec(epochs=1, batch_size=64, lr=0.1, precision="fp32", kernels="torch")


class Copies(TorchDispatchMode):
    """The operations that take numbers from the processor to the device "meta", which computes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        from_cpu = [
            each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor) and each.device.type == "cpu"
        ]
        if from_cpu and any(isinstance(each, Tensor) and each.is_meta for each in tree_leaves(result)):
            self.found.append(str(func))
        return result


class Reads(TorchDispatchMode):
    """How often a number of a tensor becomes one of Python: on a GPU each waits for all steps before it."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_the_numbers_of_a_step_are_copied_without_waiting(digits, monkeypatch):
    everything = replace(SPEC, shift=1, erase=0.3, mixup=0.4)
    data = replace(digits, spec=replace(digits.spec, mirror=True))
    made = Batches(data.train, data, everything, torch.device("meta"))  # its numbers cannot be read: that would raise
    generator = torch.Generator().manual_seed(0)
    with Copies() as copies:
        images, labels = next(made.shuffled(64, generator))
    assert (images.shape, labels.shape) == ((64, 1, 8, 8), (64, 10))
    assert len(copies.found) == 5, "positions, crop, mirror, erase, mix"

    def without_copy(numbers, device):
        return torch.empty(numbers.shape, dtype=numbers.dtype, device=device)

    monkeypatch.setattr(batches, "to_device", without_copy)
    with Copies() as copies:
        next(made.shuffled(64, generator))
        next(made.in_order(64))
    assert copies.found == [], "all of them by to_device"


def test_numbers_go_to_a_gpu_through_page_locked_memory():
    numbers, gpu = Mock(spec=Tensor), torch.device("cuda")
    moved = to_device(numbers, gpu)
    numbers.pin_memory.return_value.to.assert_called_once_with(gpu, non_blocking=True)
    assert moved is numbers.pin_memory.return_value.to.return_value


@pytest.mark.parametrize(
    "changes",
    [
        {"clip": 1.0},
        {"optimizer": "muon", "label_smoothing": 0.1},
        {"shift": 1, "erase": 0.3, "half_size_until": 0.5, "schedule": "linear"},
    ],
    ids=["sgd", "muon", "augmented"],
)
def test_no_step_waits_for_a_number(changes, narrow, digits, cpu, monkeypatch):
    monkeypatch.setattr(loop, "REPORT_SECONDS", float("inf"))  # the report of each second reads the loss
    counts = []
    for batch_size in (64, 16):
        with Reads() as reads:
            train(build(narrow, 1), digits, replace(SPEC, batch_size=batch_size, **changes), seed=0, device=cpu)
        counts.append(reads.count)
    assert counts[0] > 0, "the mean loss of the epoch, the scores of its end"
    assert counts[0] == counts[1], "19 steps and 77"


@pytest.fixture
def flags():
    """Puts cuDNN's settings back."""
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.conv.fp32_precision
    yield cudnn
    cudnn.deterministic, cudnn.conv.fp32_precision = before


@pytest.mark.parametrize(("device", "expected"), [("cuda", (True, "ieee")), ("cpu", (False, "tf32"))])
def test_a_gpu_repeats_its_bits_and_computes_fp32_as_such(device, expected, flags, monkeypatch):
    flags.deterministic, flags.conv.fp32_precision = False, "tf32"
    monkeypatch.setattr(torch, "empty", lambda *shape, device: None)  # there is no GPU to make it on
    assert prepare_process(device, 1) == torch.device(device)
    assert (flags.deterministic, flags.conv.fp32_precision) == expected
