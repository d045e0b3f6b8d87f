"""Fine-tuning with weights and activations rounded to int8; Jacob et al. 2018, section 3."""

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from fire.compress.parametrizations import parameters, parametrise, weighted_layers
from fire.compress.tuning import Tuning, distilled, fine_tune, groups
from fire.data.dataset import DataSet
from fire.machine.accelerate import accelerate
from fire.model import Fire
from fire.train.loop import Loop
from fire.train.progress import Progress
from fire.train.spec import TrainSpec

EPOCHS = 3
LR = 0.002  # of Adam at its peak, over each tensor's root mean square
DISTILLATION = 0.7  # as in compression
LEAST_SCALE = 1e-8  # of a layer of zeros
CALIBRATION = 250  # validation images that the ranges of activations are taken from


class Int8Weight(nn.Module):
    """A weight rounded to int8 with a scale for each output channel, as fire.export.int8 rounds it."""

    def forward(self, weight: Tensor) -> Tensor:
        scale = weight.detach().abs().flatten(1).amax(1).clamp(min=LEAST_SCALE) / 127
        zero = torch.zeros(len(scale), dtype=torch.int32, device=weight.device)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -127, 127)


class Int8Output:
    """A forward hook that rounds a module's output to int8, between the least and the greatest value it has seen."""

    def __init__(self) -> None:
        self.low = self.high = 0.0  # 0 must be among the values
        self.is_learning = True

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if self.is_learning:
            self.low, self.high = min(self.low, float(output.min())), max(self.high, float(output.max()))
            return output
        scale = max((self.high - self.low) / 255, LEAST_SCALE)
        return torch.fake_quantize_per_tensor_affine(output, scale, -128 - round(self.low / scale), -128, 127)


def tune(
    network: nn.Sequential,
    data: DataSet,
    train: TrainSpec,
    *,
    seed: int,
    device: torch.device,
    checkpoint: Path | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> nn.Sequential:
    """A copy of a folded network that has learned, on data.train, to be rounded to int8; its weights are rounded.

    Activations are rounded where a ReLU, a bypass or the last layer makes them, in ranges from validation images. The
    float network is the teacher. The test set is not touched. Raises TrainingError if it diverges, CheckpointError if
    it cannot resume from its checkpoint.
    """
    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    loop = Loop(network, data, train, epochs=EPOCHS, seed=seed, device=device, checkpoint=checkpoint, report=report)
    loss = distilled(loop, DISTILLATION)
    layers = weighted_layers(network)
    hooks = [(module, Int8Output()) for module in network.modules() if _ends_in_int8(module)]
    hooks.append((list(layers.values())[-1], Int8Output()))
    handles = [module.register_forward_hook(hook) for module, hook in hooks]
    images, _ = next(loop.validation.in_order(CALIBRATION))
    with torch.inference_mode():
        network.eval()(images)
    for _, hook in hooks:
        hook.is_learning = False
    for layer in layers.values():
        parametrise(layer, "weight", Int8Weight())
    loop.faster = accelerate(network, loop.kernels)  # anew: modules that have hooks by now are called as they are
    hint = " of fine-tuning for int8"
    tuning = Tuning(groups=groups(parameters(layers), LR))
    fine_tune(loop, tuning, loss, epochs=EPOCHS, lr=LR, hint=hint)
    for handle in handles:
        handle.remove()
    for layer in layers.values():
        parametrize.remove_parametrizations(layer, "weight")
    return network.eval()


def _ends_in_int8(module: nn.Module) -> bool:
    return isinstance(module, nn.ReLU) or (isinstance(module, Fire) and module.bypass is not None)
