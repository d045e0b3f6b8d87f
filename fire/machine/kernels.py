"""Batch normalisation with ReLU, and max pooling, in training: the functions of torch with half of their traffic."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from fire.machine import native
from fire.machine.native import Pool

TYPES = {torch.float32: "fp32", torch.bfloat16: "bf16"}


def covers(*maps: Tensor, norm: nn.BatchNorm2d | None = None) -> bool:
    """Whether the kernels can work on these maps (on the CPU, channels_last, all fp32 or all bf16) and with the norm.

    The norm must have fp32 parameters and running statistics with a fixed momentum.
    """
    kind = maps[0].dtype
    return (
        kind in TYPES
        and (norm is None or _covers_norm(norm))
        and all(
            x.device.type == "cpu" and x.dtype == kind and x.is_contiguous(memory_format=torch.channels_last)
            for x in maps
        )
    )


def _covers_norm(norm: nn.BatchNorm2d) -> bool:
    tensors = norm.weight, norm.bias, norm.running_mean, norm.running_var
    return norm.momentum is not None and all(x is not None and x.dtype == torch.float32 for x in tensors)


def norm_relu(parts: tuple[Tensor, ...], norm: nn.BatchNorm2d, relu: bool) -> Tensor:
    """Batch normalisation, in training, of the concatenated parts, then ReLU if wanted.

    Each (N, C_i, H, W) -> (N, sum of C_i, H, W). Raises ValueError if a channel has a single value, as torch does.
    """
    _count_batch(norm, parts[0])
    y: Tensor = _NormReLU.apply(norm, relu, norm.weight, norm.bias, *parts)
    return y


def max_pool(x: Tensor, kernel: int, stride: int, relu: bool) -> Tensor:
    """Max pool, its size rounded up, then ReLU if wanted. (N, C, H, W) -> (N, C, H', W')"""
    y: Tensor = _MaxPool.apply(x, kernel, stride, relu)
    return y


def norm_pool(x: Tensor, norm: nn.BatchNorm2d, kernel: int, stride: int, relu: bool) -> Tensor:
    """`norm_relu`, then `max_pool`, in one pass; the ReLU is taken of the maximum. (N, C, H, W) -> (N, C, H', W')"""
    _count_batch(norm, x)
    y: Tensor = _NormPool.apply(norm, kernel, stride, relu, norm.weight, norm.bias, x)
    return y


def _count_batch(norm: nn.BatchNorm2d, x: Tensor) -> None:
    images, _, height, width = x.shape
    if images * height * width == 1:  # the variance of one value is 0 / 0
        size = torch.Size([images, norm.num_features, height, width])
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {size}")
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)


class _NormReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, norm: nn.BatchNorm2d, relu: bool, weight: Tensor, bias: Tensor, *parts: Tensor) -> Tensor:
        images, _, height, width = parts[0].shape
        y = _empty(parts[0], images, norm.num_features, height, width)
        mean, invstd = torch.empty_like(weight), torch.empty_like(weight)
        run = getattr(native.library(), f"norm_forward_{TYPES[y.dtype]}")
        start = 0
        for x in parts:
            channels = x.shape[1]
            run(
                x.data_ptr(),
                images * height * width,
                channels,
                *(_at(t, start) for t in (weight, bias)),
                norm.eps,
                norm.momentum,
                *(_at(t, start) for t in (norm.running_mean, norm.running_var, mean, invstd)),
                relu,
                _at(y, start),
                norm.num_features,
                torch.get_num_threads(),
            )
            start += channels
        ctx.save_for_backward(weight, bias, mean, invstd, *parts)
        ctx.relu = relu
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        weight, bias, mean, invstd, *parts = ctx.saved_tensors
        images, features, height, width = gy.shape
        gy = gy.contiguous(memory_format=torch.channels_last)
        gweight, gbias = torch.empty_like(weight), torch.empty_like(bias)
        gparts = []
        run = getattr(native.library(), f"norm_backward_{TYPES[gy.dtype]}")
        start = 0
        for x in parts:
            channels = x.shape[1]
            gx = torch.empty_like(x)
            run(
                x.data_ptr(),
                _at(gy, start),
                features,
                images * height * width,
                channels,
                *(_at(t, start) for t in (weight, bias, mean, invstd)),
                ctx.relu,
                gx.data_ptr(),
                *(_at(t, start) for t in (gweight, gbias)),
                torch.get_num_threads(),
            )
            gparts.append(gx)
            start += channels
        return None, None, gweight, gbias, *gparts


class _MaxPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: int, stride: int, relu: bool) -> Tensor:
        ctx.pool = pool = _pool(x, kernel, stride)
        y = _empty(x, pool.images, pool.channels, pool.out_height, pool.out_width)
        place = torch.empty_like(y, dtype=torch.uint8)
        run = getattr(native.library(), f"pool_forward_{TYPES[x.dtype]}")
        run(x.data_ptr(), pool, relu, y.data_ptr(), place.data_ptr(), torch.get_num_threads())
        ctx.save_for_backward(place)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        (place,), pool = ctx.saved_tensors, ctx.pool
        gy = gy.contiguous(memory_format=torch.channels_last)
        gx = _empty(gy, pool.images, pool.channels, pool.height, pool.width)
        run = getattr(native.library(), f"pool_backward_{TYPES[gy.dtype]}")
        run(gy.data_ptr(), place.data_ptr(), pool, gx.data_ptr(), torch.get_num_threads())
        return gx, None, None, None


class _NormPool(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, norm: nn.BatchNorm2d, kernel: int, stride: int, relu: bool, weight: Tensor, bias: Tensor, x: Tensor
    ) -> Tensor:
        ctx.pool = pool = _pool(x, kernel, stride)
        y = _empty(x, pool.images, pool.channels, pool.out_height, pool.out_width)
        there, place = torch.empty_like(y), torch.empty_like(y, dtype=torch.uint8)
        mean, invstd = torch.empty_like(weight), torch.empty_like(weight)
        run = getattr(native.library(), f"norm_pool_forward_{TYPES[x.dtype]}")
        run(
            x.data_ptr(),
            pool,
            *(t.data_ptr() for t in (weight, bias)),
            norm.eps,
            norm.momentum,
            *(_at(t, 0) for t in (norm.running_mean, norm.running_var, mean, invstd)),
            relu,
            *(t.data_ptr() for t in (y, there, place)),
            torch.get_num_threads(),
        )
        ctx.save_for_backward(x, there, place, weight, bias, mean, invstd)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy: Tensor) -> tuple[Tensor | None, ...]:
        x, there, place, weight, bias, mean, invstd = ctx.saved_tensors
        gy = gy.contiguous(memory_format=torch.channels_last)
        gx, gweight, gbias = torch.empty_like(x), torch.empty_like(weight), torch.empty_like(bias)
        run = getattr(native.library(), f"norm_pool_backward_{TYPES[gy.dtype]}")
        run(
            *(t.data_ptr() for t in (x, gy, there, place)),
            ctx.pool,
            *(t.data_ptr() for t in (weight, bias, mean, invstd, gx, gweight, gbias)),
            torch.get_num_threads(),
        )
        return None, None, None, None, gweight, gbias, gx


def _pool(x: Tensor, kernel: int, stride: int) -> Pool:
    """The sizes of a pool of a map (N, C, H, W)."""
    images, channels, height, width = x.shape
    # The last window may reach over the border, but not lie behind it: as in torch.
    sizes = [min(-(-(side - kernel) // stride), (side - 1) // stride) + 1 for side in (height, width)]
    return Pool(images, height, width, channels, kernel, stride, *sizes)


def _at(x: Tensor | None, channel: int) -> int:
    assert x is not None
    return x.data_ptr() + channel * x.element_size()


def _empty(like: Tensor, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, memory_format=torch.channels_last)
