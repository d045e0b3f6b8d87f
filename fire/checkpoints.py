"""The state of an unfinished run on disk, whole or absent."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from fire.files import replacing

FORMAT = 2


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A run after some whole epochs: a row of curve for each, the states of what changes, and what `auto` chose.

    stages: the network at the end of each stage before the present one, where training has several.
    """

    network: dict[str, Any]
    optimizers: list[dict[str, Any]]
    average: dict[str, Any] | None
    curve: tuple[dict[str, Any], ...]
    precision: str
    kernels: str
    threads: int
    stages: tuple[dict[str, Any], ...] = ()

    def restore(self, network: nn.Module, optimizers: Sequence[Optimizer], average: nn.Module | None) -> None:
        """Put the states back."""
        network.load_state_dict(self.network)
        for optimizer, state in zip(optimizers, self.optimizers, strict=True):
            optimizer.load_state_dict(state)
        if average is not None and self.average is not None:
            average.load_state_dict(self.average)


def write(
    path: Path,
    network: nn.Module,
    optimizers: Sequence[Optimizer],
    average: nn.Module | None,
    curve: tuple[dict[str, Any], ...],
    precision: str,
    kernels: str,
    stages: Sequence[dict[str, Any]] = (),
) -> None:
    """Write the checkpoint; a process killed meanwhile leaves the former one."""
    state = {
        "format": FORMAT,
        "network": network.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "average": None if average is None else average.state_dict(),
        "curve": list(curve),
        "precision": precision,
        "kernels": kernels,
        "threads": torch.get_num_threads(),
        "stages": tuple(stages),
    }
    with replacing(path) as file:
        torch.save(state, file)


def read(path: Path) -> Checkpoint | None:
    """The checkpoint, or None if there is none or it is of another format or damaged: then the run starts anew."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state.pop("format") != FORMAT:
            return None
        return Checkpoint(**{**state, "curve": tuple(state["curve"])})
    except Exception:  # torch raises what its readers raise: also UnicodeDecodeError, or IndexError
        return None
