"""Parameters, multiply-accumulates, activations and bytes of a network, by arithmetic: nothing is built.

Two routes lead to the same numbers: `count` walks the plan of one specification, `count_grid` evaluates the closed
form of SqueezeNet on NumPy arrays, at more than a million points a second. Counted is the network as deployed, with
batch normalisation folded into its convolutions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, assert_never

from fire.arch import SQUEEZENETS, ArchSpec
from fire.blocks import AveragePool, Block, Conv, Dropout, Fire, Linear, LocalResponseNorm, MaxPool
from fire.errors import SpecError, unknown

if TYPE_CHECKING:  # numpy takes as long to import as Hydra, and only arrays of networks need it
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Integers = NDArray[np.int64]

BYTES_PER_PARAMETER = 4  # fp32
MIB = 2**20


class Cost(NamedTuple):
    """What a network costs. macs and activations are per image; biases are parameters but no MACs.

    activations: elements of the outputs of all convolutions and linear layers (Radosavovic et al. 2020).
    """

    parameters: int
    macs: int
    activations: int

    @property
    def size_bytes(self) -> int:
        """Size of the parameters in fp32."""
        return BYTES_PER_PARAMETER * self.parameters

    @property
    def size_mib(self) -> float:
        """Size of the parameters in fp32, in MiB: the unit in which the paper prints MB."""
        return self.size_bytes / MIB


class Costs(NamedTuple):
    """The same as Cost for an array of networks: int64 arrays of one shape."""

    parameters: Integers
    macs: Integers
    activations: Integers

    @property
    def size_bytes(self) -> Integers:
        """Size of the parameters in fp32."""
        return BYTES_PER_PARAMETER * self.parameters


def conv_side(side: int, kernel: int, stride: int, pad: int) -> int:
    """Side in pixels of a convolution's output map."""
    return (side + 2 * pad - kernel) // stride + 1


def pool_side(side: int, kernel: int = 3, stride: int = 2) -> int:
    """Side in pixels of a max pool's output map; rounded up, as Caffe does."""
    return -((kernel - side) // stride) + 1


def tensors(block: Block) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights and biases of a deployed block, in the order of the network's state dict."""
    match block:
        case Conv():
            return _layer(block.name, block.inputs // block.groups, block.outputs, block.kernel, block.kernel)
        case Fire():
            found = _layer(f"{block.name}.squeeze", block.inputs, block.s1x1, 1, 1)
            if block.e1x1:
                found |= _layer(f"{block.name}.expand1x1", block.s1x1, block.e1x1, 1, 1)
            if block.e3x3:
                found |= _layer(f"{block.name}.expand3x3", block.s1x1, block.e3x3, 3, 3)
            match block.bypass:
                case "none" | "identity":
                    return found
                case "conv":
                    return found | _layer(f"{block.name}.bypass", block.inputs, block.outputs, 1, 1)
                case other:
                    raise unknown("bypass", other)
        case Linear():
            return _layer(block.name, block.inputs, block.outputs)
        case MaxPool() | AveragePool() | LocalResponseNorm() | Dropout():
            return {}
        case _:
            assert_never(block)


def _layer(name: str, inputs: int, outputs: int, *kernel: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (outputs, inputs, *kernel), f"{name}.bias": (outputs,)}


def count(spec: ArchSpec, image_size: int = 224, channels: int = 3) -> Cost:
    """Cost of the network for square images of image_size pixels a side.

    Raises SpecError if a map would shrink to nothing on the way.
    """
    parameters = macs = activations = 0
    side = image_size
    for block in spec.plan(channels):
        match block:
            case Conv():
                side = conv_side(side, block.kernel, block.stride, block.pad)
            case MaxPool():
                side = pool_side(side, block.kernel, block.stride)
            case AveragePool():
                side = block.size
            case Linear():
                side = 1
            case Fire() | LocalResponseNorm() | Dropout():
                pass
            case _:
                assert_never(block)
        if side < 1:
            raise SpecError(
                f"image_size must be large enough to leave a map after {block.name} "
                f"of version {spec.version!r}, got {image_size}"
            )
        pixels = side**2
        for name, shape in tensors(block).items():
            size = math.prod(shape)
            parameters += size
            if name.endswith(".weight"):
                macs += size * pixels
            elif name.endswith(".bias"):  # as many as output channels
                activations += size * pixels
    return Cost(parameters, macs, activations)


def count_grid(
    *,
    base_e: ArrayLike = 128,
    incr_e: ArrayLike = 128,
    freq: ArrayLike = 2,
    pct_3x3: ArrayLike = 0.5,
    sr: ArrayLike = 0.125,
    bypass: ArrayLike = "none",
    fires: ArrayLike = 8,
    conv1: ArrayLike = 0,
    snap: int = 1,
    version: str = "1.0",
    conv10_pad: int = 0,
    classes: int = 1000,
    image_size: int = 224,
    channels: int = 3,
) -> Costs:
    """Costs of many SqueezeNets at once; the arguments are SqueezeNetSpec's, arrays broadcast against each other.

    Values are not checked: an invalid point has a meaningless cost (SqueezeNetSpec refuses it);
    only an unknown bypass raises SpecError.
    """
    import numpy as np

    names = np.asarray(bypass)
    convolved = names == "complex"  # where a module has not as many inputs as outputs
    others = names[~(convolved | (names == "none") | (names == "simple"))]
    if others.size:
        raise unknown("bypass", str(others[0]))
    arrays = np.broadcast_arrays(base_e, incr_e, freq, pct_3x3, sr, fires, conv1, convolved)
    shape = arrays[0].shape
    flat = [array.ravel() for array in arrays]
    totals = np.empty((3, flat[0].size), np.int64)
    chunk = 8192  # two dozen temporaries of this length stay in a core's cache
    for start in range(0, flat[0].size, chunk):
        part = slice(start, start + chunk)
        totals[:, part] = _closed_form(
            *(array[part] for array in flat),
            snap=snap,
            version=version,
            conv10_pad=conv10_pad,
            classes=classes,
            image_size=image_size,
            channels=channels,
        )
    return Costs(*(row.reshape(shape) for row in totals))


def _closed_form(
    base_e: Integers,
    incr_e: Integers,
    freq: Integers,
    pct_3x3: NDArray[np.float64],
    sr: NDArray[np.float64],
    fires: Integers,
    conv1: Integers,
    convolved: NDArray[np.bool_],
    *,
    snap: int,
    version: str,
    conv10_pad: int,
    classes: int,
    image_size: int,
    channels: int,
) -> tuple[Integers, Integers, Integers]:
    import numpy as np

    macro = SQUEEZENETS[version]
    side = conv_side(image_size, macro.kernel, macro.stride, macro.pad)
    inputs = np.where(conv1 > 0, conv1, macro.conv1).astype(np.int64)
    weights = inputs * (channels * macro.kernel**2)
    biases = inputs
    parameters = weights + biases
    macs = weights * side**2
    activations = biases * side**2
    if 0 in macro.pools:
        side = pool_side(side)
    last_side = np.full(inputs.shape, side, np.int64)
    fewest = int(fires.min())
    for i in range(int(fires.max(initial=0))):
        e = base_e + incr_e * (i // freq)
        if snap > 1:
            e = np.maximum(1, np.rint(e / snap).astype(np.int64)) * snap
        e3x3 = np.rint(pct_3x3 * e / snap).astype(np.int64) * snap
        s1x1 = np.maximum(1, np.rint(sr * e / snap).astype(np.int64)) * snap
        bypass = convolved & (inputs != e)
        weights = s1x1 * (inputs + e + 8 * e3x3) + bypass * (inputs * e)
        biases = s1x1 + e + bypass * e
        if i >= fewest:  # here some of the networks have ended
            present = i < fires
            weights, biases = weights * present, biases * present
            inputs = np.where(present, e, inputs)
        else:
            inputs = e
        parameters += weights + biases
        macs += weights * side**2
        activations += biases * side**2
        if i + 1 in macro.pools:
            side = pool_side(side)
        last_side = np.where(i < fires, side, last_side) if i >= fewest else np.full_like(last_side, side)
    area = (last_side + 2 * conv10_pad) ** 2
    parameters += classes * inputs + classes
    macs += classes * inputs * area
    activations += classes * area
    return parameters, macs, activations
