"""CIFAR-100 (Krizhevsky 2009): 50,000 + 10,000 colour images, 32x32."""

from pathlib import Path

from fire.data.readers.cifar10 import read_cifar
from fire.data.sources import Decoded
from fire.data.spec import DataSpec


def read(spec: DataSpec, data_dir: Path, out: Path) -> Decoded:
    """Read torchvision's CIFAR100."""
    from torchvision.datasets import CIFAR100

    return read_cifar(CIFAR100, spec, data_dir)
