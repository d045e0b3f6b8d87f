"""The blocks that a plan is made of. Standard library only.

Sizes are channels; kernels, strides and paddings are pixels. A block with `norm` is followed by batch normalisation
while it trains; the exported network has it folded into the convolution.
"""

from dataclasses import dataclass

from fire.errors import unknown


@dataclass(frozen=True, kw_only=True, slots=True)
class Conv:
    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int = 1
    pad: int = 0
    groups: int = 1
    relu: bool = True
    norm: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Fire:
    """Squeeze to s1x1 channels, expand to e1x1 + e3x3; a branch with 0 filters is absent.

    bypass: what is made of the module's input and added to its output, a case of fire.model.Fire; "none": nothing.
    """

    name: str
    inputs: int
    s1x1: int
    e1x1: int
    e3x3: int
    bypass: str = "none"
    norm: bool = False

    @property
    def outputs(self) -> int:
        return self.e1x1 + self.e3x3


@dataclass(frozen=True, kw_only=True, slots=True)
class Residual:
    """Two 3x3 convolutions, the first with this stride, whose output is added to the module's input, then ReLU.

    Where the shapes of input and output differ, a 1x1 convolution with this stride, without norm, is on the shortcut.
    He et al. 2016, "Deep Residual Learning for Image Recognition", section 3.
    """

    name: str
    inputs: int
    outputs: int
    stride: int = 1
    norm: bool = False

    @property
    def has_projection(self) -> bool:
        return self.stride != 1 or self.inputs != self.outputs


@dataclass(frozen=True, kw_only=True, slots=True)
class MaxPool:
    """Sizes are rounded up, as in the Caffe release."""

    name: str
    kernel: int = 3
    stride: int = 2


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalResponseNorm:
    """Across 5 channels as in Caffe: k = 1, alpha 1e-4 / 5, beta 0.75; Krizhevsky et al. 2012: k = 2, alpha 1e-4."""

    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AveragePool:
    """To size x size pixels, whatever comes in; size 1 is the global average pool."""

    name: str
    size: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Dropout:
    name: str
    probability: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Linear:
    name: str
    inputs: int
    outputs: int
    relu: bool = True


Block = Conv | Fire | Residual | MaxPool | LocalResponseNorm | AveragePool | Dropout | Linear
Plan = tuple[Block, ...]


def is_batch_normalised(norm: str) -> bool:
    """Whether the convolutions of a specification with this `norm` are followed by batch normalisation."""
    match norm:
        case "none":
            return False
        case "batch":
            return True
        case _:
            raise unknown("norm", norm)
