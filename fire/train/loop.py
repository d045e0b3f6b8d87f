"""Training and evaluation: one loop for every network, data set and device.

On the CPU the same seed, threads and precision give the same weights, bit for bit, also when the run was killed and
went on from its checkpoint: each epoch draws from generators of its own, seeded by the run's seed and the epoch.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fire.data.batches import Batches
from fire.data.dataset import DataSet
from fire.errors import TrainingError
from fire.machine import hardware, native
from fire.machine.accelerate import accelerate
from fire.model import fold
from fire.train import checkpoints
from fire.train.optimizers import build_optimizers
from fire.train.progress import Epoch, Progress
from fire.train.spec import TrainSpec

EVALUATION_BATCH = 250
REPORT_SECONDS = 1.0
FEW_STEPS = 100  # within which a network may still be at chance though nothing is wrong with it


class Scores(NamedTuple):
    """Accuracies as fractions of 1, and the mean cross-entropy in nats, over a set of images."""

    top1: float
    top5: float
    loss: float


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A trained network (with its averaged weights, if the recipe averages) and how it came about.

    warning: what a reader of its accuracy should know.
    """

    network: nn.Sequential
    curve: tuple[Epoch, ...]
    precision: str
    kernels: str
    threads: int
    images_per_second: float
    warning: str | None = None


def train(
    network: nn.Sequential,
    data: DataSet,
    spec: TrainSpec,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
    stop_epoch: int = 0,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Trained:
    """Train the network on data.train, watching data.validation after every epoch; the test set is not touched.

    checkpoint: a file that is written after each epoch and gone on from if it exists. Raises CheckpointError if that
    is not possible; then build the network again, as parts of the checkpoint may be in it, and go without.
    stop_epoch: leave off after so many epochs of the recipe's, whose schedule stays that of all of them; 0: never.
    Raises TrainingError if a loss is no longer finite or the network is stuck at chance, NoCompilerError if the
    recipe asks for compiled kernels and they cannot be had. A network that is at chance after a few steps gets a
    warning: it had no time to learn.
    """
    clock = time.perf_counter
    started = clock()
    saved = None if checkpoint is None else checkpoints.read(checkpoint, spec.epochs)
    layout = torch.channels_last if spec.channels_last else torch.contiguous_format
    network = network.to(device=device, memory_format=layout)  # type: ignore[call-overload]
    batches = Batches(data.train, data, spec, device)
    validation = Batches(data.validation, data, spec, device)
    optimizers = build_optimizers(network, spec)
    average = (
        AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(spec.ema), use_buffers=True) if spec.ema else None
    )
    curve: list[Epoch] = []
    precision, chosen_kernels = spec.precision, spec.kernels
    if saved is not None:
        saved.restore(network, optimizers, average)
        torch.set_num_threads(saved.threads)  # another number of threads sums in another order
        curve = list(saved.curve)
        precision, chosen_kernels = saved.precision, saved.kernels
    if chosen_kernels == "auto":
        chosen_kernels = native.fastest(device.type)
    faster = accelerate(network, chosen_kernels)
    kept = network if average is None else cast(nn.Sequential, average.module)
    if precision == "auto":
        precision = hardware.fastest_precision(device.type)

    steps = batches.steps(spec.batch_size)
    chance = math.log(len(data.class_names))
    seconds_before = curve[-1].seconds if curve else 0.0
    train_seconds = curve[-1].train_seconds if curve else 0.0
    for epoch in range(len(curve), min(spec.epochs, stop_epoch or spec.epochs)):
        began = reported = clock()
        losses: list[Tensor] = []
        lr = spec.lr
        network.train()
        with _epoch_randomness(seed, epoch, device) as generator:
            for step, (images, labels) in enumerate(batches.shuffled(spec.batch_size, generator)):
                lr = learning_rate(spec, epoch * steps + step, spec.epochs * steps)
                for group in (group for optimizer in optimizers for group in optimizer.param_groups):
                    group["lr"] = group["initial_lr"] * lr / spec.lr
                with autocast(device, precision):
                    logits = faster(images)
                loss = F.cross_entropy(logits.float(), labels, label_smoothing=spec.label_smoothing)
                loss.backward()
                if spec.clip:
                    nn.utils.clip_grad_norm_(network.parameters(), spec.clip)
                for optimizer in optimizers:
                    optimizer.step()
                network.zero_grad()
                if average is not None:
                    average.update_parameters(network)
                losses.append(loss.detach())
                if clock() - reported > REPORT_SECONDS:
                    reported = clock()
                    done = epoch + (step + 1) / steps
                    report(_progress(spec, done, losses, curve, reported - began))
        train_loss = float(torch.stack(losses).mean())
        train_seconds += clock() - began
        if not math.isfinite(train_loss):
            raise TrainingError(f"diverged: the loss is {train_loss} in epoch {epoch + 1}; lower train.lr={spec.lr:g}")
        folded = accelerate(fold(kept), chosen_kernels)
        scores, logits = _evaluate(folded, validation.in_order(EVALUATION_BATCH), device, precision)
        if not math.isfinite(scores.loss):  # after steps whose own losses, taken before them, were finite
            raise TrainingError(
                f"diverged: the validation loss is {scores.loss} after epoch {epoch + 1}; lower train.lr={spec.lr:g}"
            )
        if logits.same:
            raise TrainingError(
                f"stuck at chance since epoch {epoch + 1}: the logits are {'0' if logits.zero else 'the same'} for "
                f"every image, the loss is {scores.loss:.4f} where ln {len(data.class_names)} = {chance:.4f}; "
                f"{_advice('lower', network, spec, logits.zero)}"
            )
        curve.append(
            Epoch(
                epoch=epoch + 1,
                lr=lr,
                train_loss=train_loss,
                validation_loss=scores.loss,
                validation_top1=scores.top1,
                train_seconds=train_seconds,
                seconds=seconds_before + clock() - started,
            )
        )
        if checkpoint is not None:
            checkpoints.write(checkpoint, network, optimizers, average, curve, precision, chosen_kernels)
        report(_progress(spec, epoch + 1, losses, curve, clock() - began))

    last = curve[-1]
    warning = None
    at_chance = last.validation_top1 < 1.5 / len(data.class_names)
    if len(curve) == spec.epochs and at_chance and min(last.train_loss, last.validation_loss) > 0.99 * chance:
        taken = spec.epochs * steps
        found = f"the loss is {last.validation_loss:.4f} where ln {len(data.class_names)} = {chance:.4f}"
        if taken > FEW_STEPS:
            raise TrainingError(f"stuck at chance: after {taken} steps {found}; {_advice('change', network, spec)}")
        warning = f"at chance after {taken} step{'s' * (taken > 1)}, which may be too few to learn: {found}"
    return Trained(
        network=kept,
        curve=tuple(curve),
        precision=precision,
        kernels=chosen_kernels,
        threads=torch.get_num_threads(),
        images_per_second=len(curve) * steps * min(spec.batch_size, len(batches)) / train_seconds,
        warning=warning,
    )


def _advice(verb: str, network: nn.Module, spec: TrainSpec, zero_logits: bool = False) -> str:
    """Settings for a network that is stuck at chance, without those that it has. verb: for the learning rate."""
    muon = f" and train.muon_lr={spec.muon_lr:g}" if spec.optimizer == "muon" else ""
    options = [f"{verb} train.lr={spec.lr:g}{muon}"]
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        options.append("set arch.norm=batch")
    if zero_logits:  # only a ReLU behind the last convolution leaves nothing but zeros
        options.append("set arch.final_relu=false")
    return " or ".join(options)


def learning_rate(spec: TrainSpec, step: int, steps: int) -> float:
    """The learning rate of one of `steps` steps, counted from 0; Muon's is at all times in proportion to it."""
    if spec.schedule == "linear":
        return spec.lr * (1 - step / steps)
    peak = spec.warmup * steps
    return spec.lr * ((step + 1) / (peak + 1) if step < peak else (steps - step) / (steps - peak))


def evaluate(network: nn.Module, batches: Batches, device: torch.device, precision: str = "fp32") -> Scores:
    """Scores of a network, which is left in evaluation mode, over all images of the batches."""
    network.eval()
    scores, _ = _evaluate(accelerate(network, "torch"), batches.in_order(EVALUATION_BATCH), device, precision)
    return scores


class _Logits(NamedTuple):
    """Whether the logits are the same for all images, as in a dead network, and whether all of them are 0."""

    same: bool
    zero: bool


@torch.inference_mode()
def _evaluate(
    network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], device: torch.device, precision: str
) -> tuple[Scores, _Logits]:
    """Scores of the network, which is left in evaluation mode, and what is wrong with its logits."""
    network.eval()
    totals = torch.zeros(3, dtype=torch.float64, device=device)
    count = 0
    first: Tensor | None = None
    alive = False
    for images, labels in batches:
        with autocast(device, precision):
            logits = network(images)
        logits = logits.float()
        best = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
        loss = F.cross_entropy(logits, labels, reduction="sum")
        totals += torch.stack([best[:, 0].sum(), best.sum(), loss]).double()
        count += len(labels)
        first = logits[:1].clone() if first is None else first
        alive = alive or bool((logits != first).any())
    top1, top5, loss = (totals / count).tolist()
    same = count > 1 and not alive
    return Scores(top1, top5, loss), _Logits(same, zero=same and first is not None and not bool(first.any()))


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """The context of a forward pass: convolutions and linear layers compute in "bf16" or "fp32"."""
    match precision:
        case "fp32":
            return nullcontext()
        case "bf16":
            return torch.autocast(device.type, torch.bfloat16)
    raise ValueError(f"precision must be fp32 or bf16, got {precision!r}")


@contextmanager
def _epoch_randomness(seed: int, epoch: int, device: torch.device) -> Iterator[torch.Generator]:
    """A generator for one epoch; torch's global ones, which dropout draws from, are seeded for it and restored."""
    for_batches, for_dropout = np.random.SeedSequence([seed, epoch]).generate_state(2).tolist()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(for_dropout)
        yield torch.Generator().manual_seed(for_batches)


def _progress(spec: TrainSpec, done: float, losses: list[Tensor], curve: list[Epoch], seconds: float) -> Progress:
    return Progress(
        epochs_done=done,
        epochs=spec.epochs,
        loss=float(torch.stack(losses).mean()),
        images_per_second=len(losses) * spec.batch_size / seconds,
        curve=tuple(curve),
    )
