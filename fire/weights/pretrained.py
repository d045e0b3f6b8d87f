"""Trained weights from files of any kind: this program's two, torchvision's, and the authors' compressed SqueezeNet."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, assert_never

import torch
from torch import Tensor, nn

from fire.arch import ArchSpec
from fire.errors import InputError
from fire.files import reading
from fire.model import build
from fire.weights import caffe, fcn
from fire.weights.formats import WeightsFile, describe, difference, require_fit
from fire.weights.header import Header, folded, tensor_shapes
from fire.weights.quantised import to_float
from fire.weights.safetensors import Deployed, as_float32, read_safetensors, read_state


class Trained(NamedTuple):
    """What a file of weights says, and its tensors in float32 under our names."""

    file: WeightsFile
    tensors: dict[str, Tensor]


def load(path: Path) -> Trained:
    """Read a file, whose kind its suffix says: .safetensors, .fcn (compressed), .net (the authors'), .pth and the like.

    Raises InputError if it is no whole file of its kind.
    """
    about = describe(path)
    match about.kind:
        case "safetensors":
            held = read_safetensors(path)
        case "torch":
            held = read_state(path)
        case "fcn":
            held = {name: torch.from_numpy(to_float(found)) for name, found in fcn.load(path).tensors.items()}
        case "net":
            held = {name: torch.from_numpy(to_float(found)) for name, found in caffe.read(path).tensors.items()}
        case _:
            assert_never(about.kind)
    with reading("weights", path, "of finite numbers"):
        return Trained(about, as_float32({ours: held[theirs] for ours, theirs in about.names.items()}))


def read(path: Path, spec: ArchSpec | None = None) -> Deployed:
    """The network of a file, as `load` and `deploy` make it."""
    return deploy(load(path), spec)


def deploy(trained: Trained, spec: ArchSpec | None = None) -> Deployed:
    """The network of these weights in evaluation mode, on the CPU.

    spec: for state dicts, which say no more than tensors; the number of classes is theirs. None: the file's own, or
    torchvision's network whose names and shapes the tensors have. Raises InputError where nothing says it, where the
    tensors are of another network, or where the file says its own.
    """
    about, tensors = trained
    if about.says_arch and spec is not None:
        raise InputError(f"arch must be left out for {about.path}, which says its own")
    if spec is not None:
        spec = replace(folded(spec), classes=len(about.class_names))
    elif about.spec is not None:
        spec = about.spec
    else:
        raise InputError(
            f"arch must be given for {about.path}: it holds tensors alone, which are neither squeezenet_v1_0's nor "
            "squeezenet_v1_1's of torchvision"
        )
    if wrong := difference(about.shapes, tensor_shapes(spec, about.channels)):
        raise InputError(f"arch must be the network of {about.path}: {wrong}")
    network = build(spec, about.channels)
    network.load_state_dict(tensors)
    header = Header(spec=spec, preprocessing=about.preprocessing, class_names=about.class_names)
    return Deployed(network=network.eval(), header=header)


@torch.no_grad()
def start(network: nn.Sequential, trained: Trained, spec: ArchSpec, channels: int, inputs: str) -> None:
    """Give the network, which is of the specification, the trained weights to start from.

    Its last layer keeps its own weights if it has another number of classes. Raises InputError as `require_fit` does.
    """
    require_fit(trained.file, spec, channels, inputs)
    for name, own in network.state_dict().items():
        if own.shape == trained.tensors[name].shape:
            own.copy_(trained.tensors[name])
