"""The training loop, for training and for the fine-tuning of compression alike.

On one kind of processor, the same seed, threads, precision and kernels give the same weights, bit for bit, also when
the run was killed and resumed from its checkpoint: each epoch draws from generators of its own, seeded by the run's
seed and the epoch.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from fire.data.batches import Batches
from fire.data.dataset import DataSet
from fire.errors import TrainingError
from fire.machine import hardware, native
from fire.machine.accelerate import accelerate
from fire.train import checkpoints
from fire.train.checkpoints import Checkpoint, CheckpointError
from fire.train.evaluation import Scores, autocast
from fire.train.optimizers import learning_rate
from fire.train.progress import Epoch, Progress
from fire.train.spec import TrainSpec

REPORT_SECONDS = 1.0

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]  # of logits (N, classes), images and labels: the mean, in nats
Report = Callable[[Progress], None]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Epochs that share their optimizers, whose learning rates are those at the peak of the schedule.

    parameters: those whose gradients are scaled down together to a norm of `clip`; 0: never.
    schedule: the recipe whose schedule it is. lr_scale: by what its learning rates are multiplied in the curve.
    half_size_until: the part of the steps, from 0 to 1, up to which images have half the side, rounded up.
    average: averaged weights, updated after every step.
    validate: scores of the network as it is, over loop.validation.
    penalty: what is added to the loss, but not in the curve, in nats.
    before_step: called with the number of the step, from 0, and the number of all steps of the stage.
    hint: what to do if the loss diverges; it ends the message, after the number of the epoch.
    """

    epochs: int
    optimizers: Sequence[Optimizer]
    parameters: Sequence[nn.Parameter]
    clip: float
    schedule: TrainSpec
    lr_scale: float = 1.0
    half_size_until: float = 0.0
    average: AveragedModel | None = None
    loss: Loss
    penalty: Callable[[], Tensor] | None = None
    before_step: Callable[[int, int], None] = lambda step, steps: None
    validate: Callable[[], Scores]
    hint: str


class Loop:
    """The training of one network, in one or more stages; the curve counts their epochs through.

    The network is changed in place. `faster` computes the same function of the same parameters.

    epochs: of all stages. checkpoint: a file that is written after each epoch; if it exists, training resumes from it.
    Whatever prepares the network for a stage has to be done again, with the same result; the epochs are not.
    Raises CheckpointError if resuming is not possible, here or in `run`; then build the network again, as parts of the
    checkpoint may be in it, and do without. Raises NoCompilerError if the recipe asks for compiled kernels and they
    cannot be had.
    """

    def __init__(
        self,
        network: nn.Sequential,
        data: DataSet,
        spec: TrainSpec,
        *,
        epochs: int,
        seed: int,
        device: torch.device,
        checkpoint: Path | None = None,
        report: Report = lambda progress: None,
    ) -> None:
        self._started = time.perf_counter()
        self._saved = None if checkpoint is None else checkpoints.read(checkpoint, epochs)
        if self._saved is not None:
            torch.set_num_threads(self._saved.threads)  # another number of threads sums in another order
        layout = torch.channels_last if spec.channels_last else torch.contiguous_format
        self.spec, self.device = spec, device
        self.network = network.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        self.batches = Batches(data.train, data, spec, device)
        self.validation = Batches(data.validation, data, spec, device)
        self.steps = self.batches.steps(spec.batch_size)  # an epoch
        self.curve: list[Epoch] = [] if self._saved is None else list(self._saved.curve)
        arithmetic = spec if self._saved is None else self._saved
        self.kernels, self.precision = arithmetic.kernels, arithmetic.precision
        if self.kernels == "auto":
            self.kernels = native.fastest(device.type) if spec.channels_last else "torch"
        if self.precision == "auto":
            self.precision = hardware.fastest_precision(device.type)
        self.faster = accelerate(self.network, self.kernels)
        self._epochs, self._seed = epochs, seed
        self._checkpoint, self._report = checkpoint, report
        self._earlier_epochs = 0  # in the stages before
        self._earlier_stages: list[dict[str, Any]] = []  # the network at the end of each
        self._seconds_before = self.curve[-1].seconds if self.curve else 0.0

    @property
    def images_per_second(self) -> float:
        """Images a second of the training steps, over all attempts."""
        return len(self.curve) * self.steps * self._images_a_step / self.curve[-1].train_seconds

    @property
    def _images_a_step(self) -> int:
        return min(self.spec.batch_size, len(self.batches))

    def logits(self, network: nn.Module, images: Tensor) -> Tensor:
        """The network's logits (N, classes), in fp32, computed in the precision of this training."""
        with autocast(self.device, self.precision):
            logits: Tensor = network(images)
        return logits.float()

    def cross_entropy(self, logits: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """The mean cross-entropy of a batch with its labels, in nats."""
        return F.cross_entropy(logits, labels, label_smoothing=self.spec.label_smoothing)

    def run(self, stage: Stage, stop_epoch: int = 0) -> None:
        """Train for a stage; the epochs that are in the checkpoint are taken from it.

        stop_epoch: stop after this epoch of the stage; the schedule stays that of the whole stage. 0: never.
        Raises TrainingError if a loss is no longer finite.
        """
        peaks = [group["lr"] for group in _groups(stage)]
        done = self._resume(stage)
        for epoch in range(done, min(stage.epochs, stop_epoch or stage.epochs)):
            began = time.perf_counter()
            self.network.train()
            with _epoch_randomness(self._seed, len(self.curve), self.device) as generator:
                losses, lr = self._train_epoch(stage, epoch, peaks, generator, began)
            train_loss = float(torch.stack(losses).mean())
            train_seconds = time.perf_counter() - began
            self._finish_epoch(stage, lr, train_loss, train_seconds)
            self._report_progress(0.0, losses, time.perf_counter() - began)
        self._earlier_epochs += stage.epochs
        if self._earlier_epochs < self._epochs:  # not len(self.curve): a checkpoint may be of the last epoch
            state = self.network.state_dict()
            self._earlier_stages.append({name: tensor.clone() for name, tensor in state.items()})

    def _resume(self, stage: Stage) -> int:
        """Put everything back as it was when the checkpoint was written; how many of the stage's epochs are done."""
        done = min(stage.epochs, len(self.curve) - self._earlier_epochs)
        if done > 0:
            assert self._saved is not None
            number = len(self._earlier_stages)
            if number > len(self._saved.stages) or (number < len(self._saved.stages) and done < stage.epochs):
                raise CheckpointError("the checkpoint is of other stages")
            self._saved.restore(self.network, stage.optimizers, stage.average, stage=number)
        return max(0, done)

    def _train_epoch(
        self, stage: Stage, epoch: int, peaks: Sequence[float], generator: torch.Generator, began: float
    ) -> tuple[list[Tensor], float]:
        """The losses of an epoch's steps, and the last step's learning rate."""
        reported = began
        lr = stage.schedule.lr
        losses: list[Tensor] = []
        for i, (images, labels) in enumerate(self.batches.shuffled(self.spec.batch_size, generator)):
            step, steps = epoch * self.steps + i, stage.epochs * self.steps
            stage.before_step(step, steps)
            lr = learning_rate(stage.schedule, step, steps)
            for group, peak in zip(_groups(stage), peaks, strict=True):
                group["lr"] = peak * lr / stage.schedule.lr
            if step < stage.half_size_until * steps:
                images = F.avg_pool2d(images, 2, ceil_mode=True)
            loss = stage.loss(self.logits(self.faster, images), images, labels)
            losses.append(loss.detach())
            (loss if stage.penalty is None else loss + stage.penalty()).backward()
            if stage.clip:
                nn.utils.clip_grad_norm_(stage.parameters, stage.clip)
            for optimizer in stage.optimizers:
                optimizer.step()
            self.network.zero_grad()
            if stage.average is not None:
                stage.average.update_parameters(self.network)
            if time.perf_counter() - reported > REPORT_SECONDS:
                reported = time.perf_counter()
                self._report_progress((i + 1) / self.steps, losses, reported - began)
        return losses, lr * stage.lr_scale

    def _finish_epoch(self, stage: Stage, lr: float, train_loss: float, train_seconds: float) -> None:
        """Validate the network, add a row to the curve and write the checkpoint."""
        epoch = len(self.curve) + 1
        if not math.isfinite(train_loss):
            raise TrainingError(f"diverged: the loss is {train_loss} in epoch {epoch}{stage.hint}")
        scores = stage.validate()
        if not math.isfinite(scores.loss):  # after steps whose own losses, taken before them, were finite
            raise TrainingError(f"diverged: the validation loss is {scores.loss} after epoch {epoch}{stage.hint}")
        self.curve.append(
            Epoch(
                epoch=epoch,
                lr=lr,
                train_loss=train_loss,
                validation_loss=scores.loss,
                validation_top1=scores.top1,
                train_seconds=train_seconds + (self.curve[-1].train_seconds if self.curve else 0.0),
                seconds=self._seconds_before + time.perf_counter() - self._started,
            )
        )
        if self._checkpoint is not None:
            checkpoints.write(
                self._checkpoint,
                Checkpoint(
                    network=self.network.state_dict(),
                    optimizers=[optimizer.state_dict() for optimizer in stage.optimizers],
                    average=None if stage.average is None else stage.average.state_dict(),
                    curve=tuple(self.curve),
                    precision=self.precision,
                    kernels=self.kernels,
                    threads=torch.get_num_threads(),
                    stages=tuple(self._earlier_stages),
                ),
            )

    def _report_progress(self, part: float, losses: list[Tensor], seconds: float) -> None:
        """Report an unfinished epoch: `part` of it is done, in `seconds`."""
        self._report(
            Progress(
                epochs_done=len(self.curve) + part,
                epochs=self._epochs,
                loss=float(torch.stack(losses).mean()),
                images_per_second=len(losses) * self._images_a_step / seconds,
                curve=tuple(self.curve),
            )
        )


def _groups(stage: Stage) -> list[dict[str, Any]]:
    return [group for optimizer in stage.optimizers for group in optimizer.param_groups]


@contextmanager
def _epoch_randomness(seed: int, epoch: int, device: torch.device) -> Iterator[torch.Generator]:
    """A generator for one epoch; torch's global ones, which dropout draws from, are seeded for it and restored."""
    for_batches, for_dropout = np.random.SeedSequence([seed, epoch]).generate_state(2).tolist()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(for_dropout)
        yield torch.Generator().manual_seed(for_batches)
