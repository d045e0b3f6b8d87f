"""python -m sweep.evaluate WEIGHTS [data=NAME] [data.root=FOLDER] [key=value ...]: accuracy of a file of weights.

WEIGHTS is a file of this program (.safetensors, or .fcn, which is compressed), the authors' compressed SqueezeNet
(.net), or tensors in torchvision's names, as torch.save (.pth, .pt, .bin, .ckpt, .pth.tar) or safetensors write them.
Those are taken for torchvision's squeezenet1_0 or squeezenet1_1, whichever they fit; arch=NAME and arch.KEY=VALUE say
otherwise.

NAME is fashion_mnist, unless said, or another of conf/data; options are data_dir, device and threads. The images are
the data set's test images, as these weights expect them: crop, mean and scale are the weights', and of image folders
data.stored_size and data.resize too, if the file says them. These three and data.image_size go before the file's where
they are typed. An image folder needs only val/<class>/*. The images' classes are found among the weights' by their
names. Of .net and of torchvision's, which name none, as many classes as they have are theirs, in order, and ImageNet's
synsets n01440764 to n15075141 are those of weights with 1,000. Where the images have some of the weights' classes,
accuracy is over these, and over all that the weights know.
"""

import dataclasses
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from fire.arch import ArchSpec, SqueezeNetSpec
from fire.cost import count
from fire.data import dataset
from fire.data.batches import Batches
from fire.data.dataset import DataSet, ImageSet
from fire.data.spec import DataSpec
from fire.data.synsets import imagenet
from fire.errors import InputError, SpecError, require
from fire.fields import read
from fire.machine import hardware
from fire.machine.process import prepare_process
from fire.train.evaluation import evaluate as scores_of
from fire.train.spec import TrainSpec
from fire.weights import formats, pretrained
from fire.weights.formats import WeightsFile
from fire.weights.header import Preprocessing
from fire.weights.safetensors import Deployed
from sweep.commands import command
from sweep.compose import options_of
from sweep.overrides import as_typed

PARTS = ("data", "arch")
OPTIONS = ("data_dir", "device", "threads")
PRESETS = {"1.0": "squeezenet_v1_0", "1.1": "squeezenet_v1_1"}  # of conf/arch, by SqueezeNetSpec.version
OF_TRAINING = ("data.mirror", "data.validation", "data.fingerprint")  # which nothing reads here


def main() -> None:
    """Run the command."""
    command.main("sweep.evaluate", _main, __doc__)


def _main(arguments: list[str]) -> None:
    weights, overrides = command.first(arguments, "the file of weights")
    for line in evaluate(weights, overrides):
        print(line)


@dataclass(frozen=True, kw_only=True)
class Task:
    """Weights of a file, and images for them. columns: which of the weights' classes each class of the images is."""

    path: Path
    about: WeightsFile
    deployed: Deployed
    images: DataSet
    columns: list[int]
    device: torch.device
    remarks: tuple[str, ...]

    @property
    def known(self) -> int:
        """The number of the weights' classes."""
        return len(self.deployed.header.class_names)

    def labelled(self, part: ImageSet) -> ImageSet:
        """The images of a part under the weights' classes."""
        return ImageSet(part.images, np.array(self.columns)[part.labels], part.rows)


def prepare(path: Path, overrides: Sequence[str], load: Callable[[DataSpec, Path], DataSet]) -> Task:
    """The weights and the images of a command line. load: reads the data set, all of it or its test images.

    Raises InputError if weights and images cannot be used, or not with each other.
    """
    overrides = [as_typed(override) for override in overrides]
    cfg = command.compose(overrides, PARTS, OPTIONS)
    typed = {override.partition("=")[0] for override in overrides}
    for key in OF_TRAINING:
        require(key not in typed, key, "left out, as only training reads it", cfg.data[key.partition(".")[2]])
    options = options_of(cfg)
    device = prepare_process(options.device, options.threads or hardware.cores())
    trained = pretrained.load(path)
    about = trained.file
    deployed = pretrained.deploy(trained, _arch(about, cfg, overrides, typed))
    expects = deployed.header.preprocessing
    spec = _data(cfg, typed, expects)
    try:
        count(deployed.header.spec, spec.image_size, spec.channels)
    except SpecError as error:
        raise InputError(f"data.{error}") from error
    images = load(spec, Path(options.data_dir))
    if "data.classes" in typed:
        require(spec.classes == len(images.class_names), "data.classes", f"{len(images.class_names)}", spec.classes)
    # As these weights expect them: (image - mean) * scale.
    images = dataclasses.replace(images, mean=tuple(expects.mean), std=tuple(1 / scale for scale in expects.scale))
    return Task(
        path=path,
        about=about,
        deployed=deployed,
        images=images,
        columns=_columns(images.class_names, deployed.header.class_names, about.names_classes),
        device=device,
        remarks=tuple(_remarks(about, deployed.header.spec, spec, expects, typed)),
    )


def evaluate(path: Path, overrides: Sequence[str]) -> list[str]:
    """What the command prints. Raises InputError as `prepare` does."""
    task = prepare(path, overrides, dataset.load_test)
    images, columns, device = task.images, task.columns, task.device
    network = task.deployed.network.to(device)

    def scores(part: ImageSet, chosen: nn.Module) -> str:
        found = scores_of(chosen, Batches(part, images, TrainSpec(), device), device)
        return f"top-1 {100 * found.top1:.2f} %, top-5 {100 * found.top5:.2f} %, loss {found.loss:.4f}"

    skipped = f" ({images.skipped:,} could not be read)" if images.skipped else ""
    left_out = f"; left out: {images.left_out}" if images.left_out else ""
    lines = [f"{len(images.test):,} images{skipped}{left_out}, {path.stat().st_size:,} bytes of weights"]
    lines += task.remarks
    if columns == list(range(task.known)):
        return [*lines, f"{task.known:,} classes: {scores(images.test, network)}"]
    some = _Columns(network, torch.tensor(columns, device=device))
    return [
        *lines,
        f"over the {len(columns):,} classes of the images: {scores(images.test, some)}",
        f"over all {task.known:,} classes of the weights: {scores(task.labelled(images.test), network)}",
    ]


def _arch(about: WeightsFile, cfg: DictConfig, overrides: Sequence[str], typed: Collection[str]) -> ArchSpec | None:
    """The network that the command line asks for; None if it leaves that to the file."""
    if not any(key.partition(".")[0] == "arch" for key in typed):
        return None
    if "arch" not in typed and not about.says_arch:
        if about.spec is None:
            raise InputError(f"arch must be given for {about.path}, got no more than fields of it")
        assert isinstance(about.spec, SqueezeNetSpec)  # torchvision's
        cfg = command.compose([f"arch={PRESETS[about.spec.version]}", *overrides], PARTS, OPTIONS)
    spec: ArchSpec = OmegaConf.to_object(cfg.arch)  # type: ignore[assignment] # of the schema's class
    if "arch.classes" in typed:
        known = len(about.class_names)
        require(spec.classes == known, "arch.classes", f"{known} for {about.path}", spec.classes)
    return spec


def _data(cfg: DictConfig, typed: Collection[str], expects: Preprocessing) -> DataSpec:
    """The data set with images as the weights expect them, but for what is typed."""
    node = cfg.data.copy()
    channels = len(expects.mean)
    require(node.channels == channels, "data.channels", f"{channels} for these weights", node.channels)
    if "data.image_size" not in typed:
        node.image_size = expects.image_size
    if expects.stored_size and node.name == "image_folder":
        for name in ("stored_size", "resize"):
            if f"data.{name}" not in typed:
                node[name] = getattr(expects, name)
    if node.image_size > node.stored_size:
        who = "" if "data.image_size" in typed else ", which these weights expect"
        raise InputError(f"data.stored_size must be at least {node.image_size}{who}, got {node.stored_size}")
    spec: DataSpec = OmegaConf.to_object(node)  # type: ignore[assignment] # of the schema's class
    if "data.resize" in typed:
        require("resize" in read(spec), "data.resize", "left out where the images are no folder's", spec.resize)
    return spec


def _remarks(
    about: WeightsFile, arch: ArchSpec, spec: DataSpec, expects: Preprocessing, typed: Collection[str]
) -> list[str]:
    """What the figures depend on beside the file and the data set."""
    lines = formats.remarks(about, arch)
    says_nothing = not about.says_arch and not any(key.partition(".")[0] == "arch" for key in typed)
    if says_nothing and isinstance(arch, SqueezeNetSpec):
        lines.append(f"the tensors are those of torchvision's squeezenet{arch.version.replace('.', '_')}")
    for name in ("image_size", *(("stored_size", "resize") if expects.stored_size else ())):
        used, expected = getattr(spec, name), getattr(expects, name)
        if f"data.{name}" in typed and used != expected:
            lines.append(f"data.{name}={used}, where the weights expect {expected}")
    return lines


class _Columns(nn.Module):
    """A network's logits of some of its classes. (N, C, H, W) -> (N, columns)"""

    def __init__(self, network: nn.Module, columns: Tensor) -> None:
        super().__init__()
        self.network, self.columns = network, columns

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        return logits[:, self.columns]


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
