"""The fine-tuning of a network under compression: Adam, with the float network as a teacher."""

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fire.machine.accelerate import accelerate
from fire.train.eager import Adam
from fire.train.evaluation import Scores, evaluate
from fire.train.loop import Loop, Loss, Stage

WARMUP = 0.1  # part of a stage in which the learning rate rises
CLIP = 1.0  # networks without normalisation need it: docs/log.md
SMALLEST_RMS = 1e-3  # what a learning rate is a multiple of must not vanish with a tensor of zeros


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """What a stage of compression trains. groups: of Adam; before_step and penalty as in fire.train.loop.Stage."""

    groups: Sequence[dict[str, Any]]
    before_step: Callable[[int, int], None] = lambda step, steps: None
    penalty: Callable[[], Tensor] | None = None


def groups(parameters: Iterable[nn.Parameter], lr: float, *, relative: bool = True) -> list[dict[str, Any]]:
    """A group for each parameter, as the layers of a folded network differ widely in scale.

    lr: at the peak; relative: as a multiple of each tensor's root mean square.
    """
    made = []
    for parameter in parameters:
        scale = max(float(parameter.detach().square().mean().sqrt()), SMALLEST_RMS) if relative else 1.0
        made.append({"params": [parameter], "lr": lr * scale})
    return made


def fine_tune(loop: Loop, tuning: Tuning, loss: Loss, *, epochs: int, lr: float, hint: str) -> None:
    """Train for some epochs at learning rates that rise, then fall to 0. lr: what the curve shows of the peak."""

    def validate() -> Scores:
        with parametrize.cached():  # of each weight, instead of making it anew for every batch
            return evaluate(loop.faster, loop.validation, loop.device)

    adam = Adam(list(tuning.groups), fused=True)
    loop.run(
        Stage(
            epochs=epochs,
            optimizers=[adam],
            parameters=[parameter for group in adam.param_groups for parameter in group["params"]],
            clip=CLIP,
            schedule=replace(loop.spec, lr=1.0, schedule="onecycle", warmup=WARMUP),
            lr_scale=lr,
            loss=loss,
            penalty=tuning.penalty,
            before_step=tuning.before_step,
            validate=validate,
            hint=hint,
        )
    )


def distilled(loop: Loop, weight: float) -> Loss:
    """Cross-entropy with the labels and, for `weight` of it, with the answers of the network as it is now."""
    if not weight:
        return loop.cross_entropy
    teacher = accelerate(copy.deepcopy(loop.network).eval(), loop.kernels)

    def loss(logits: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            answers = loop.logits(teacher, images).softmax(1)
        return torch.lerp(loop.cross_entropy(logits, images, labels), F.cross_entropy(logits, answers), weight)

    return loss
