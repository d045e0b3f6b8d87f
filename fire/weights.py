"""Weights of deployed networks in and out: our safetensors files, and torchvision's SqueezeNet state dicts.

Our file holds the folded network in fp32 under the paper's layer names (fire2.squeeze.weight) and, as metadata, all
that is needed to use it: the specification, the channels, what is done to the input, the names of the classes.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from fire.arch import FAMILIES, ArchSpec
from fire.cost import count
from fire.errors import InputError
from fire.files import write
from fire.model import Network, build

FORMAT = 1
KEY = "deployed"  # of the metadata
TORCHVISION_KEY = re.compile(r"(features|classifier)\.\d+\.((squeeze|expand1x1|expand3x3)\.)?(weight|bias)")


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What the network expects: central square of image_size, then (image - mean) * scale a channel, from 0..255."""

    image_size: int
    mean: list[float]
    scale: list[float]


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A network in evaluation mode and what is needed to use it."""

    network: Network
    spec: ArchSpec
    preprocessing: Preprocessing
    class_names: tuple[str, ...]


def save(path: Path, deployed: Deployed) -> None:
    """Write the file, whole or not at all. The network must be folded (fire.model.fold)."""
    family = next(name for name, cls in FAMILIES.items() if isinstance(deployed.spec, cls))
    content = {
        "format": FORMAT,
        "arch": {"family": family, **dataclasses.asdict(deployed.spec), "norm": _folded_norm(deployed.spec)},
        "preprocessing": dataclasses.asdict(deployed.preprocessing),
        "class_names": deployed.class_names,
    }
    metadata = {KEY: json.dumps(content)}  # one entry: safetensors writes several in any order
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in deployed.network.state_dict().items()}
    write(path, safetensors.torch.save(tensors, metadata))


def load(path: Path) -> Deployed:
    """Read a file that `save` wrote. Raises InputError if it is not one, or not whole."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            content: dict[str, Any] = json.loads((file.metadata() or {})[KEY])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r} is not {FORMAT!r}")
        fields: dict[str, Any] = content["arch"]
        spec = FAMILIES[fields.pop("family")](**fields)
        preprocessing = Preprocessing(**content["preprocessing"])
        needed = count(spec, preprocessing.image_size, len(preprocessing.mean)).parameters
        held = sum(tensor.numel() for tensor in state.values())
        if held != needed:  # told before the network is built, whose specification may be absurd
            raise ValueError(f"the specification has {needed:,} parameters, the tensors {held:,}")
        network = build(spec, channels=len(preprocessing.mean))
        network.load_state_dict(state)
        class_names = tuple(content["class_names"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} must be a whole weights file of this program: {reason}") from error
    return Deployed(network=network.eval(), spec=spec, preprocessing=preprocessing, class_names=class_names)


def from_torchvision(state: Mapping[str, Tensor], network: Network) -> dict[str, Tensor]:
    """torchvision's squeezenet1_0 or squeezenet1_1 state dict under the names of this network, layer by layer.

    Raises InputError if the layers do not correspond.
    """
    ours = network.state_dict()
    if len(ours) != len(state):
        raise InputError(f"the weights must be of {len(ours)} tensors for this network, got {len(state)}")
    renamed = {}
    for (theirs, tensor), (name, own) in zip(state.items(), ours.items(), strict=True):
        match = TORCHVISION_KEY.fullmatch(theirs)
        if match is None or not name.endswith(f"{match[2] or ''}{match[4]}") or tensor.shape != own.shape:
            raise InputError(
                f"{name} must be a tensor of shape {tuple(own.shape)}, got {theirs} of shape {tuple(tensor.shape)}"
            )
        renamed[name] = tensor
    return renamed


def load_torchvision(path: Path, network: Network) -> None:
    """Load a .pth file with torchvision's SqueezeNet weights into the network. Raises InputError if they don't fit."""
    network.load_state_dict(from_torchvision(read_torchvision(path), network))


def read_torchvision(path: Path) -> dict[str, Tensor]:
    """The state dict in a .pth file. Raises InputError if it is none, or not whole."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()) or not state:
            raise TypeError("it is no state dict")
    except Exception as error:  # torch raises what its readers raise: pickle, zip, runtime, operating system errors
        raise InputError(f"{path} must be a file of torch weights: {type(error).__name__}") from error
    return state


def _folded_norm(spec: ArchSpec) -> str:
    return "none" if spec.norm == "batch" else spec.norm
