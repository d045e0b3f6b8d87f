"""Checkpoints for tests: of a network one step after it was made."""

import hashlib
import io
import re
from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from fire.model import build
from fire.train import checkpoints
from fire.train.checkpoints import Checkpoint, CheckpointError
from fire.train.optimizers import build_optimizers
from fire.train.progress import Epoch
from fire.train.spec import TrainSpec

EPOCHS = 3
CURVE = tuple(
    Epoch(epoch=i, lr=0.1, train_loss=2.0, validation_loss=2.0, validation_top1=0.1, train_seconds=1.0, seconds=1.0)
    for i in (1, 2)
)


DAMAGED = re.compile("^the checkpoint is damaged(, or of another version)?$")


def torch_state(path: Path) -> dict:
    """What torch.save wrote of the checkpoint."""
    return torch.load(io.BytesIO(checkpoints._verified(path.read_bytes())), weights_only=True)


def save(state: object, path: Path) -> None:
    """Write what no program of ours wrote, with the checksum that it would have."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    path.write_bytes(checkpoints.MAGIC + hashlib.sha256(content).digest() + content)


def write(path: Path, network: nn.Module, optimizers, average: nn.Module | None) -> None:
    checkpoint = Checkpoint(
        network=network.state_dict(),
        optimizers=[optimizer.state_dict() for optimizer in optimizers],
        average=None if average is None else average.state_dict(),
        curve=CURVE,
        precision="fp32",
        kernels="torch",
        threads=1,
    )
    checkpoints.write(path, checkpoint)


class Parts:
    """A network, its optimizers and its averaged weights, one step after they were made."""

    def __init__(self, arch, optimizer: str = "sgd", ema: float = 0.9, momentum: float = 0.9) -> None:
        spec = TrainSpec(optimizer=optimizer, ema=ema, momentum=momentum, nesterov=momentum > 0)
        self.network = build(arch, channels=1, seed=0)
        self.optimizers = build_optimizers(self.network, spec)
        self.average = AveragedModel(self.network, use_buffers=True) if ema else None

    def step(self) -> "Parts":
        self.network(torch.ones(2, 1, 8, 8)).square().sum().backward()
        for optimizer in self.optimizers:
            optimizer.step()
        self.network.zero_grad()
        return self

    def write(self, path: Path) -> Path:
        write(path, self.network, self.optimizers, self.average)
        return path

    def restore(self, path: Path) -> None:
        saved = checkpoints.read(path, EPOCHS)
        assert saved is not None
        saved.restore(self.network, self.optimizers, self.average)


def is_refused(path: Path, content: bytes) -> bool:
    path.write_bytes(content)
    try:
        checkpoints.read(path, EPOCHS)
    except CheckpointError as error:
        assert DAMAGED.match(str(error))  # noqa: PT017 (what is not refused is counted)
        return True
    return False
