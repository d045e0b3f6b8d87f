"""CIFAR-10 (Krizhevsky 2009): 50,000 + 10,000 colour images, 32x32."""

from pathlib import Path

from fire.data.downloads import Part, from_torchvision
from fire.data.sources import Decoded
from fire.data.spec import DataSpec


def read(spec: DataSpec, data_dir: Path, out: Path) -> Decoded:
    """Read torchvision's CIFAR10."""
    from torchvision.datasets import CIFAR10

    return read_cifar(CIFAR10, spec, data_dir)


def read_cifar(reader: type, spec: DataSpec, data_dir: Path) -> Decoded:
    """Read CIFAR10 or CIFAR100 of torchvision."""

    def load(root: str, part: str, download: bool) -> Part:
        stored = reader(root, train=part == "train", download=download)
        return stored.data.transpose(0, 3, 1, 2), stored.targets, tuple(stored.classes)

    return from_torchvision(spec, data_dir, load, "its unpacked python version")
