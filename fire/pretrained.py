"""Trained weights from files of any kind: this program's two, torchvision's, and the authors' compressed SqueezeNet."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from fire.arch import ArchSpec
from fire.compress import container, released
from fire.compress.levels import Compressed
from fire.errors import InputError
from fire.header import Preprocessing, tensor_shapes
from fire.model import Network, build
from fire.weights import Deployed, from_torchvision, load, read_torchvision

# What torchvision's networks expect: pixels in [0, 1], minus the mean, over the standard deviation.
TORCHVISION = Preprocessing(
    image_size=224,
    stored_size=256,
    mean=[255 * mean for mean in (0.485, 0.456, 0.406)],
    scale=[1 / (255 * std) for std in (0.229, 0.224, 0.225)],
)


def read(path: Path, spec: ArchSpec) -> Deployed:
    """The network of a file, whose kind its suffix says: .safetensors, .fcn (compressed), .net (the authors'), .pth.

    spec: of the network for .pth, torchvision's state dicts, which don't say; the other files know their own.
    Raises InputError if it is no whole file of its kind.
    """
    match path.suffix:
        case ".safetensors":
            return load(path)
        case ".fcn":
            return _deployed(container.load(path))
        case ".net":
            return _deployed(released.read(path))
        case ".pth":
            state = read_torchvision(path)
            classes = next(reversed(state.values())).numel()  # of the last layer's bias
            spec = replace(spec, norm="none", classes=classes)
            channels = len(TORCHVISION.mean)
            renamed = from_torchvision(state, tensor_shapes(spec, channels))  # before anything is built
            network = build(spec, channels)
            network.load_state_dict(renamed)
            names = tuple(str(label) for label in range(spec.classes))
            return Deployed(network=network.eval(), spec=spec, preprocessing=TORCHVISION, class_names=names)
    raise InputError(f"weights must be a file .safetensors, .fcn, .net or .pth, got {str(path)!r}")


@torch.no_grad()
def start(network: Network, deployed: Deployed, inputs: str) -> None:
    """Give the network the trained weights to start from; its last layer only if it has as many classes.

    inputs: as in TrainSpec, "standard" or "mean". Raises InputError if the weights expect the other, or if the other
    layers differ in name or shape.
    """
    expected = "mean" if all(scale == 1 for scale in deployed.preprocessing.scale) else "standard"
    if inputs != expected:
        raise InputError(f"train.inputs must be {expected} for these weights, got {inputs}")
    trained = deployed.network.state_dict()
    own = network.state_dict()
    layers = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    last = {f"{layers[-1]}.weight", f"{layers[-1]}.bias"}
    for name in own.keys() | trained.keys():
        shapes = [tuple(state[name].shape) if name in state else None for state in (own, trained)]
        if shapes[0] == shapes[1]:
            own[name].copy_(trained[name])
        elif name not in last or None in shapes:
            raise InputError(
                f"train.weights must be of the network that arch describes (without batch normalisation, which is "
                f"folded in files): {name} must be of shape {shapes[0]}, got {shapes[1]}"
            )


def _deployed(compressed: Compressed) -> Deployed:
    return Deployed(
        network=compressed.network(),
        spec=compressed.spec,
        preprocessing=compressed.preprocessing,
        class_names=compressed.class_names,
    )
