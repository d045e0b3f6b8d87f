"""A quantised tensor: whole numbers, and what they stand for."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Levels:
    """A quantised tensor.

    integers: int32, of the tensor's shape. values: float32, of shape () the step of a uniform grid, which makes the
    tensor integers * step, or of shape (K,) a codebook, which makes it values[integers]; its entry 0 is 0.0.
    """

    integers: NDArray[np.int32]
    values: NDArray[np.float32]

    def tensor(self) -> NDArray[np.float32]:
        """The tensor that the levels stand for."""
        if self.values.ndim == 0:
            return self.integers.astype(np.float32) * self.values
        return self.values[self.integers]
