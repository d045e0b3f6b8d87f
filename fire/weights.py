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

from fire import header
from fire.arch import FAMILIES, ArchSpec
from fire.errors import InputError
from fire.files import write
from fire.header import Preprocessing
from fire.model import Network, build

FORMAT = 1
KEY = "deployed"  # of the metadata
TORCHVISION_KEY = re.compile(r"(features|classifier)\.\d+\.((squeeze|expand1x1|expand3x3)\.)?(weight|bias)")


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
        "arch": {"family": family, **dataclasses.asdict(header.folded(deployed.spec))},
        "preprocessing": deployed.preprocessing.content,
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
        arch = dict(content["arch"])
        told = {"family": arch.pop("family"), "arch": arch, "class_names": content["class_names"]}
        about = header.checked(told | content["preprocessing"])
        needed = header.shapes(about)
        held = {name: tuple(tensor.shape) for name, tensor in state.items()}
        if held != needed:  # told before the network is built, whose specification may be absurd
            name = min(name for name in held.keys() | needed.keys() if held.get(name) != needed.get(name))
            raise ValueError(f"{name} must be of shape {needed.get(name)}, got {held.get(name)}")
        require_finite(state)
        network = build(about.spec, channels=len(about.preprocessing.mean))
        network.load_state_dict(state)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} must be a whole weights file of this program: {reason}") from error
    return Deployed(network=network.eval(), **about._asdict())


def require_finite(state: Mapping[str, Tensor]) -> None:
    """Raise InputError unless the tensors are of finite fp32 numbers, each of which is in memory."""
    for name, tensor in state.items():
        if tensor.dtype != torch.float32:
            raise InputError(f"{name} must be of type float32, got {str(tensor.dtype).removeprefix('torch.')}")
        if tensor.untyped_storage().nbytes() < tensor.nbytes:  # a view of few numbers as many
            raise InputError(f"{name} must be stored whole, got {tensor.untyped_storage().nbytes():,} bytes")
        if not tensor.isfinite().all():
            raise InputError(f"{name} must be finite")


def from_torchvision(state: Mapping[str, Tensor], ours: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """torchvision's squeezenet1_0 or squeezenet1_1 state dict under the names of our network's, layer by layer.

    Raises InputError if the layers do not correspond.
    """
    if len(ours) != len(state):
        raise InputError(f"the weights must be of {len(ours)} tensors for this network, got {len(state)}")
    renamed = {}
    for (theirs, tensor), (name, shape) in zip(state.items(), ours.items(), strict=True):
        match = TORCHVISION_KEY.fullmatch(theirs)
        if match is None or not name.endswith(f"{match[2] or ''}{match[4]}") or tensor.shape != shape:
            raise InputError(f"{name} must be a tensor of shape {shape}, got {theirs} of shape {tuple(tensor.shape)}")
        renamed[name] = tensor
    return renamed


def read_torchvision(path: Path) -> dict[str, Tensor]:
    """The state dict in a .pth file. Raises InputError if it is none, or not whole."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or not state or {type(name) for name in state} != {str}:
            raise TypeError("it is no state dict")
        if not all(isinstance(value, Tensor) for value in state.values()):
            raise TypeError("it is no state dict")
    except Exception as error:  # torch raises what its readers raise: pickle, zip, runtime, operating system errors
        raise InputError(f"{path} must be a file of torch weights: {type(error).__name__}") from error
    try:
        require_finite(state)
    except InputError as error:
        raise InputError(f"{path} must be a file of torch weights: {error}") from error
    return state
