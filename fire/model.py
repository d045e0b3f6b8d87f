"""From a plan to a torch module, its initialisation, and the folding of batch normalisation."""

import copy
import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fire import arch, kernels
from fire.arch import ArchSpec


class NormReLU(nn.BatchNorm2d):
    """Batch normalisation of maps that are concatenated, then ReLU if wanted.

    Each (N, C_i, H, W) -> (N, sum of C_i, H, W)
    """

    compiled = False

    def __init__(self, features: int, relu: bool) -> None:
        super().__init__(features)
        self.relu = relu

    def forward(self, *parts: Tensor) -> Tensor:
        if self.compiled and self.training and kernels.covers(*parts, norm=self):
            return kernels.norm_relu(parts, self, self.relu)
        y = super().forward(_concatenated(parts))
        return F.relu_(y) if self.relu else y


class MaxPool(nn.MaxPool2d):
    """Max pool, then a ReLU if the plan has one. (N, C, H, W) -> (N, C, H', W')"""

    compiled = False

    def __init__(self, plan: arch.MaxPool) -> None:
        # ceil_mode as in the Caffe release: floor would drop the last row and column of some maps.
        super().__init__(plan.kernel, plan.stride, ceil_mode=True)
        self.relu = plan.relu
        self.sizes = plan.kernel, plan.stride

    def forward(self, x: Tensor, norm: NormReLU | None = None) -> Tensor:
        """With a norm, which then has no ReLU of its own: the pool of what it makes of x."""
        if self.compiled and kernels.covers(x, norm=norm):
            if norm is None:
                return kernels.max_pool(x, *self.sizes, self.relu)
            if self.training:
                return kernels.norm_pool(x, norm, *self.sizes, self.relu)
        y: Tensor = super().forward(x if norm is None else norm(x))
        return F.relu_(y) if self.relu else y


class Conv(nn.Conv2d):
    """A convolution with its batch normalisation and ReLU, each if the plan has it.

    (N, inputs, H, W) -> (N, outputs, H', W')
    """

    def __init__(self, plan: arch.Conv) -> None:
        super().__init__(
            plan.inputs,
            plan.outputs,
            plan.kernel,
            plan.stride,
            plan.pad,
            groups=plan.groups,
            bias=not plan.norm,
        )
        self.norm = NormReLU(plan.outputs, plan.relu) if plan.norm else None
        self.relu = plan.relu
        # Of many channels a 1x1 convolution is faster as the matrix product that it is: docs/log.md.
        self.pointwise = (plan.kernel, plan.stride, plan.pad, plan.groups) == (1, 1, 0, 1) and plan.inputs >= 64

    def convolve(self, x: Tensor) -> Tensor:
        """Without normalisation and ReLU."""
        if self.pointwise and kernels.covers(x):
            pixels = x.permute(0, 2, 3, 1)  # a view
            return F.linear(pixels, self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)
        return super().forward(x)

    def forward(self, x: Tensor) -> Tensor:
        y = self.convolve(x)
        if self.norm is not None:
            return cast(Tensor, self.norm(y))
        return F.relu_(y) if self.relu else y


class Fire(nn.Module):
    """Squeeze to s1x1 channels, then expand; Iandola et al. 2016, section 3.2. Bypass: section 6.

    (N, inputs, H, W) -> (N, e1x1 + e3x3, H, W), the 1x1 outputs first. A bypass is added after the ReLU, and no
    ReLU follows the addition. One normalisation spans both expand branches: the same function as one for each.
    """

    def __init__(self, plan: arch.Fire) -> None:
        super().__init__()
        name, norm = plan.name, plan.norm
        self.squeeze = Conv(arch.Conv(name=name, inputs=plan.inputs, outputs=plan.s1x1, kernel=1, norm=norm))
        self.expand1x1 = nn.Conv2d(plan.s1x1, plan.e1x1, 1, bias=not norm) if plan.e1x1 else None
        self.expand3x3 = nn.Conv2d(plan.s1x1, plan.e3x3, 3, padding=1, bias=not norm) if plan.e3x3 else None
        self.norm = NormReLU(plan.outputs, relu=True) if norm else None
        self.identity = plan.bypass == "identity"
        self.bypass = (
            Conv(arch.Conv(name=name, inputs=plan.inputs, outputs=plan.outputs, kernel=1, norm=norm))
            if plan.bypass == "conv"
            else None
        )

    @property
    def branches(self) -> list[nn.Conv2d]:
        """The expand convolutions that exist, in the order of their outputs."""
        return [branch for branch in (self.expand1x1, self.expand3x3) if branch is not None]

    def forward(self, x: Tensor) -> Tensor:
        squeezed = self.squeeze(x)
        parts = [branch(squeezed) for branch in self.branches]
        y = F.relu_(_concatenated(parts)) if self.norm is None else self.norm(*parts)
        if self.identity:
            return y + x
        return y if self.bypass is None else y + self.bypass(x)


class Linear(nn.Linear):
    """A linear layer with its ReLU. (N, C, H, W) or (N, inputs) -> (N, outputs)"""

    def __init__(self, plan: arch.Linear) -> None:
        super().__init__(plan.inputs, plan.outputs)
        self.relu = plan.relu

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x.flatten(1))
        return F.relu_(y) if self.relu else y


def _concatenated(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(parts), dim=1) if len(parts) > 1 else parts[0]


class Network(nn.Sequential):
    """The blocks of a plan under their names. (N, channels, H, W) -> (N, classes), the logits."""

    def __init__(self, plan: arch.Plan) -> None:
        super().__init__()
        for block in _relu_after_pool(plan):
            self.add_module(block.name, _module(block))

    def forward(self, x: Tensor) -> Tensor:
        norm: NormReLU | None = None  # of a convolution, left to the pool that follows it
        for block, following in itertools.zip_longest(self, [*self][1:]):
            if isinstance(block, MaxPool):
                x, norm = block(x, norm), None
            elif isinstance(block, Conv) and isinstance(following, MaxPool) and block.norm is not None:
                x, norm = block.convolve(x), block.norm
            else:
                x = block(x)
        return x.flatten(1)

    def use_compiled_kernels(self, use: bool) -> None:
        """Have pooling, and in training normalisation, done by fire/csrc, where it covers the tensors."""
        for module in self.modules():
            if isinstance(module, NormReLU | MaxPool):
                module.compiled = use


def _relu_after_pool(plan: arch.Plan) -> list[arch.Block]:
    """The same function, faster: the maximum commutes with ReLU, and after it there is a quarter of the map."""
    blocks = list(plan)
    for i, (block, following) in enumerate(itertools.pairwise(plan)):
        if isinstance(block, arch.Conv) and block.relu and isinstance(following, arch.MaxPool):
            blocks[i] = replace(block, relu=False)
            blocks[i + 1] = replace(following, relu=True)
    return blocks


def _module(block: arch.Block) -> nn.Module:
    match block:
        case arch.Conv():
            return Conv(block)
        case arch.Fire():
            return Fire(block)
        case arch.Linear():
            return Linear(block)
        case arch.MaxPool():
            return MaxPool(block)
        case arch.AveragePool():
            return nn.AdaptiveAvgPool2d(block.size)
        case arch.LocalResponseNorm():
            return nn.LocalResponseNorm(5)
        case arch.Dropout():
            return nn.Dropout(block.probability)


def build(spec: ArchSpec, channels: int = 3, init: str = "he", seed: int = 0) -> Network:
    """The network of a specification with its initial weights, fp32 on the CPU.

    init: "he", normal with variance 2 / fan_in (He et al. 2015), or "xavier", Caffe's filler: uniform with variance
    1 / fan_in. The last convolution is Gaussian with std 0.01, as in the Caffe release; biases are 0.
    """
    with torch.device("meta"):  # torch's own initialisation would draw from the global generator
        network = Network(spec.plan(channels))
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    for layer in layers:
        fan_in = layer.weight[0].numel()
        if layer is layers[-1]:
            nn.init.normal_(layer.weight, 0.0, 0.01, generator=generator)
        elif init == "he":
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2 / fan_in), generator=generator)
        else:
            limit = math.sqrt(3 / fan_in)
            nn.init.uniform_(layer.weight, -limit, limit, generator=generator)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    return network


@torch.no_grad()
def fold(network: Network) -> Network:
    """A copy for deployment: batch normalisation folded into the convolutions before it, in evaluation mode.

    The copy is the network that the cost is counted of: the same function within rounding, without norms.
    """
    folded = copy.deepcopy(network).eval()
    for module in folded.modules():
        if isinstance(module, Conv):
            _fold_into([module], module.norm)
            module.norm = None
        elif isinstance(module, Fire):
            _fold_into(module.branches, module.norm)
            module.norm = None
    return folded


def _fold_into(convolutions: list[nn.Conv2d], norm: nn.BatchNorm2d | None) -> None:
    if norm is None:
        return
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    shift = norm.bias - norm.running_mean * scale
    start = 0
    for convolution in convolutions:
        part = slice(start, start + convolution.out_channels)
        convolution.weight.mul_(scale[part].view(-1, 1, 1, 1))
        convolution.bias = nn.Parameter(shift[part].clone())
        start = part.stop
