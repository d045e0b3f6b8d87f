"""Parameters, multiply-accumulates, activations and bytes of a network, by arithmetic: nothing is built.

Two routes lead to the same numbers: `count` walks the plan of one specification, fire.cost_grid.count_grid evaluates
the closed form of SqueezeNet on arrays. Counted is the network as deployed, with batch normalisation folded into its
convolutions. Standard library only.
"""

import math
from typing import NamedTuple, assert_never

from fire.arch import ArchSpec
from fire.blocks import AveragePool, Block, Conv, Dropout, Fire, Linear, LocalResponseNorm, MaxPool, Residual
from fire.errors import SpecError, unknown

BYTES_PER_PARAMETER = 4  # fp32
KIB, MIB = 2**10, 2**20
# The costs that a network has before it is trained: columns of records, and what a search may bound.
COSTS = ("parameters", "macs", "activations", "size_bytes", "peak_ram_bytes", "weight_bytes", "flash_bytes")


class Cost(NamedTuple):
    """What a network costs. macs and activations are per image; biases are parameters but no MACs.

    activations: elements of the outputs of all convolutions and linear layers (Radosavovic et al. 2020).
    biases: as many as these layers have output channels.
    peak_ram_bytes: the largest sum of int8 tensors that are alive at once while the layers run one after the other:
      - The image is such a tensor, and the output of each convolution, linear layer, pool and response normalisation.
        While one of these runs, its input and its output are alive.
      - Both expand layers of a Fire module write into one buffer, their concatenation, while the squeeze map is alive.
      - A bypass or shortcut keeps the module's input alive until it is added, in place, into the module's output.
      - The 1x1 convolution on a bypass or shortcut runs last, into a buffer of its own of the output's size.
      - ReLU works in place. Dropout, flattening and normalisation, which is folded, take nothing.
      Runtimes that let buffers overlap need less, code and runtime come on top.
    """

    parameters: int
    macs: int
    activations: int
    biases: int
    peak_ram_bytes: int

    @property
    def size_bytes(self) -> int:
        """Size of the parameters in fp32."""
        return BYTES_PER_PARAMETER * self.parameters

    @property
    def size_mib(self) -> float:
        """Size of the parameters in fp32, in MiB: the unit in which the paper prints MB."""
        return self.size_bytes / MIB

    @property
    def weight_bytes(self) -> int:
        """Size of the parameters as int8 weights and int32 biases."""
        return self.parameters + 3 * self.biases

    @property
    def flash_bytes(self) -> int:
        """Size of weight_bytes with the weights' scales: an fp32 number for each output channel."""
        return self.weight_bytes + 4 * self.biases


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
        case Residual():
            found = _layer(f"{block.name}.conv1", block.inputs, block.outputs, 3, 3)
            found |= _layer(f"{block.name}.conv2", block.outputs, block.outputs, 3, 3)
            if block.has_projection:
                found |= _layer(f"{block.name}.shortcut", block.inputs, block.outputs, 1, 1)
            return found
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
    parameters = macs = activations = biases = peak = 0
    depth, side = channels, image_size
    for block in spec.plan(channels):
        before = depth * side**2
        depth, side = _map_after(block, depth, side)
        if side < 1:
            raise SpecError(f"image_size must be large enough to leave a map after {block.name}, got {image_size}")
        pixels = side**2
        peak = max(peak, _alive(block, before, depth * pixels, pixels))
        for name, shape in tensors(block).items():
            size = math.prod(shape)
            parameters += size
            if name.endswith(".weight"):
                macs += size * pixels
            elif name.endswith(".bias"):  # as many as output channels
                activations += size * pixels
                biases += size
    return Cost(parameters, macs, activations, biases, peak)


def _map_after(block: Block, depth: int, side: int) -> tuple[int, int]:
    """Channels of the block's output, and its side in pixels, for an input of this depth and side."""
    match block:
        case Conv():
            return block.outputs, conv_side(side, block.kernel, block.stride, block.pad)
        case Fire():
            return block.outputs, side
        case Residual():
            return block.outputs, conv_side(side, 3, block.stride, 1)
        case MaxPool():
            return depth, pool_side(side, block.kernel, block.stride)
        case AveragePool():
            return depth, block.size
        case Linear():
            return block.outputs, 1
        case LocalResponseNorm() | Dropout():
            return depth, side
        case _:
            assert_never(block)


def _alive(block: Block, before: int, after: int, pixels: int) -> int:
    """The most elements that are alive at once while the block runs, by the rules of Cost.peak_ram_bytes.

    before, after: elements of its input and output; pixels: of a channel of the output.
    """
    match block:
        case Fire():
            squeezed = block.s1x1 * pixels
            match block.bypass:
                case "none":  # the input is dead once it is squeezed
                    return squeezed + max(before, after)
                case "identity":
                    return before + squeezed + after
                case "conv":  # which runs when the squeeze map is dead
                    return before + after + max(squeezed, after)
                case other:
                    raise unknown("bypass", other)
        case Residual():  # the input, that of conv2 or the shortcut's output, and the output
            return before + 2 * after
        case Conv() | MaxPool() | AveragePool() | LocalResponseNorm() | Linear():
            return before + after
        case Dropout():
            return before
        case _:
            assert_never(block)
