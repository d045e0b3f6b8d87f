"""The one loop that both methods fine-tune with."""

import copy
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fire.compress.spec import CompressSpec
from fire.data.batches import Batches
from fire.data.dataset import DataSet
from fire.errors import TrainingError
from fire.machine import hardware, native
from fire.machine.accelerate import accelerate
from fire.train import checkpoints
from fire.train.loop import REPORT_SECONDS, Scores, autocast, evaluate, learning_rate
from fire.train.progress import Epoch, Progress
from fire.train.spec import TrainSpec

WARMUP = 0.1  # part of a stage in which the learning rate rises
CLIP = 1.0  # networks without normalisation need it: docs/log.md
SMALLEST_RMS = 1e-3  # what a learning rate is a multiple of must not vanish with a tensor of zeros


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """Parameters that learn together. lr: at the peak; relative: as a multiple of each tensor's root mean square."""

    parameters: Sequence[nn.Parameter]
    lr: float
    relative: bool = True


class FineTuning:
    """A folded network's fine-tuning, in stages; the curve counts their epochs through.

    The network is changed in place. Its float self, as it was at first, is the teacher of distillation.

    checkpoint: a file that is written after each epoch and gone on from if it exists. Then what leads to each stage has
    to be done again, and to come out the same; the stage's epochs are not. Raises CheckpointError if going on is not
    possible; then begin with the network again, as parts of the checkpoint may be in it, and go without.
    """

    def __init__(
        self,
        network: nn.Sequential,
        data: DataSet,
        spec: CompressSpec,
        train: TrainSpec,
        *,
        seed: int,
        device: torch.device,
        checkpoint: Path | None = None,
        report: Callable[[Progress], None] = lambda progress: None,
    ) -> None:
        self._checkpoint = checkpoint
        self._saved = None if checkpoint is None else checkpoints.read(checkpoint, spec.epochs + spec.final_epochs)
        if self._saved is not None:
            torch.set_num_threads(self._saved.threads)  # another number of threads sums in another order
        layout = torch.channels_last if train.channels_last else torch.contiguous_format
        self.network = network.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        self.batches = Batches(data.train, data, train, device)
        self.steps = self.batches.steps(train.batch_size)  # an epoch
        self.curve: list[Epoch] = [] if self._saved is None else list(self._saved.curve)
        self._epochs_before = 0  # of this stage, in all stages
        self._stages: list[dict[str, Any]] = []  # the network at the end of each
        self._validation = Batches(data.validation, data, train, device)
        self._spec, self._train, self._seed, self._device = spec, train, seed, device
        self._report = report
        self.kernels = train.kernels if self._saved is None else self._saved.kernels
        if self.kernels == "auto":
            self.kernels = native.fastest(device.type)
        self.faster = accelerate(self.network, self.kernels)
        teacher = copy.deepcopy(self.network).eval()
        self._teacher = accelerate(teacher, self.kernels) if spec.distillation else None
        self.precision = train.precision if self._saved is None else self._saved.precision
        if self.precision == "auto":
            self.precision = hardware.fastest_precision(device.type)

    def stage(
        self,
        epochs: int,
        tuned: Sequence[Tuned],
        *,
        before_step: Callable[[int, int], None] = lambda step, steps: None,
        penalty: Callable[[], Tensor | None] = lambda: None,
    ) -> None:
        """Train for some epochs at learning rates that rise, then fall to 0; a row of the curve for each epoch.

        before_step: called with the step, counted from 0, and their number. penalty: added to the loss, in nats.
        Raises TrainingError if the loss is no longer finite. What was trained before is taken from the checkpoint.
        """
        if not epochs:
            return
        optimizer = torch.optim.Adam([group for chosen in tuned for group in _groups(chosen)], fused=True)
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        schedule = replace(self._train, lr=1.0, schedule="onecycle", warmup=WARMUP)
        steps = self.steps
        done = min(epochs, len(self.curve) - self._epochs_before)
        if done > 0:
            assert self._saved is not None
            self._saved.restore_stage(len(self._stages), self.network, optimizer if done < epochs else None)
        for epoch in range(done, epochs):
            began = reported = time.perf_counter()
            factor = 1.0
            losses: list[Tensor] = []
            for module in self.network.modules():
                module.train(not isinstance(module, nn.Dropout))  # what is left of a pruned layer needs no dropout
            generator = self._generator()
            for step, (images, labels) in enumerate(self.batches.shuffled(self._train.batch_size, generator)):
                before_step(epoch * steps + step, epochs * steps)
                factor = learning_rate(schedule, epoch * steps + step, epochs * steps)
                for group in optimizer.param_groups:
                    group["lr"] = group["peak"] * factor
                loss = self.loss(images, labels)
                losses.append(loss.detach())
                extra = penalty()
                (loss if extra is None else loss + extra).backward()
                nn.utils.clip_grad_norm_(parameters, CLIP)
                optimizer.step()
                self.network.zero_grad()
                if time.perf_counter() - reported > REPORT_SECONDS:
                    reported = time.perf_counter()
                    self._tell((step + 1) / steps, losses, reported - began)
            self._finish_epoch(tuned[0].lr * factor, losses, began, optimizer)
        self._epochs_before += epochs
        self._stages.append({name: tensor.clone() for name, tensor in self.network.state_dict().items()})

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """The mean loss of a batch, in nats: cross-entropy with the labels, in part with the teacher's answers."""
        with autocast(self._device, self.precision):
            logits = self.faster(images).float()
        loss = F.cross_entropy(logits, labels, label_smoothing=self._train.label_smoothing)
        if self._teacher is None:
            return loss
        with torch.no_grad(), autocast(self._device, self.precision):
            answers = self._teacher(images).float().softmax(1)
        return torch.lerp(loss, F.cross_entropy(logits, answers), self._spec.distillation)

    def validate(self) -> Scores:
        """Scores of the network as it is, in fp32, over the validation set."""
        with parametrize.cached():  # of each weight, instead of making it anew for every batch
            return evaluate(self.faster, self._validation, self._device)

    def _generator(self) -> torch.Generator:
        (state,) = np.random.SeedSequence([self._seed, len(self.curve)]).generate_state(1).tolist()
        return torch.Generator().manual_seed(state)

    def _finish_epoch(self, lr: float, losses: list[Tensor], began: float, optimizer: torch.optim.Optimizer) -> None:
        train_loss = float(torch.stack(losses).mean())
        train_seconds = time.perf_counter() - began
        scores = self.validate() if math.isfinite(train_loss) else None
        if scores is None or not math.isfinite(scores.loss):
            found = f"loss is {train_loss}" if scores is None else f"validation loss is {scores.loss}"
            setting = "lr" if len(self.curve) < self._spec.epochs else "final_lr"
            raise TrainingError(
                f"diverged: the {found} in epoch {len(self.curve) + 1} of compression; "
                f"lower compress.{setting}={getattr(self._spec, setting):g}"
            )
        last = self.curve[-1] if self.curve else None
        self.curve.append(
            Epoch(
                epoch=len(self.curve) + 1,
                lr=lr,
                train_loss=train_loss,
                validation_loss=scores.loss,
                validation_top1=scores.top1,
                train_seconds=train_seconds + (last.train_seconds if last else 0.0),
                seconds=time.perf_counter() - began + (last.seconds if last else 0.0),
            )
        )
        if self._checkpoint is not None:
            arithmetic = (self.precision, self.kernels)
            checkpoints.write(self._checkpoint, self.network, [optimizer], None, self.curve, *arithmetic, self._stages)
        self._tell(0.0, losses, time.perf_counter() - began)

    def _tell(self, part: float, losses: list[Tensor], seconds: float) -> None:
        self._report(
            Progress(
                epochs_done=len(self.curve) + part,
                epochs=self._spec.epochs + self._spec.final_epochs,
                loss=float(torch.stack(losses).mean()),
                images_per_second=len(losses) * self._train.batch_size / seconds,
                curve=tuple(self.curve),
            )
        )


def _groups(tuned: Tuned) -> list[dict[str, object]]:
    """A group of the optimizer for each parameter: the layers of a folded network differ widely in scale."""
    groups: list[dict[str, object]] = []
    for parameter in tuned.parameters:
        scale = max(float(parameter.detach().square().mean().sqrt()), SMALLEST_RMS) if tuned.relative else 1.0
        groups.append({"params": [parameter], "lr": tuned.lr * scale, "peak": tuned.lr * scale})
    return groups
