"""The networks that SqueezeNets are compared with, AlexNet and ResNet8, as plans of layers. Standard library only."""

from dataclasses import dataclass

from fire.blocks import (
    AveragePool,
    Block,
    Conv,
    Dropout,
    Linear,
    LocalResponseNorm,
    MaxPool,
    Plan,
    Residual,
    is_batch_normalised,
)
from fire.fields import LARGEST, check, number, one_of, whole


@dataclass(frozen=True, kw_only=True, slots=True)
class AlexNetMacro:
    """Kernel, stride and pad of conv1; the side in pixels of the map that enters fc6."""

    kernel: int
    stride: int
    pad: int
    map_size: int


ALEXNETS = {
    "caffe": AlexNetMacro(kernel=11, stride=4, pad=0, map_size=6),
    "small": AlexNetMacro(kernel=5, stride=1, pad=2, map_size=3),
}


@dataclass(frozen=True, kw_only=True)
class AlexNetSpec:
    """AlexNet as the paper's baseline: Caffe's grouped network, 60,965,224 parameters at 1000 classes.

    version "small" keeps the filters, groups and fully connected layers and changes conv1 for images
    of about 28 to 64 pixels. A value outside its range raises SpecError.
    """

    version: str = one_of(*ALEXNETS)
    fc: int = whole(4096, least=1, most=LARGEST, doc="outputs of fc6 and of fc7")
    classes: int = whole(1000, least=2, most=LARGEST)
    norm: str = one_of("response", "batch", "none", doc="Caffe's, without parameters; or folded at export")
    dropout: float = number(0.5, interval="[0, 1)")

    def __post_init__(self) -> None:
        check(self)

    def plan(self, channels: int = 3) -> Plan:
        """The layers, first to last, for images with this number of channels."""
        macro = ALEXNETS[self.version]
        response = self.norm == "response"
        batch = not response and is_batch_normalised(self.norm)
        blocks: list[Block] = [
            Conv(
                name="conv1",
                inputs=channels,
                outputs=96,
                kernel=macro.kernel,
                stride=macro.stride,
                pad=macro.pad,
                norm=batch,
            )
        ]
        if response:
            blocks.append(LocalResponseNorm(name="norm1"))
        blocks.append(MaxPool(name="pool1"))
        blocks.append(Conv(name="conv2", inputs=96, outputs=256, kernel=5, pad=2, groups=2, norm=batch))
        if response:
            blocks.append(LocalResponseNorm(name="norm2"))
        blocks += [
            MaxPool(name="pool2"),
            Conv(name="conv3", inputs=256, outputs=384, kernel=3, pad=1, norm=batch),
            Conv(name="conv4", inputs=384, outputs=384, kernel=3, pad=1, groups=2, norm=batch),
            Conv(name="conv5", inputs=384, outputs=256, kernel=3, pad=1, groups=2, norm=batch),
            MaxPool(name="pool5"),
            # The identity at the sizes the network was made for (227 pixels; 28 pixels for "small").
            AveragePool(name="resize5", size=macro.map_size),
            Linear(name="fc6", inputs=256 * macro.map_size**2, outputs=self.fc),
            Dropout(name="drop6", probability=self.dropout),
            Linear(name="fc7", inputs=self.fc, outputs=self.fc),
            Dropout(name="drop7", probability=self.dropout),
            Linear(name="fc8", inputs=self.fc, outputs=self.classes, relu=False),
        ]
        return tuple(blocks)


@dataclass(frozen=True, kw_only=True)
class ResNet8Spec:
    """MLPerf Tiny's reference for CIFAR-10: a residual network of three stacks, 78,666 parameters in Keras' summary.

    That is Banbury et al. 2021, "MLPerf Tiny Benchmark", arXiv:2106.07597. Keras counts each batch normalisation, its
    running statistics, and the biases of the convolutions before one. Deployed, 77,706 parameters remain.

    Keras pads the 3x3 convolutions of stride 2 below and on the right alone where a side is even; here all sides get
    a pixel, as in He et al. 2016. Both leave ceil(side / 2) pixels, so MACs agree, but trained weights of one do not
    suit the other. A value outside its range raises SpecError.
    """

    classes: int = whole(10, least=2, most=LARGEST)
    norm: str = one_of("batch", "none", doc="batch normalisation while training, folded at export")
    dropout: float = number(0.0, interval="[0, 1)", doc="before the linear layer")

    def __post_init__(self) -> None:
        check(self)

    def plan(self, channels: int = 3) -> Plan:
        """The layers, first to last, for images with this number of channels."""
        norm = is_batch_normalised(self.norm)
        blocks: list[Block] = [
            Conv(name="conv1", inputs=channels, outputs=16, kernel=3, pad=1, norm=norm),
            Residual(name="stack1", inputs=16, outputs=16, norm=norm),
            Residual(name="stack2", inputs=16, outputs=32, stride=2, norm=norm),
            Residual(name="stack3", inputs=32, outputs=64, stride=2, norm=norm),
            AveragePool(name="pool"),
        ]
        if self.dropout:
            blocks.append(Dropout(name="drop", probability=self.dropout))
        blocks.append(Linear(name="dense", inputs=64, outputs=self.classes, relu=False))
        return tuple(blocks)
