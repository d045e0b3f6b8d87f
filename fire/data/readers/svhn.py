"""SVHN (Netzer et al. 2011), cropped house numbers: 73,257 + 26,032 colour images, 32x32; 531,131 more are not used."""

from pathlib import Path

from fire.data.downloads import Part, from_torchvision
from fire.data.sources import Decoded
from fire.data.spec import DataSpec


def read(spec: DataSpec, data_dir: Path, out: Path) -> Decoded:
    """Read torchvision's SVHN, in which class i is the digit i."""
    from torchvision.datasets import SVHN

    def load(root: str, part: str, download: bool) -> Part:
        stored = SVHN(root, split=part, download=download)
        return stored.data, stored.labels, tuple("0123456789")

    return from_torchvision(spec, data_dir, load, "train_32x32.mat and test_32x32.mat")
