"""The state of an unfinished run on disk, whole or absent.

The file is MAGIC, the SHA-256 of the rest, and what torch.save makes of the state.
"""

import dataclasses
import hashlib
import io
import math
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from fire import files
from fire.machine import native
from fire.train.progress import Epoch

FORMAT = 2
MAGIC = b"checkpoint of a run\n"
MOST_THREADS = 1024  # of a run: with a billion, OpenMP ends the process
SET_ANEW = ("params", "lr")  # of an optimizer's group: set by the schedule


class CheckpointError(Exception):
    """A run cannot resume from its checkpoint and has to start anew; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A run after some whole epochs: its curve, the state dicts of what changes, and what `auto` chose.

    average: the averaged weights. stages: the network at the end of each stage before the present one.
    """

    network: dict[str, Any]
    optimizers: list[dict[str, Any]]
    average: dict[str, Any] | None
    curve: tuple[Epoch, ...]
    precision: str
    kernels: str
    threads: int
    stages: tuple[dict[str, Any], ...] = ()

    def restore(
        self, network: nn.Module, optimizers: Sequence[Optimizer], average: nn.Module | None, stage: int = 0
    ) -> None:
        """Put the states back as they were in a stage; of a stage before the last one, the network at its end.

        Raises CheckpointError if they do not fit; then some may have been put back.
        """
        if stage < len(self.stages):
            _restore_module(network, self.stages[stage])
            return
        if len(optimizers) != len(self.optimizers) or (average is None) != (self.average is None):
            raise CheckpointError("the checkpoint is of another recipe")
        _restore_module(network, self.network)
        if average is not None and self.average is not None:
            _restore_module(average, self.average)
        for optimizer, state in zip(optimizers, self.optimizers, strict=True):
            _restore_optimizer(optimizer, state)


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint; a process killed meanwhile leaves the former one."""
    curve = [dataclasses.asdict(row) for row in checkpoint.curve]
    buffer = io.BytesIO()  # torch would turn a full disk's OSError into an error of its own
    torch.save({"format": FORMAT, **vars(checkpoint), "curve": curve}, buffer)
    content = buffer.getbuffer()
    with files.replacing(path) as file:
        file.write(MAGIC + hashlib.sha256(content).digest())
        file.write(content)


def read(path: Path, epochs: int) -> Checkpoint | None:
    """The checkpoint of a run of `epochs` epochs; None if there is none.

    Raises CheckpointError if it cannot be read, or if this version cannot resume from it.
    """
    try:
        content = files.read(path, most=sys.maxsize)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointError(f"the checkpoint cannot be read ({error.strerror})") from error
    # torch warns of a pickle that is not as it writes them, which the error says.
    with _refusing("the checkpoint is damaged, or of another version"), warnings.catch_warnings(action="ignore"):
        state = torch.load(io.BytesIO(_verified(content)), map_location="cpu", weights_only=True)
        if state.pop("format") != FORMAT:
            raise CheckpointError("the checkpoint is of another version")
        saved = Checkpoint(**{**state, "curve": tuple(Epoch(**row) for row in state["curve"])})
        _check_curve(saved.curve, epochs)
        if saved.precision not in ("fp32", "bf16") or saved.kernels not in ("compiled", "torch"):
            raise CheckpointError(f"the checkpoint has unknown arithmetic, {saved.precision!r} and {saved.kernels!r}")
        if not 1 <= saved.threads <= MOST_THREADS:
            raise CheckpointError(f"the checkpoint's threads must be in [1, {MOST_THREADS}], got {saved.threads!r}")
    if saved.kernels == "compiled" and not native.available():
        raise CheckpointError("the checkpoint was made with compiled kernels, and there is no compiler here")
    return saved


def _verified(content: bytes) -> bytes:
    """What torch.save wrote. Raises CheckpointError if it is not as it was written."""
    if not content.startswith(MAGIC):
        raise CheckpointError("the checkpoint is damaged, or of another version")
    start = len(MAGIC) + hashlib.sha256().digest_size
    if hashlib.sha256(content[start:]).digest() != content[len(MAGIC) : start]:
        raise CheckpointError("the checkpoint is damaged")
    return content[start:]


def _restore_module(module: nn.Module, state: Mapping[str, Any]) -> None:
    """Put the module's tensors back. Raises CheckpointError unless the state has the same ones, all finite."""
    with _refusing("the checkpoint is of another network"):
        own = module.state_dict()
        if list(state) != list(own):
            raise CheckpointError("the checkpoint is of another network")
        for name, tensor in own.items():
            _check_tensor(state[name], tensor.shape)
            if state[name].dtype != tensor.dtype:
                raise CheckpointError("the checkpoint is of another network")
        module.load_state_dict(state)


def _restore_optimizer(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Put the optimizer's state back. Raises CheckpointError unless it is of these parameters and settings."""
    with _refusing("the checkpoint is of another optimizer"):
        parameters = []
        for group, saved in zip(optimizer.param_groups, state["param_groups"], strict=True):
            for name, value in saved.items():
                if name not in SET_ANEW and (name not in group or group[name] != value):
                    raise CheckpointError(f"the checkpoint is of an optimizer with another {name}")
            if not isinstance(optimizer, torch.optim.SGD) or group["momentum"] != 0:  # else it keeps nothing
                parameters += list(zip(saved["params"], group["params"], strict=True))
        kept = {number: state["state"][number] for number, _ in parameters}
        names = {tuple(sorted(tensors)) for tensors in kept.values()}
        if kept.keys() != state["state"].keys() or len(names) > 1 or () in names:
            raise CheckpointError("the checkpoint lacks what the optimizer knows of a parameter")
        for number, parameter in parameters:
            for tensor in kept[number].values():
                _check_tensor(tensor, parameter.shape if tensor.ndim else tensor.shape)
        optimizer.load_state_dict(dict(state))


def _check_tensor(tensor: Tensor, shape: torch.Size) -> None:
    if tensor.shape != shape:
        raise CheckpointError("the checkpoint has a tensor of another shape")
    if not bool(tensor.isfinite().all()):
        raise CheckpointError("the checkpoint has a tensor that is not finite")


def _check_curve(curve: Sequence[Epoch], epochs: int) -> None:
    values = [value for row in curve for value in dataclasses.astuple(row)]
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in values):
        raise CheckpointError("the checkpoint has a curve that is not finite")
    if [row.epoch for row in curve] != list(range(1, len(curve) + 1)) or not 1 <= len(curve) <= epochs:
        raise CheckpointError(f"the checkpoint has a curve that is not of epochs 1 to {epochs} at most")


@contextmanager
def _refusing(message: str) -> Iterator[None]:
    """Turn whatever is raised, but for want of memory, into a CheckpointError: torch raises what its readers raise."""
    try:
        yield
    except (CheckpointError, MemoryError):
        raise
    except Exception as error:
        raise CheckpointError(message) from error
