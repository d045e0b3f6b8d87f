"""Tensors in files: this program's safetensors files in and out, and state dicts as torch writes them in.

Our file holds the folded network in fp32 under the paper's layer names (fire2.squeeze.weight) and, as metadata, all
that is needed to use it: the specification, the channels, what is done to the input, the names of the classes.
"""

import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from fire.errors import InputError
from fire.files import reading, write
from fire.weights import header
from fire.weights.formats import KEY
from fire.weights.header import Header

# Under which keys a training script's checkpoint has the network's tensors.
WRAPPERS = ("state_dict", "model_state_dict", "model", "network", "net")


@dataclass(frozen=True, kw_only=True)
class Deployed:
    """A network in evaluation mode and what is needed to use it."""

    network: nn.Sequential
    header: Header


def save(path: Path, deployed: Deployed) -> None:
    """Write the file, whole or not at all. The network must be folded (fire.model.fold)."""
    metadata = {KEY: header.dump(deployed.header)}  # one entry: safetensors writes several in any order
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in deployed.network.state_dict().items()}
    write(path, safetensors.torch.save(tensors, metadata))


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of the file under its names."""
    with safetensors.safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors in a file that torch.save wrote: a state dict, or one within the dict of a checkpoint.

    Raises InputError if there is none, if the file is not whole, or if it holds pickled objects beside tensors, which
    are not read, since any code could run.
    """
    with reading("weights", path, "a whole file of torch.save with a state dict"):
        content = _loaded(path)
        for key in WRAPPERS:
            if isinstance(content, dict) and isinstance(content.get(key), dict):
                content = content[key]
                break
        if not isinstance(content, dict) or not content:
            raise InputError(f"it must hold a dict of tensors, got {type(content).__name__}")
        for name, value in content.items():
            if not isinstance(name, str) or not isinstance(value, Tensor):
                raise InputError(f"it must hold nothing but tensors by name, got {name!r:.100}: {type(value).__name__}")
            _require_stored_whole(name, value)
        return dict(content)


def types_of(state: Mapping[str, Tensor]) -> dict[str, str]:
    """The type of each tensor's numbers: float32."""
    return {name: str(tensor.dtype).removeprefix("torch.") for name, tensor in state.items()}


def as_float32(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in float32. Raises InputError if a number is not finite, or is beyond float32's range."""
    converted = {}
    for name, tensor in state.items():
        converted[name] = tensor.detach().to(torch.float32)
        if not converted[name].isfinite().all():
            worst = tensor[~converted[name].isfinite()].flatten()[0].item()
            raise InputError(f"{name} must be finite in float32, got {worst}")
    return converted


def _loaded(path: Path) -> object:
    try:
        _refuse_compressed(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is refused in a line below
            return torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # torch raises what its readers raise: pickle, zip, runtime, key, system errors
        if pickled := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise InputError(
                f"it holds a pickled {pickled[1]}, which is not read, since any code could run; "
                "save network.state_dict() alone"
            ) from error
        if "TorchScript" in str(error):
            raise InputError("it is a TorchScript archive; save network.state_dict()") from error
        raise InputError("it is cut off, damaged, or no such file at all") from error


def _refuse_compressed(path: Path) -> None:
    """torch stores tensors as they are, but would inflate others: a small file could fill the memory."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > path.stat().st_size:
            raise InputError(f"it must be stored without compression, got {size:,} bytes packed")


def _require_stored_whole(name: str, tensor: Tensor) -> None:
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        kind = "quantised" if tensor.is_quantized else str(tensor.layout).removeprefix("torch.")
        raise InputError(f"{name} must be a dense tensor, got one that is {kind} on {tensor.device}")
    if tensor.untyped_storage().nbytes() < tensor.nbytes:  # a view of few numbers as many
        raise InputError(f"{name} must be stored whole, got {tensor.untyped_storage().nbytes():,} bytes")
