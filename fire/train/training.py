"""Training a network on a data set, from its initial weights to its last epoch."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fire.data.dataset import DataSet
from fire.errors import TrainingError
from fire.machine.accelerate import accelerate
from fire.model import fold
from fire.train import evaluation
from fire.train.evaluation import Scores
from fire.train.loop import Loop, Stage
from fire.train.optimizers import build_optimizers
from fire.train.progress import Epoch, Progress
from fire.train.spec import MOST_INITIAL, TrainSpec

FEW_STEPS = 100  # within which a network may still be at chance though nothing is wrong with it


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

    checkpoint: a file that is written after each epoch; if it exists, training resumes from it. Raises CheckpointError
    if that is not possible; then build the network again, as parts of the checkpoint may be in it, and go without.
    stop_epoch: stop after this epoch; the schedule stays that of spec.epochs. 0: never.
    Raises TrainingError if a loss is no longer finite or the network is stuck at chance, NoCompilerError if the
    recipe asks for compiled kernels and they cannot be had. There is a warning for a network that is at chance after
    a few steps, as it had no time to learn, and for averaged weights that are partly untrained.
    """
    loop = Loop(network, data, spec, epochs=spec.epochs, seed=seed, device=device, checkpoint=checkpoint, report=report)
    average: AveragedModel | None = None
    if spec.ema:
        average = AveragedModel(loop.network, multi_avg_fn=get_ema_multi_avg_fn(spec.ema), use_buffers=True)
    kept = loop.network if average is None else cast(nn.Sequential, average.module)
    classes = len(data.class_names)

    def validate() -> Scores:
        folded = accelerate(fold(kept), loop.kernels)
        scores = evaluation.evaluate(folded, loop.validation, device, loop.precision)
        _refuse_constant_logits(scores, loop, network, spec, classes)
        return scores

    loop.run(
        Stage(
            epochs=spec.epochs,
            optimizers=build_optimizers(loop.network, spec),
            parameters=list(loop.network.parameters()),
            clip=spec.clip,
            schedule=spec,
            half_size_until=spec.half_size_until,
            average=average,
            loss=loop.cross_entropy,
            validate=validate,
            hint=f"; lower train.lr={spec.lr:g}",
        ),
        stop_epoch,
    )
    return Trained(
        network=kept,
        curve=tuple(loop.curve),
        precision=loop.precision,
        kernels=loop.kernels,
        threads=torch.get_num_threads(),
        images_per_second=loop.images_per_second,
        warning=_warning(loop, network, spec, classes),
    )


def _refuse_constant_logits(scores: Scores, loop: Loop, network: nn.Module, spec: TrainSpec, classes: int) -> None:
    """Raise TrainingError if the logits are the same for every image: the network can learn nothing any more."""
    if scores.constant_logits is None or not math.isfinite(scores.loss):
        return
    zero = not any(scores.constant_logits)
    raise TrainingError(
        f"stuck at chance since epoch {len(loop.curve) + 1}: the logits are {'0' if zero else 'the same'} for "
        f"every image, {_beside_chance(scores.loss, classes)}; {_advice('lower', network, spec, zero)}"
    )


def _warning(loop: Loop, network: nn.Module, spec: TrainSpec, classes: int) -> str | None:
    """What to say of a network that was trained to the end, if its accuracy may mislead."""
    if len(loop.curve) < spec.epochs:
        return None
    return _no_time_to_learn(loop, network, spec, classes) or _mostly_initial(spec, spec.epochs * loop.steps)


def _no_time_to_learn(loop: Loop, network: nn.Module, spec: TrainSpec, classes: int) -> str | None:
    """What to say of a network at chance that had no time to learn; raises TrainingError if it had."""
    last = loop.curve[-1]
    if last.validation_top1 >= 1.5 / classes:
        return None
    if min(last.train_loss, last.validation_loss) <= 0.99 * math.log(classes):
        return None
    taken = spec.epochs * loop.steps
    found = _beside_chance(last.validation_loss, classes)
    if taken > FEW_STEPS:
        raise TrainingError(f"stuck at chance: after {taken} steps {found}; {_advice('change', network, spec)}")
    return f"at chance after {taken} step{'s' * (taken > 1)}, which may be too few to learn: {found}"


def _mostly_initial(spec: TrainSpec, steps: int) -> str | None:
    """What to say of averaged weights in which nearly untrained ones have too large a share."""
    share = spec.initial_share(steps)
    if share <= MOST_INITIAL:
        return None
    part = f"{100 * share:.0f} % those after the first of {steps} steps"
    return f"the averaged weights are {part}: set train.ema=0 or train longer"


def _beside_chance(loss: float, classes: int) -> str:
    return f"the loss is {loss:.4f} where ln {classes} = {math.log(classes):.4f}"


def _advice(verb: str, network: nn.Module, spec: TrainSpec, zero_logits: bool = False) -> str:
    """Settings for a network that is stuck at chance, without those that it has. verb: for the learning rate."""
    muon = f" and train.muon_lr={spec.muon_lr:g}" if spec.optimizer == "muon" else ""
    options = [f"{verb} train.lr={spec.lr:g}{muon}"]
    if not any(isinstance(module, nn.BatchNorm2d) for module in network.modules()):
        options.append("set arch.norm=batch")
    if zero_logits:  # only a ReLU behind the last convolution leaves nothing but zeros
        options.append("set arch.final_relu=false")
    return " or ".join(options)
