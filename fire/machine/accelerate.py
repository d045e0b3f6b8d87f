"""A network's training made faster: other modules that compute the same function of the same parameters."""

import copy
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fire.errors import unknown
from fire.machine import kernels, native
from fire.model import Fire, NormedConv2d

LEAST_CHANNELS = 64  # from here on a 1x1 convolution is faster as the matrix product that it is: docs/log.md
LARGEST_WINDOW = 15  # pixels a side of a pool: the kernels write a place in it as a byte


def accelerate(network: nn.Module, using: str) -> nn.Module:
    """A faster network of the same function, parameters, buffers, mode and hooks. `network` itself stays as it is.

    using: "compiled" (the kernels of csrc/, where they cover the tensors) or "torch".

    - A ReLU before a max pool comes after it: the maximum commutes with it, and leaves a quarter of the map.
    - ReLUs are in place, and in the kernels part of the normalisation or the pool.
    - The kernels normalise the branches of a Fire module together without concatenating them first.
    - 1x1 convolutions of many channels are matrix products.

    A module that has hooks or is not of the kind that fire.model builds is called as it is.
    Raises NoCompilerError if the kernels cannot be compiled.
    """
    match using:
        case "compiled":
            native.library()
        case "torch":
            pass
        case _:
            raise unknown("train.kernels", using)
    if type(network) is not nn.Sequential:
        return network
    modules = _faster(list(network), compiled=using == "compiled")
    faster = copy.copy(network)  # so hooks on the network are the same
    faster._modules = {str(i): module for i, module in enumerate(modules)}
    return faster


def _faster(modules: list[nn.Module], compiled: bool) -> Iterator[nn.Module]:
    while modules:
        match modules:
            case [nn.Conv2d() as conv, nn.ReLU(), nn.MaxPool2d() as pool, *rest] if _known(*modules[:3]):
                yield nn.Sequential(_Conv(conv), _NormPool(_norm(conv), pool, True, compiled))
            case [nn.Conv2d() as conv, nn.ReLU(), *rest] if _known(*modules[:2]):
                yield nn.Sequential(_Conv(conv), _NormReLU(_norm(conv), compiled))
            case [nn.Conv2d() as conv, *rest] if _known(conv) and _norm(conv) is None:
                yield _Conv(conv)
            case [nn.Linear() as linear, nn.ReLU(), *rest] if _known(*modules[:2]):
                yield nn.Sequential(linear, _NormReLU(None, compiled))
            case [nn.MaxPool2d() as pool, *rest] if _known(pool):
                yield _NormPool(None, pool, False, compiled)
            case [Fire() as fire, *rest] if _known(fire):
                yield _Fire(fire, compiled)
            case [module, *rest]:
                yield module
        modules = rest


def _known(*modules: nn.Module) -> bool:
    """Whether these compute what their types say: subclasses and hooks may do something else."""
    return not any(_has_hooks(module) for module in modules) and all(_is_as_built(module) for module in modules)


def _has_hooks(module: nn.Module) -> bool:
    hooks = module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks
    return any(hooks)


def _is_as_built(module: nn.Module) -> bool:
    kind = type(module)
    if isinstance(module, NormedConv2d):
        return kind is NormedConv2d and type(module.norm) is nn.BatchNorm2d and _known(module.norm)
    if isinstance(module, nn.MaxPool2d):
        return kind is nn.MaxPool2d and _rounds_up(module)
    if isinstance(module, Fire):
        after = module.norm, module.relu_expand
        kinds = (nn.BatchNorm2d, nn.ReLU), (nn.Identity, nn.ReLU)
        return kind is Fire and tuple(map(type, after)) in kinds and _known(*after)
    return kind in (nn.Conv2d, nn.Linear, nn.BatchNorm2d, nn.Identity, nn.ReLU)


def _rounds_up(pool: nn.MaxPool2d) -> bool:
    plain = (pool.padding, pool.dilation, pool.ceil_mode, pool.return_indices) == (0, 1, True, False)
    return plain and pool.kernel_size in range(LARGEST_WINDOW + 1) and isinstance(pool.stride, int)


def _norm(conv: nn.Conv2d) -> nn.BatchNorm2d | None:
    return conv.norm if isinstance(conv, NormedConv2d) else None


class _Conv(nn.Module):
    """A convolution without its normalisation. (N, inputs, H, W) -> (N, outputs, H', W')"""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv
        sizes = conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups
        self.is_product = sizes == ((1, 1), (1, 1), (0, 0), (1, 1), 1) and conv.in_channels >= LEAST_CHANNELS

    def forward(self, x: Tensor) -> Tensor:
        conv = self.conv
        if self.is_product and kernels.covers(x):
            pixels = x.permute(0, 2, 3, 1)  # a view
            return F.linear(pixels, conv.weight.flatten(1), conv.bias).permute(0, 3, 1, 2)
        return nn.Conv2d.forward(conv, x)


class _NormReLU(nn.Module):
    """The concatenation of maps, its normalisation, if any, and ReLU. Each (N, C_i, H, W) -> (N, sum of C_i, H, W)"""

    def __init__(self, norm: nn.BatchNorm2d | None, compiled: bool) -> None:
        super().__init__()
        self.norm, self.compiled = norm, compiled

    def forward(self, *maps: Tensor) -> Tensor:
        norm = self.norm
        if norm is not None and self.compiled and norm.training and kernels.covers(*maps, norm=norm):
            return kernels.norm_relu(maps, norm, relu=True)
        y = torch.cat(maps, dim=1) if len(maps) > 1 else maps[0]
        return F.relu_(y if norm is None else norm(y))


class _NormPool(nn.Module):
    """Normalisation and ReLU, each if wanted, and a max pool. (N, C, H, W) -> (N, C, H', W')"""

    def __init__(self, norm: nn.BatchNorm2d | None, pool: nn.MaxPool2d, relu: bool, compiled: bool) -> None:
        super().__init__()
        self.norm, self.pool, self.relu, self.compiled = norm, pool, relu, compiled
        assert isinstance(pool.kernel_size, int)
        assert isinstance(pool.stride, int)
        self.sizes = pool.kernel_size, pool.stride

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm
        if self.compiled and kernels.covers(x, norm=norm):
            if norm is None:
                return kernels.max_pool(x, *self.sizes, self.relu)
            if norm.training:
                return kernels.norm_pool(x, norm, *self.sizes, self.relu)
        y: Tensor = self.pool(x if norm is None else norm(x))
        return F.relu_(y) if self.relu else y


class _Fire(nn.Module):
    """(N, inputs, H, W) -> (N, e1x1 + e3x3, H, W)"""

    def __init__(self, fire: Fire, compiled: bool) -> None:
        super().__init__()
        self.squeeze = nn.Sequential(*_faster([fire.squeeze, fire.relu_squeeze], compiled))
        self.branches = nn.ModuleList(fire.branches)
        self.norm_relu = _NormReLU(fire.norm if isinstance(fire.norm, nn.BatchNorm2d) else None, compiled)
        bypass = [] if fire.bypass is None else [fire.bypass, fire.relu_bypass]
        self.bypass = nn.Sequential(*_faster(bypass, compiled)) if bypass else None

    def forward(self, x: Tensor) -> Tensor:
        squeezed = self.squeeze(x)
        y: Tensor = self.norm_relu(*(branch(squeezed) for branch in self.branches))
        return y if self.bypass is None else y + self.bypass(x)
