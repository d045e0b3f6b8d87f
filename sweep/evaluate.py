"""python -m sweep.evaluate WEIGHTS [data=NAME] [data.root=FOLDER] [option=value]: accuracy of a file of weights.

WEIGHTS is a file of this program (.safetensors, or .fcn, which is compressed), the authors' compressed SqueezeNet
(.net), or torchvision's (.pth, with arch=squeezenet_v1_0 or arch=squeezenet_v1_1). NAME is fashion_mnist, unless said,
or another of conf/data; options are data_dir, device and threads. The images are the data set's test images, as these
weights expect them: the crop, mean and scale are the weights', and of image folders data.stored_size and data.resize
too, if the weights say them. An image folder needs only val/<class>/*. The images' classes are found among the weights'
by their names. Of .net and .pth, which name none, as many classes as they have are theirs, in order, and ImageNet's
synsets n01440764 to n15075141 are those of weights with 1,000. Where the images have some of the weights' classes,
accuracy is over these, and over all that the weights know.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from fire import data, machine, pretrained, train
from fire.augment import Batches
from fire.data import ImageSet
from fire.errors import InputError
from fire.recipe import DataSpec, TrainSpec
from fire.synsets import imagenet
from sweep.command import compose, first, guarded
from sweep.config import run_options
from sweep.run import prepare_process

OPTIONS = ("data_dir", "device", "threads")
NAMED = (".safetensors", ".fcn")  # this program's files, which name their classes


def main() -> None:
    """Run the command."""
    guarded("sweep.evaluate", lambda: _main(sys.argv[1:]))


def _main(arguments: list[str]) -> None:
    if not arguments or {"-h", "--help"} & set(arguments):
        print(__doc__)
        return
    weights, overrides = first(arguments, "the file of weights")
    parts = ["data", *(["arch"] if weights.suffix == ".pth" else [])]
    for line in evaluate(weights, compose(overrides, parts, OPTIONS)):
        print(line)


def evaluate(path: Path, cfg: DictConfig) -> list[str]:
    """What the command prints. Raises InputError if weights and images cannot be used, or not with each other."""
    options = run_options(cfg)
    device = prepare_process(options.device, options.threads or machine.cores())
    deployed = pretrained.read(path, _typed(cfg.arch))
    expects = deployed.preprocessing
    spec: DataSpec = _typed(cfg.data)
    if len(expects.mean) != spec.channels:
        raise InputError(f"data.channels must be {len(expects.mean)} for these weights, got {spec.channels}")
    if expects.stored_size and spec.name == "image_folder":
        spec = dataclasses.replace(
            spec, stored_size=expects.stored_size, image_size=expects.image_size, resize=expects.resize
        )
    if expects.image_size > spec.stored_size:
        raise InputError(
            f"data.stored_size must be at least {expects.image_size}, which these weights expect, "
            f"got {spec.stored_size}"
        )
    spec = dataclasses.replace(spec, image_size=expects.image_size)
    images = data.load_test(spec, Path(options.data_dir))
    columns = _columns(images.class_names, deployed.class_names, path.suffix in NAMED)
    # As these weights expect them: (image - mean) * scale.
    images = dataclasses.replace(images, mean=tuple(expects.mean), std=tuple(1 / scale for scale in expects.scale))
    network = deployed.network.to(device)

    def scores(part: ImageSet, chosen: nn.Module) -> str:
        found = train.evaluate(chosen, Batches(part, images, TrainSpec(), device), device)
        return f"top-1 {100 * found.top1:.2f} %, top-5 {100 * found.top5:.2f} %, loss {found.loss:.4f}"

    labelled = ImageSet(images.test.images, np.array(columns)[images.test.labels], images.test.rows)
    known = len(deployed.class_names)
    skipped = f" ({images.skipped:,} could not be read)" if images.skipped else ""
    left_out = f"; left out: {images.left_out}" if images.left_out else ""
    lines = [f"{len(images.test):,} images{skipped}{left_out}, {path.stat().st_size:,} bytes of weights"]
    if columns == list(range(known)):
        return [*lines, f"{known:,} classes: {scores(images.test, network)}"]
    some = _Columns(network, torch.tensor(columns, device=device))
    return [
        *lines,
        f"over the {len(columns):,} classes of the images: {scores(images.test, some)}",
        f"over all {known:,} classes of the weights: {scores(labelled, network)}",
    ]


class _Columns(nn.Module):
    """A network's logits of some of its classes. (N, C, H, W) -> (N, columns)"""

    def __init__(self, network: nn.Module, columns: Tensor) -> None:
        super().__init__()
        self.network, self.columns = network, columns

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        return logits[:, self.columns]


def _typed(node: DictConfig) -> Any:
    return OmegaConf.to_object(node)


def _columns(images: tuple[str, ...], weights: tuple[str, ...], named: bool) -> list[int]:
    """Which of the weights' classes each class of the images is: by name, or by place where weights name none.

    Raises InputError if the weights don't have one of the images' classes.
    """
    if not named and len(weights) == len(images):
        return list(range(len(weights)))
    if weights == tuple(str(label) for label in range(len(imagenet()))):
        weights = imagenet()  # files of the authors and of torchvision name none, nor do those made from them
    unknown = [name for name in images if name not in weights]
    if unknown:
        raise InputError(
            f"the images' classes must be among the weights' {len(weights):,}, {weights[0]!r} to {weights[-1]!r}: "
            f"got {unknown[0]!r}"
        )
    return [weights.index(name) for name in images]


if __name__ == "__main__":
    main()
