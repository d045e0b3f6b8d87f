"""A network as integers and what they stand for: what training for compression hands to the file format, and back."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fire.errors import InputError
from fire.weights.header import Header, folded

if TYPE_CHECKING:
    from torch import nn

Integers = NDArray[np.int32]
Floats = NDArray[np.float32]
LARGEST = 2**31 - 1  # of the magnitude of an integer


@dataclass(frozen=True, kw_only=True, eq=False)
class Quantised:
    """A tensor as integers of its shape, and the values they stand for.

    values of shape () is the step of a uniform grid: tensor = integers * step. values of shape (K,) is a codebook:
    tensor = values[integers], and its entry 0 is 0.0. Raises InputError if integers or values break that.
    """

    integers: Integers
    values: Floats

    def __post_init__(self) -> None:
        _require_type("integers", self.integers, np.int32)
        _require_type("values", self.values, np.float32)
        if not np.isfinite(self.values).all():
            raise InputError(f"values must be finite, got {self.values[~np.isfinite(self.values)].item(0)}")
        low, high = (int(self.integers.min()), int(self.integers.max())) if self.integers.size else (0, 0)
        if self.values.ndim == 0:
            if self.values <= 0:
                raise InputError(f"the step must be greater than 0, got {self.values}")
            if low < -LARGEST:
                raise InputError(f"integers must be at least {-LARGEST}, got {low}")
            largest = max(-low, high)
            if float(np.float32(largest)) * float(self.values) > float(np.finfo(np.float32).max):
                raise InputError(f"the tensor must be finite, got the step {self.values:.6g} and the integer {largest}")
        elif self.values.ndim != 1:
            raise InputError(f"values must be a step or a codebook, of shape () or (K,), got {self.values.shape}")
        elif self.values.size == 0 or self.values[0].view(np.int32) != 0:
            raise InputError("entry 0 of a codebook must be 0.0")
        elif low < 0 or high >= self.values.size:
            raise InputError(f"integers must be in [0, {self.values.size}), got {low if low < 0 else high}")

    def to_float(self) -> Floats:
        """The float32 tensor, of the shape of the integers."""
        if self.values.ndim == 0:
            return self.integers.astype(np.float32) * self.values
        return self.values[self.integers]


@dataclass(frozen=True, kw_only=True, eq=False)
class Compressed:
    """A compressed network and what is needed to use it.

    tensors: under the names of the folded network's state dict and in its order, weights and biases alike; a plain
    float32 array is stored as it is.
    """

    header: Header
    tensors: dict[str, Quantised | Floats]

    def network(self) -> "nn.Sequential":
        """The network that the tensors make, in evaluation mode, on the CPU."""
        import torch  # here, so that files can be read and written without it

        from fire.model import build

        network = build(folded(self.header.spec), channels=self.header.channels)
        network.load_state_dict({name: torch.from_numpy(to_float(tensor)) for name, tensor in self.tensors.items()})
        return network.eval()


def to_float(tensor: Quantised | Floats) -> Floats:
    """The float32 tensor."""
    return tensor.to_float() if isinstance(tensor, Quantised) else tensor.copy()


def _require_type(name: str, array: NDArray[Any], dtype: type[np.generic]) -> None:
    if array.dtype != dtype:
        raise InputError(f"{name} must be of type {dtype.__name__}, got {array.dtype}")
