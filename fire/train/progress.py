"""Reports of training. Standard library only, so that showing or unpickling them does not import torch."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """A row of the training curve: losses in nats, top1 as a fraction of 1, seconds of work since the run began."""

    epoch: int
    lr: float
    train_loss: float
    validation_loss: float
    validation_top1: float
    train_seconds: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Note:
    """Something that happened to a run and that its user should know, in one line; the run continues."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is. epochs_done may have a fraction; loss is the mean since the epoch began."""

    epochs_done: float
    epochs: int
    loss: float
    images_per_second: float
    curve: tuple[Epoch, ...]
