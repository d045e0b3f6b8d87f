"""Metaparameters of SqueezeNet, and their expansion into a plan of layers. Standard library only.

Iandola et al. 2016, "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
arXiv:1602.07360, sections 3 (Fire modules), 5.1 (metaparameters), 6 (bypass).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from fire.baselines import AlexNetSpec as AlexNetSpec
from fire.baselines import ResNet8Spec as ResNet8Spec
from fire.blocks import AveragePool, Block, Conv, Dropout, Fire, MaxPool, Plan, is_batch_normalised
from fire.errors import SpecError, unknown
from fire.fields import LARGEST, check, number, one_of, setting, whole

BYPASSES = ("none", "simple", "complex")
MOST_FIRES = 512  # modules of a network; a plan is a list of them


@dataclass(frozen=True, kw_only=True, slots=True)
class MacroArchitecture:
    """What surrounds the Fire modules: conv1's filters, kernel, stride and pad, and where the max pools lie.

    pools: the layers that a max pool follows, by their numbers in the paper: 1 is conv1, 4 is fire4.
    """

    conv1: int
    kernel: int
    stride: int
    pad: int
    pools: tuple[int, ...]


SQUEEZENETS = {
    "1.0": MacroArchitecture(conv1=96, kernel=7, stride=2, pad=0, pools=(1, 4, 8)),
    "1.1": MacroArchitecture(conv1=64, kernel=3, stride=2, pad=0, pools=(1, 3, 5)),
    # For images of about 28 to 64 pixels; the places of the pools were measured, see docs/log.md.
    "small": MacroArchitecture(conv1=64, kernel=3, stride=1, pad=1, pools=(1, 4, 8)),
}
AS_VERSION = "version"  # of pools: where the version has them


def macro_architecture(version: str, pools: str, stem_kernel: int, stem_stride: int) -> MacroArchitecture:
    """The version's macro-architecture with these pools and this stem; see the fields of SqueezeNetSpec.

    Where the version pads conv1, it keeps the side of the map at stride 1: the pad is half of an odd kernel.
    Raises SpecError if the pools are not ascending numbers joined by +.
    """
    macro = SQUEEZENETS[version]
    if stem_kernel:
        macro = replace(macro, kernel=stem_kernel, pad=(stem_kernel - 1) // 2 if macro.pad else 0)
    if stem_stride:
        macro = replace(macro, stride=stem_stride)
    return macro if pools == AS_VERSION else replace(macro, pools=_layers(pools))


def _layers(pools: str) -> tuple[int, ...]:
    """The numbers of "1+4"; "none" has none."""
    if pools == "none":
        return ()
    parts = pools.split("+")
    numbers = tuple(int(part) for part in parts if re.fullmatch(r"[1-9][0-9]{0,3}", part))
    if len(numbers) < len(parts) or list(numbers) != sorted(set(numbers)):
        raise SpecError(f"pools must be version, none, or ascending numbers of layers such as 1+4, got {pools!r}")
    return numbers


@dataclass(frozen=True, kw_only=True)
class SqueezeNetSpec:
    """One point of the design space. With i counting Fire modules from 0 (fire2 is i = 0), section 5.1:

    e_i = base_e + incr_e * floor(i / freq);  e3x3 = pct_3x3 * e_i;  e1x1 = e_i - e3x3;  s1x1 = sr * e_i.
    The paper states no rounding: e3x3 and s1x1 are rounded to the nearest (halves to even), s1x1 to at least 1.
    With snap, e_i, e3x3 and s1x1 are rounded to multiples of it, e_i and s1x1 to at least one.

    The defaults are the paper's SqueezeNet, 1,248,424 parameters. A value outside its range raises SpecError.
    """

    base_e: int = whole(128, least=1, most=LARGEST)
    incr_e: int = whole(128, least=0, most=LARGEST)
    freq: int = whole(2, least=1, most=LARGEST)
    pct_3x3: float = number(0.5, interval="[0, 1]", doc="part of the expand filters that are 3x3")
    sr: float = number(0.125, interval="(0, 1]", doc="squeeze ratio: squeeze filters over expand filters")
    bypass: str = one_of(*BYPASSES)
    version: str = one_of(*SQUEEZENETS, doc="the macro-architecture")
    fires: int = whole(8, least=1, most=MOST_FIRES, doc="number of Fire modules")
    conv1: int = whole(0, least=0, most=LARGEST, doc="filters of conv1; 0: as the version has it")
    stem_kernel: int = whole(0, least=0, most=LARGEST, doc="side of conv1's filters; 0: as the version has it")
    stem_stride: int = whole(0, least=0, most=LARGEST, doc="of conv1; 0: as the version has it")
    pools: str = setting(AS_VERSION, doc="layers that a max pool follows: 1+4 is conv1 and fire4; or none, or version")
    snap: int = whole(1, least=1, most=LARGEST, doc="e_i, e3x3 and s1x1 are multiples of it: 16 suits matrix units")
    conv10_pad: int = whole(0, least=0, most=LARGEST, doc="the Caffe release of v1.0 has 1, torchvision's port 0")
    classes: int = whole(1000, least=2, most=LARGEST)
    norm: str = one_of("none", "batch", doc="batch normalisation while training, folded at export")
    final_relu: bool = setting(True, doc="ReLU between conv10 and the global average pool")
    dropout: float = number(0.5, interval="[0, 1)", doc="before conv10")

    def __post_init__(self) -> None:
        check(self)
        pools, last = self.macro.pools, self.fires + 1
        if self.pools != AS_VERSION and not all(1 <= layer <= last for layer in pools):
            raise SpecError(f"pools must follow layers from 1, conv1, to {last}, the last module, got {self.pools!r}")
        if self.bypass != "none" and all(fire.bypass == "none" for fire in self._fires()):
            # Silently the same network as bypass=none would put one network into a comparison twice.
            raise SpecError(
                f"bypass must not be {self.bypass!r} where no Fire module has as many inputs as outputs: "
                f"got freq={self.freq}, incr_e={self.incr_e}, fires={self.fires}"
            )

    @property
    def macro(self) -> MacroArchitecture:
        """The version's macro-architecture, with this specification's own stem and pools."""
        return macro_architecture(self.version, self.pools, self.stem_kernel, self.stem_stride)

    @property
    def conv1_filters(self) -> int:
        """Output channels of conv1."""
        return self.conv1 or self.macro.conv1

    def _fires(self) -> Iterator[Fire]:
        inputs = self.conv1_filters
        for i in range(self.fires):
            e = max(1, round((self.base_e + self.incr_e * (i // self.freq)) / self.snap)) * self.snap
            e3x3 = round(self.pct_3x3 * e / self.snap) * self.snap
            yield Fire(
                name=f"fire{i + 2}",
                inputs=inputs,
                s1x1=max(1, round(self.sr * e / self.snap)) * self.snap,
                e1x1=e - e3x3,
                e3x3=e3x3,
                bypass=_bypass(self.bypass, inputs, e),
                norm=is_batch_normalised(self.norm),
            )
            inputs = e

    def plan(self, channels: int = 3) -> Plan:
        """The layers, first to last, for images with this number of channels."""
        macro = self.macro
        blocks: list[Block] = [
            Conv(
                name="conv1",
                inputs=channels,
                outputs=self.conv1_filters,
                kernel=macro.kernel,
                stride=macro.stride,
                pad=macro.pad,
                norm=is_batch_normalised(self.norm),
            )
        ]
        if 1 in macro.pools:
            blocks.append(MaxPool(name="pool1"))
        outputs = self.conv1_filters
        for layer, fire in enumerate(self._fires(), start=2):
            blocks.append(fire)
            outputs = fire.outputs
            if layer in macro.pools:
                blocks.append(MaxPool(name=f"pool{layer}"))
        last = self.fires + 2  # conv10 in the paper, whose Fire modules end with fire9
        if self.dropout:
            blocks.append(Dropout(name=f"drop{last - 1}", probability=self.dropout))
        blocks.append(
            Conv(
                name=f"conv{last}",
                inputs=outputs,
                outputs=self.classes,
                kernel=1,
                pad=self.conv10_pad,
                relu=self.final_relu,
            )
        )
        blocks.append(AveragePool(name=f"pool{last}"))
        return tuple(blocks)


ArchSpec = SqueezeNetSpec | AlexNetSpec | ResNet8Spec
FAMILIES: dict[str, type[SqueezeNetSpec] | type[AlexNetSpec] | type[ResNet8Spec]] = {
    "squeezenet": SqueezeNetSpec,
    "alexnet": AlexNetSpec,
    "resnet8": ResNet8Spec,
}


def _bypass(name: str, inputs: int, outputs: int) -> str:
    """The bypass of a Fire module, as Fire.bypass has it; Iandola et al. 2016, section 6."""
    match name:
        case "none":
            return "none"
        case "simple":
            return "identity" if inputs == outputs else "none"
        case "complex":
            return "identity" if inputs == outputs else "conv"
        case _:
            raise unknown("bypass", name)
