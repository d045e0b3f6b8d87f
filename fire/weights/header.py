"""What a file of weights says about its network beside the tensors, and the bounds of what it may say. No torch."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, assert_never

import numpy as np

from fire.arch import (
    FAMILIES,
    MOST_FIRES,
    ArchSpec,
    AveragePool,
    Conv,
    Dropout,
    Fire,
    Linear,
    LocalResponseNorm,
    MaxPool,
)
from fire.cost import count
from fire.data.spec import RESIZES
from fire.errors import InputError, SpecError

# What a hostile file could otherwise make the reader build; AlexNet has 61 million parameters.
MOST_PARAMETERS = 2**26
MOST_ACTIVATIONS = 2**31  # of an image
LARGEST_FIELD = 2**20
MOST_CHANNELS = 64
LARGEST_IMAGE = 2**14

Shapes = dict[str, tuple[int, ...]]  # of tensors, by name


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What the network expects: an image resized to a square of stored_size as DataSpec.resize says, its central square
    of image_size, then (image - mean) * scale a channel, from 0..255. stored_size is 0 where it is not known."""

    image_size: int
    mean: list[float]
    scale: list[float]
    stored_size: int = 0
    resize: str = "crop"

    @property
    def content(self) -> dict[str, Any]:
        """The fields as a file's header has them: without `resize` where it is "crop", as before there was another."""
        fields = dataclasses.asdict(self)
        if self.resize == "crop":
            del fields["resize"]
        return fields


class Header(NamedTuple):
    """All but the tensors."""

    spec: ArchSpec
    preprocessing: Preprocessing
    class_names: tuple[str, ...]


def folded(spec: ArchSpec) -> ArchSpec:
    """The specification of the deployed network: its batch normalisation is in its convolutions."""
    return dataclasses.replace(spec, norm="none") if spec.norm == "batch" else spec


def dump(header: Header) -> bytes:
    """Compact JSON; what is as by default is left out. Raises InputError if `parse` would refuse it."""
    spec = folded(header.spec)
    family = next(name for name, cls in FAMILIES.items() if isinstance(spec, cls))
    defaults = _defaults(family)
    # sr=1 is sr=1.0, so that equal specifications make equal bytes.
    arch = {name: type(defaults[name])(value) for name, value in dataclasses.asdict(spec).items()}
    arch = {name: value for name, value in arch.items() if value != defaults[name]}
    content: dict[str, Any] = {
        "family": family,
        "arch": arch,
        "image_size": int(header.preprocessing.image_size),
        "mean": [float(mean) for mean in header.preprocessing.mean],
        "scale": [float(scale) for scale in header.preprocessing.scale],
        "stored_size": int(header.preprocessing.stored_size),
        "class_names": list(header.class_names),
    }
    if not header.preprocessing.stored_size:
        del content["stored_size"]
    if header.preprocessing.resize != "crop":
        content["resize"] = header.preprocessing.resize
    if header.class_names == _numbers(spec.classes):
        del content["class_names"]
    data = json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode(errors="surrogatepass")
    parse(data)
    return data


def parse(data: bytes) -> Header:
    """What `dump` wrote. Raises InputError if it is not that, or is out of bounds."""
    try:
        content = json.loads(data.decode(errors="surrogatepass"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the header must be JSON: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise InputError(f"the header must be an object, got {content!r:.100}")
    return checked(content)


def checked(content: Mapping[str, Any]) -> Header:
    """The header of these values as JSON has them. Raises InputError if they are not of a header, or out of bounds."""
    optional = {"stored_size", "resize", "class_names"}
    keys = {"family", "arch", "image_size", "mean", "scale"} | optional
    if not keys - optional <= content.keys() <= keys:
        raise InputError(f"the header must be an object of {', '.join(sorted(keys))}, got {', '.join(content):.200}")
    spec = _spec(content["family"], content["arch"])
    preprocessing = Preprocessing(
        image_size=_integer("image_size", content["image_size"], 1, LARGEST_IMAGE),
        mean=_floats("mean", content["mean"]),
        scale=_floats("scale", content["scale"]),
        stored_size=_integer("stored_size", content.get("stored_size", 0), 0, LARGEST_IMAGE),
        resize=content.get("resize", "crop"),
    )
    if preprocessing.resize not in RESIZES:
        raise InputError(f"resize must be one of {', '.join(RESIZES)}, got {preprocessing.resize!r:.100}")
    if min(map(np.float32, preprocessing.scale)) <= 0:
        raise InputError(f"scale must be of numbers above 0, got {min(preprocessing.scale)}")
    if 0 < preprocessing.stored_size < preprocessing.image_size:
        raise InputError(f"stored_size must be at least {preprocessing.image_size}, got {preprocessing.stored_size}")
    if len(preprocessing.mean) != len(preprocessing.scale):
        raise InputError(f"scale must be of {len(preprocessing.mean)} channels, got {len(preprocessing.scale)}")
    names = content.get("class_names", _numbers(spec.classes))
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and _is_unicode(name) for name in names):
        raise InputError("class_names must be a list of texts")
    if len(names) != spec.classes:
        raise InputError(f"class_names must be {spec.classes}, got {len(names)}")
    try:
        cost = count(spec, preprocessing.image_size, len(preprocessing.mean))
    except SpecError as error:
        raise InputError(f"the network must suit its images: {error}") from error
    if cost.parameters > MOST_PARAMETERS:
        raise InputError(f"parameters must be at most {MOST_PARAMETERS:,}, got {cost.parameters:,}")
    if cost.activations > MOST_ACTIVATIONS:
        raise InputError(f"activations must be at most {MOST_ACTIVATIONS:,} an image, got {cost.activations:,}")
    return Header(spec, preprocessing, tuple(names))


def shapes(header: Header) -> Shapes:
    """The tensors of the file, in its order."""
    return tensor_shapes(header.spec, len(header.preprocessing.mean))


def tensor_shapes(spec: ArchSpec, channels: int) -> Shapes:
    """Names and shapes of the deployed network's tensors, in the order of its state dict."""
    found: Shapes = {}

    def add(name: str, inputs: int, outputs: int, *kernel: int) -> None:
        found[f"{name}.weight"] = (outputs, inputs, *kernel)
        found[f"{name}.bias"] = (outputs,)

    for block in folded(spec).plan(channels):
        match block:
            case Conv():
                add(block.name, block.inputs // block.groups, block.outputs, block.kernel, block.kernel)
            case Fire():
                add(f"{block.name}.squeeze", block.inputs, block.s1x1, 1, 1)
                if block.e1x1:
                    add(f"{block.name}.expand1x1", block.s1x1, block.e1x1, 1, 1)
                if block.e3x3:
                    add(f"{block.name}.expand3x3", block.s1x1, block.e3x3, 3, 3)
                if block.bypass == "conv":
                    add(f"{block.name}.bypass", block.inputs, block.outputs, 1, 1)
            case Linear():
                add(block.name, block.inputs, block.outputs)
            case MaxPool() | AveragePool() | LocalResponseNorm() | Dropout():
                pass
            case _:
                assert_never(block)
    return found


def _numbers(classes: int) -> tuple[str, ...]:
    """The names of classes that have none."""
    return tuple(str(i) for i in range(classes))


def _defaults(family: str) -> dict[str, Any]:
    return {field.name: field.default for field in dataclasses.fields(FAMILIES[family])}


def _is_unicode(text: str) -> bool:
    """Whether it can be written: JSON can have halves of a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _spec(family: Any, fields: Any) -> ArchSpec:
    if not isinstance(family, str) or family not in FAMILIES or not isinstance(fields, dict):
        raise InputError(f"the family must be one of {', '.join(FAMILIES)}, with its fields, got {family!r:.100}")
    defaults = _defaults(family)
    for name, value in fields.items():
        if name not in defaults or type(value) is not type(defaults[name]):
            raise InputError(f"{name!r:.100} must be a field of {family} with a value of its type, got {value!r:.100}")
        if type(value) is int:
            _integer(name, value, -LARGEST_FIELD, MOST_FIRES if name == "fires" else LARGEST_FIELD)
    spec = FAMILIES[family](**fields)
    if spec.norm == "batch":
        raise InputError("norm must not be 'batch': batch normalisation is folded")
    return spec


def _integer(name: str, value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise InputError(f"{name} must be an integer in [{least}, {most}], got {value!r:.100}")
    return value


def _floats(name: str, values: Sequence[Any]) -> list[float]:
    if not isinstance(values, list) or not 1 <= len(values) <= MOST_CHANNELS:
        raise InputError(f"{name} must be a list of 1 to {MOST_CHANNELS} numbers")
    largest = float(np.finfo(np.float32).max)  # what they are used as; comparisons with NaN are False
    if not all(type(value) is float and abs(value) <= largest for value in values):
        raise InputError(f"{name} must be of finite floats, got {values!r:.100}")
    return values
