"""From a plan to a plain torch module, its initialisation, and the folding of batch normalisation."""

import copy
import itertools
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fire import blocks
from fire.arch import ArchSpec
from fire.errors import InputError, SpecError, unknown


class NormedConv2d(nn.Conv2d):
    """A convolution without bias, then batch normalisation. (N, inputs, H, W) -> (N, outputs, H', W')

    The normalisation is a submodule of the convolution, so that the weights have one name with and without it.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, pad: int = 0, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, pad, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(super().forward(x))
        return y


class Fire(nn.Module):
    """Squeeze to s1x1 channels, then expand; Iandola et al. 2016, section 3.2. Bypass: section 6.

    (N, inputs, H, W) -> (N, e1x1 + e3x3, H, W), the 1x1 outputs first. A bypass is added after the ReLU, and no
    ReLU follows the addition. One normalisation spans both expand branches: the same function as one for each.
    """

    def __init__(self, plan: blocks.Fire) -> None:
        super().__init__()
        norm = plan.norm
        self.squeeze = _convolution(plan.inputs, plan.s1x1, norm=norm)
        self.relu_squeeze = nn.ReLU()
        self.expand1x1 = nn.Conv2d(plan.s1x1, plan.e1x1, 1, bias=not norm) if plan.e1x1 else None
        self.expand3x3 = nn.Conv2d(plan.s1x1, plan.e3x3, 3, padding=1, bias=not norm) if plan.e3x3 else None
        self.norm = nn.BatchNorm2d(plan.outputs) if norm else nn.Identity()
        self.relu_expand = nn.ReLU()
        self.bypass: nn.Module | None
        self.relu_bypass: nn.Module
        match plan.bypass:
            case "none":
                self.bypass = None
            case "identity":
                self.bypass = nn.Identity()
                self.relu_bypass = nn.Identity()
            case "conv":
                self.bypass = _convolution(plan.inputs, plan.outputs, norm=norm)
                self.relu_bypass = nn.ReLU()
            case other:
                raise SpecError(f"bypass must be none, identity or conv in a Fire module, got {other!r}")

    @property
    def branches(self) -> list[nn.Conv2d]:
        """The expand convolutions that exist, in the order of their outputs."""
        return [branch for branch in (self.expand1x1, self.expand3x3) if branch is not None]

    def forward(self, x: Tensor) -> Tensor:
        squeezed = self.relu_squeeze(self.squeeze(x))
        expanded = torch.cat([branch(squeezed) for branch in self.branches], dim=1)
        y: Tensor = self.relu_expand(self.norm(expanded))
        return y if self.bypass is None else y + self.relu_bypass(self.bypass(x))


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut around them; He et al. 2016, section 3. (N, C, H, W) -> (N, outputs, H', W')

    H' is H / stride, rounded up. The shortcut is the identity where it keeps the shape, otherwise a 1x1 convolution.
    """

    def __init__(self, plan: blocks.Residual) -> None:
        super().__init__()
        self.conv1 = _convolution(plan.inputs, plan.outputs, 3, plan.stride, 1, norm=plan.norm)
        self.relu1 = nn.ReLU()
        self.conv2 = _convolution(plan.outputs, plan.outputs, 3, 1, 1, norm=plan.norm)
        projected = plan.has_projection
        self.shortcut = (
            _convolution(plan.inputs, plan.outputs, 1, plan.stride, norm=False) if projected else nn.Identity()
        )
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.relu2(self.conv2(self.relu1(self.conv1(x))) + self.shortcut(x))
        return y


def build(spec: ArchSpec, channels: int = 3, init: str = "he", seed: int = 0) -> nn.Sequential:
    """The network of a specification with its initial weights, fp32 on the CPU.

    (N, channels, H, W) -> (N, classes), the logits.

    init: "he", normal with variance 2 / fan_in (He et al. 2015), or "xavier", Caffe's filler: uniform with variance
    1 / fan_in. The last layer is Gaussian with std 0.01, as in the Caffe release; biases are 0.
    """
    with torch.device("meta"):  # torch's own initialisation would draw from the global generator
        network = assemble(spec.plan(channels))
    # to_empty() would compute the layouts of tensors in Python, with sympy.
    empty = {name: torch.empty(x.shape, dtype=x.dtype) for name, x in network.state_dict().items()}
    network.load_state_dict(empty, assign=True)
    generator = torch.Generator().manual_seed(seed)
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for layer in layers[:-1]:
        fan_in = layer.weight[0].numel()
        match init:
            case "he":
                nn.init.normal_(layer.weight, 0.0, math.sqrt(2 / fan_in), generator=generator)
            case "xavier":
                limit = math.sqrt(3 / fan_in)
                nn.init.uniform_(layer.weight, -limit, limit, generator=generator)
            case _:
                raise unknown("train.init", init)
    nn.init.normal_(layers[-1].weight, 0.0, 0.01, generator=generator)
    for layer in layers:
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    for module in network.modules():
        own = itertools.chain(module.parameters(recurse=False), module.buffers(recurse=False))
        if module not in layers and any(True for _ in own):
            module.reset_parameters()  # type: ignore[operator] # by torch's convention each such module has it
    return network


def assemble(plan: blocks.Plan) -> nn.Sequential:
    """The modules of a plan under its names, initialised by torch. The ReLU of conv1 is relu_conv1."""
    network = nn.Sequential()
    for block in plan:
        for name, module in _modules(block):
            network.add_module(name, module)
    return network


def _modules(block: blocks.Block) -> Iterator[tuple[str, nn.Module]]:
    match block:
        case blocks.Conv():
            yield (
                block.name,
                _convolution(
                    block.inputs, block.outputs, block.kernel, block.stride, block.pad, block.groups, norm=block.norm
                ),
            )
            if block.relu:
                yield f"relu_{block.name}", nn.ReLU()
        case blocks.Fire():
            yield block.name, Fire(block)
        case blocks.Residual():
            yield block.name, Residual(block)
        case blocks.Linear():
            yield block.name, nn.Linear(block.inputs, block.outputs)
            if block.relu:
                yield f"relu_{block.name}", nn.ReLU()
        case blocks.MaxPool():
            # ceil_mode as in the Caffe release: floor would drop the last row and column of some maps.
            yield block.name, nn.MaxPool2d(block.kernel, block.stride, ceil_mode=True)
        case blocks.AveragePool():  # the end of the maps: what follows are vectors
            yield block.name, nn.AdaptiveAvgPool2d(block.size)
            yield f"flatten_{block.name}", nn.Flatten()
        case blocks.LocalResponseNorm():
            yield block.name, nn.LocalResponseNorm(5)
        case blocks.Dropout():
            yield block.name, nn.Dropout(block.probability)
        case _:
            raise SpecError(f"the plan must be of the blocks in fire.blocks, got {block!r}")


def _convolution(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, pad: int = 0, groups: int = 1, *, norm: bool
) -> nn.Conv2d:
    if norm:
        return NormedConv2d(inputs, outputs, kernel, stride, pad, groups)
    return nn.Conv2d(inputs, outputs, kernel, stride, pad, groups=groups)


@torch.no_grad()
def fold(network: nn.Sequential) -> nn.Sequential:
    """A copy for deployment: batch normalisation folded into the convolutions before it, in evaluation mode.

    The copy is the network whose cost is counted: the same function within rounding, without norms.
    Raises InputError if a normalisation is of a kind that cannot be folded.
    """
    folded = copy.deepcopy(network)
    for parent in list(folded.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, NormedConv2d):
                (convolution,) = _folded([child], child.norm)
                setattr(parent, name, convolution)
        if isinstance(parent, Fire) and not isinstance(parent.norm, nn.Identity):
            names = [name for name in ("expand1x1", "expand3x3") if getattr(parent, name) is not None]
            for name, convolution in zip(names, _folded(parent.branches, parent.norm), strict=True):
                setattr(parent, name, convolution)
            parent.norm = nn.Identity()
    return folded.eval()


def _folded(convolutions: Sequence[nn.Conv2d], norm: nn.Module) -> list[nn.Conv2d]:
    """Convolutions with biases in place of convolutions whose concatenated outputs are normalised."""
    if not isinstance(norm, _BatchNorm) or not norm.affine or norm.running_mean is None or norm.running_var is None:
        raise InputError(f"a normalisation must be batch normalisation with running statistics, got {norm}")
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    shift = norm.bias - norm.running_mean * scale
    made = []
    start = 0
    for old in convolutions:
        part = slice(start, start + old.out_channels)
        with torch.device("meta"):  # torch's own initialisation would draw from the global generator
            new = nn.Conv2d(
                old.in_channels,
                old.out_channels,
                old.kernel_size,  # type: ignore[arg-type] # torch has tuples of any length
                old.stride,  # type: ignore[arg-type]
                old.padding,  # type: ignore[arg-type]
                groups=old.groups,
            )
        new.weight = nn.Parameter(old.weight * scale[part].view(-1, 1, 1, 1))
        new.bias = nn.Parameter(shift[part].clone())
        made.append(new)
        start = part.stop
    return made
