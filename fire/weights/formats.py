"""What a file of weights says without its numbers: the network they are of, and what it expects.

Planning reads no more than this: of this program's files and the authors' without torch.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, assert_never

import safetensors

from fire.arch import ArchSpec
from fire.errors import InputError, require
from fire.files import reading
from fire.weights import header, torchvision
from fire.weights.header import Header, Preprocessing, Shapes, tensor_shapes

Kind = Literal["safetensors", "fcn", "net", "torch"]
SUFFIXES: dict[str, Kind] = {
    ".safetensors": "safetensors",
    ".fcn": "fcn",
    ".net": "net",
    ".pth": "torch",
    ".pt": "torch",
    ".bin": "torch",
    ".ckpt": "torch",
    ".pth.tar": "torch",
}
KEY = "deployed"  # of the metadata of this program's safetensors files
# The types of numbers that are read, as safetensors and as torch name them.
FLOATS = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """What a file of weights says, and what follows from its tensors.

    spec: of the deployed network; None where nothing but tensors is there, and they are of no network that is known.
    shapes: under our names. names: the file's names of these tensors. types: of their numbers, as stored.
    says_arch: whether the file itself says which network it is of. names_classes: otherwise they are numbered.
    """

    path: Path
    kind: Kind
    spec: ArchSpec | None
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    shapes: Shapes
    names: Mapping[str, str]
    types: tuple[str, ...] = ("float32",)
    says_arch: bool = True
    names_classes: bool = True

    @property
    def channels(self) -> int:
        """Of the images that the network expects."""
        return len(self.preprocessing.mean)


def kind_of(path: Path) -> Kind:
    """What kind of file it is, by its suffix in capitals or not. Raises InputError for any other suffix."""
    name = path.name.lower()
    for suffix, kind in SUFFIXES.items():
        if name.endswith(suffix):
            return kind
    raise InputError(f"weights must be a file {', '.join(SUFFIXES)}, got {str(path)!r}")


def describe(path: Path) -> WeightsFile:
    """What the file says. Raises InputError if it is no file of weights, or not whole as far as that can be seen."""
    kind = kind_of(path)
    # The readers are imported where they are needed: planning starts faster without coders, and without torch.
    match kind:
        case "safetensors":
            with reading("weights", path, "a whole .safetensors file of weights"):
                return _of_safetensors(path)
        case "fcn":
            from fire.weights import fcn

            return _of_header(path, kind, fcn.load_header(path))
        case "net":
            from fire.weights import caffe

            return dataclasses.replace(_of_header(path, kind, caffe.read(path).header), names_classes=False)
        case "torch":
            from fire.weights.safetensors import read_state, types_of

            state = read_state(path)
            with reading("weights", path, "a SqueezeNet's weights"):
                return _of_state(path, kind, {name: tuple(held.shape) for name, held in state.items()}, types_of(state))
        case _:
            assert_never(kind)


def require_fit(about: WeightsFile, spec: ArchSpec, channels: int, inputs: str) -> None:
    """Raise InputError unless a network of the specification can start from these weights.

    Its last layer may differ in the number of classes. inputs: as in TrainSpec, "standard" or "mean".
    """
    expected = "mean" if all(scale == 1 for scale in about.preprocessing.scale) else "standard"
    require(inputs == expected, "train.inputs", f"{expected} for {about.path}", inputs)
    require(spec.norm != "batch", "arch.norm", f"none for {about.path}, where normalisation is folded", spec.norm)
    own = tensor_shapes(spec, channels)
    last = list(own)[-2:]
    held = {name: own[name] if name in last else shape for name, shape in about.shapes.items()}
    if wrong := difference(held, own):
        raise InputError(f"train.weights must be of the network that arch describes, got {str(about.path)!r}: {wrong}")


def remarks(about: WeightsFile, spec: ArchSpec) -> list[str]:
    """What a user should know about these weights in a network of the specification, whose tensors have their shapes.

    That they are converted, and where they were trained in a network that computes something else with them, or may be.
    """
    lines = []
    if about.spec is None:
        lines.append(f"{about.path} does not say of which network its tensors are; they have the shapes of this one's")
    if about.types != ("float32",):
        lines.append(f"{about.path} is stored as {' and '.join(about.types)}; all is computed in float32")
    theirs = dataclasses.replace(about.spec or spec, classes=spec.classes, dropout=spec.dropout)
    ours = header.folded(spec)
    if theirs.plan() != ours.plan():
        fields = [
            (field.name, getattr(theirs, field.name), getattr(ours, field.name)) for field in dataclasses.fields(ours)
        ]
        differing = ", ".join(
            f"arch.{name}={own} (trained with {their})" for name, their, own in fields if own != their
        )
        lines.append(f"{about.path} is used in another network with tensors of the same shapes: {differing}")
    return lines


def difference(held: Shapes, needed: Shapes) -> str:
    """The first tensor that is not as it must be; empty if there is none."""
    for name in [*needed, *held]:
        if held.get(name) != needed.get(name):
            rule = f"must be of shape {needed[name]}" if name in needed else "must not be there"
            return f"{name} {rule}, got {held.get(name, 'none')}"
    return ""


def _of_header(path: Path, kind: Kind, about: Header) -> WeightsFile:
    shapes = about.shapes
    return WeightsFile(
        path=path,
        kind=kind,
        spec=about.spec,
        preprocessing=about.preprocessing,
        class_names=about.class_names,
        shapes=shapes,
        names={name: name for name in shapes},
    )


def _of_safetensors(path: Path) -> WeightsFile:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
            held = {name: tuple(found.get_shape()) for name, found in slices.items()}
            types = {name: FLOATS.get(found.get_dtype(), found.get_dtype()) for name, found in slices.items()}
    except safetensors.SafetensorError as error:
        raise InputError(f"{str(error).splitlines()[0]:.200}") from error
    if KEY not in metadata:
        try:
            return _of_state(path, "safetensors", held, types)
        except InputError as error:
            raise InputError(f"{error} (nor is there {KEY!r} in its metadata, as in this program's files)") from error
    about = header.parse(metadata[KEY])
    if wrong := difference(held, about.shapes):
        raise InputError(wrong)
    return dataclasses.replace(_of_header(path, "safetensors", about), types=_required_types(types))


def _of_state(path: Path, kind: Kind, held: Shapes, types: Mapping[str, str]) -> WeightsFile:
    """Tensors without a word: torchvision's, by their names."""
    names = torchvision.our_names(held)
    shapes = {ours: held[theirs] for ours, theirs in names.items()}
    return WeightsFile(
        path=path,
        kind=kind,
        spec=torchvision.torchvisions_network(names, shapes),
        preprocessing=torchvision.PREPROCESSING,
        class_names=tuple(str(label) for label in range(torchvision.classes(shapes))),
        shapes=shapes,
        names=names,
        types=_required_types(types),
        says_arch=False,
        names_classes=False,
    )


def _required_types(types: Mapping[str, str]) -> tuple[str, ...]:
    """The types that occur. Raises InputError for one that is not read."""
    for name, found in types.items():
        if found not in FLOATS.values():
            raise InputError(f"{name} must be of type {', '.join(FLOATS.values())}, got {found}")
    return tuple(sorted(set(types.values())))
