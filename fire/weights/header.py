"""What a file of weights says about its network beside the tensors, and the bounds of what it may say. No torch."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fire.arch import FAMILIES, ArchSpec
from fire.cost import count, tensors
from fire.data.spec import LARGEST_IMAGE, RESIZES
from fire.errors import InputError, SpecError

# What a hostile file could otherwise make the reader build; AlexNet has 61 million parameters.
MOST_PARAMETERS = 2**26
MOST_ACTIVATIONS = 2**31  # of an image
MOST_CHANNELS = 64
LARGEST_FLOAT32 = (2 - 2**-23) * 2.0**127
FORMAT = 1  # of the JSON text
LATER = ("stem_kernel", "stem_stride", "pools")  # left out at their defaults, so that older programs read the file

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


@dataclass(frozen=True, kw_only=True)
class Header:
    """What goes with the tensors of a network, in files of either format."""

    spec: ArchSpec
    preprocessing: Preprocessing
    class_names: tuple[str, ...]

    @property
    def channels(self) -> int:
        """The number of channels of the images."""
        return len(self.preprocessing.mean)

    @property
    def shapes(self) -> Shapes:
        """Names and shapes of the tensors, in the order of the file."""
        return tensor_shapes(self.spec, self.channels)


def folded(spec: ArchSpec) -> ArchSpec:
    """The specification of the deployed network: its batch normalisation is in its convolutions."""
    return dataclasses.replace(spec, norm="none") if spec.norm == "batch" else spec


def dump(header: Header) -> str:
    """JSON text, with the specification of the folded network. Raises InputError if `parse` would refuse it."""
    spec = folded(header.spec)
    family = next(name for name, cls in FAMILIES.items() if isinstance(spec, cls))
    # sr=1 is sr=1.0, so that equal specifications make equal bytes.
    arch = {
        name: type(default)(getattr(spec, name))
        for name, default in _defaults(family).items()
        if name not in LATER or getattr(spec, name) != default
    }
    preprocessing = dataclasses.replace(
        header.preprocessing,
        mean=[float(mean) for mean in header.preprocessing.mean],
        scale=[float(scale) for scale in header.preprocessing.scale],
    )
    content = {
        "format": FORMAT,
        "arch": {"family": family, **arch},
        "preprocessing": preprocessing.content,
        "class_names": header.class_names,
    }
    text = json.dumps(content)
    parse(text)
    return text


def parse(text: str) -> Header:
    """The header of a text that `dump` wrote. Raises InputError if it is no such text, or is out of bounds."""
    try:
        content = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"the header must be JSON: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"the header must be of format {FORMAT}, got {content!r:.100}")
    parts: dict[str, type] = {"arch": dict, "preprocessing": dict, "class_names": list}
    for name, kind in parts.items():
        if not isinstance(content.get(name), kind):
            raise InputError(f"{name} must be a {kind.__name__}, got {content.get(name)!r:.100}")
    arch = dict(content["arch"])
    spec = _spec(arch.pop("family", None), arch)
    preprocessing = _preprocessing(content["preprocessing"])
    names = content["class_names"]
    if not all(isinstance(name, str) and _is_unicode(name) for name in names):
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
    return Header(spec=spec, preprocessing=preprocessing, class_names=tuple(names))


def tensor_shapes(spec: ArchSpec, channels: int) -> Shapes:
    """Names and shapes of the deployed network's tensors, in the order of its state dict."""
    return {name: shape for block in folded(spec).plan(channels) for name, shape in tensors(block).items()}


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


def _spec(family: Any, fields: Mapping[str, Any]) -> ArchSpec:
    if not isinstance(family, str) or family not in FAMILIES:
        raise InputError(f"the family must be one of {', '.join(FAMILIES)}, got {family!r:.100}")
    defaults = _defaults(family)
    for name, value in fields.items():
        if name not in defaults or type(value) is not type(defaults[name]):
            raise InputError(f"{name!r:.100} must be a field of {family} with a value of its type, got {value!r:.100}")
    spec = FAMILIES[family](**fields)
    if spec.norm == "batch":
        raise InputError("norm must not be 'batch': batch normalisation is folded")
    return spec


def _preprocessing(content: Mapping[str, Any]) -> Preprocessing:
    known = {field.name for field in dataclasses.fields(Preprocessing)}
    if not known - {"stored_size", "resize"} <= content.keys() <= known:
        raise InputError(f"preprocessing must have {', '.join(sorted(known))}, got {', '.join(content):.200}")
    found = Preprocessing(
        image_size=_integer("image_size", content["image_size"], 1, LARGEST_IMAGE),
        mean=_floats("mean", content["mean"]),
        scale=_floats("scale", content["scale"]),
        stored_size=_integer("stored_size", content.get("stored_size", 0), 0, LARGEST_IMAGE),
        resize=content.get("resize", "crop"),
    )
    if found.resize not in RESIZES:
        raise InputError(f"resize must be one of {', '.join(RESIZES)}, got {found.resize!r:.100}")
    import numpy as np  # here, as it takes as long as Hydra, and planning imports this module

    if min(map(np.float32, found.scale)) <= 0:
        raise InputError(f"scale must be of numbers above 0, got {min(found.scale)}")
    if 0 < found.stored_size < found.image_size:
        raise InputError(f"stored_size must be at least {found.image_size}, got {found.stored_size}")
    if len(found.mean) != len(found.scale):
        raise InputError(f"scale must be of {len(found.mean)} channels, got {len(found.scale)}")
    return found


def _integer(name: str, value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise InputError(f"{name} must be an integer in [{least}, {most}], got {value!r:.100}")
    return value


def _floats(name: str, values: Sequence[Any]) -> list[float]:
    if not isinstance(values, list) or not 1 <= len(values) <= MOST_CHANNELS:
        raise InputError(f"{name} must be a list of 1 to {MOST_CHANNELS} numbers")
    # float32 is what they are used as; comparisons with NaN are False
    if not all(type(value) is float and abs(value) <= LARGEST_FLOAT32 for value in values):
        raise InputError(f"{name} must be of finite floats, got {values!r:.100}")
    return values
