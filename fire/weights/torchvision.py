"""Tensors under torchvision's names: which layer of ours each belongs to, and which of its networks they are. No torch.

torchvision numbers the layers of its SqueezeNets with the activations and pools between them: features.0 is conv1,
features.3 fire2, classifier.1 conv10. Wrappers (DataParallel, torch.compile) put a prefix before each name.
"""

import re
from collections.abc import Iterable

from fire.arch import SqueezeNetSpec
from fire.errors import InputError
from fire.weights.header import Preprocessing, Shapes, tensor_shapes

# What torchvision's networks expect: pixels in [0, 1], minus the mean, over the standard deviation.
PREPROCESSING = Preprocessing(
    image_size=224,
    stored_size=256,
    mean=[255 * mean for mean in (0.485, 0.456, 0.406)],
    scale=[1 / (255 * std) for std in (0.229, 0.224, 0.225)],
)
# The numbers of conv1 and of the Fire modules in squeezenet1_0 and squeezenet1_1.
FEATURES = {"1.0": (0, 3, 4, 5, 7, 8, 9, 10, 12), "1.1": (0, 3, 4, 6, 7, 9, 10, 11, 12)}
BRANCHES = ("squeeze", "expand1x1", "expand3x3")
NAME = re.compile(
    r"(?P<prefix>(\w+\.)*?)"
    rf"(features\.(?P<number>\d{{1,4}})(\.(?P<branch>{'|'.join(BRANCHES)}))?|classifier\.\d{{1,4}})"
    r"\.(?P<kind>weight|bias)"
)


def our_names(names: Iterable[str]) -> dict[str, str]:
    """The file's name of each tensor by ours, in our order: fire2.squeeze.bias -> features.3.squeeze.bias.

    The file's order does not matter: layers are counted by their numbers. Raises InputError if the names are not a
    SqueezeNet's.
    """
    parts = {}
    for name in names:
        match = NAME.fullmatch(name)
        if match is None:
            raise InputError(f"it must hold the tensors of a SqueezeNet in torchvision's names, got {name!r:.100}")
        parts[name] = match
    prefixes = sorted({match["prefix"] for match in parts.values()})
    if len(prefixes) > 1:
        raise InputError(f"it must hold the tensors of one network, got the prefixes {', '.join(map(repr, prefixes))}")
    numbers = sorted({int(match["number"]) for match in parts.values() if match["number"]})
    found = []
    for name, match in parts.items():
        place = numbers.index(int(match["number"])) if match["number"] else len(numbers)
        is_fire = 0 < place < len(numbers)
        if is_fire != bool(match["branch"]):
            raise InputError(f"it must hold conv1, Fire modules and conv10 in torchvision's names, got {name!r:.100}")
        layer = f"fire{place + 1}.{match['branch']}" if is_fire else f"conv{place + 1}"
        branch = BRANCHES.index(match["branch"]) if is_fire else 0
        found.append((place, branch, match["kind"] == "bias", f"{layer}.{match['kind']}", name))
    ours = {our: theirs for *_, our, theirs in sorted(found)}
    if len(ours) < len(found):
        raise InputError(f"it must hold each of the {len(ours)} tensors of a SqueezeNet once, got {len(found)}")
    return ours


def torchvisions_network(names: dict[str, str], shapes: Shapes) -> SqueezeNetSpec | None:
    """torchvision's squeezenet1_0 or squeezenet1_1 if these are their names and shapes.

    names: as `our_names` has them. shapes: under our names, in that order. conv1 tells the two networks apart: 96
    filters of 7x7, or 64 of 3x3.
    """
    numbered = [re.findall(r"features\.(\d+)", theirs) for theirs in names.values()]
    numbers = tuple(sorted({int(found[-1]) for found in numbered if found}))
    for version, features in FEATURES.items():
        spec = SqueezeNetSpec(version=version, classes=classes(shapes))
        if numbers == features and shapes == tensor_shapes(spec, len(PREPROCESSING.mean)):
            return spec
    return None


def classes(shapes: Shapes) -> int:
    """The outputs of the last layer, whose bias comes last. Raises InputError if they are not 2 or more."""
    shape = list(shapes.values())[-1] if shapes else ()
    if len(shape) != 1 or shape[0] < 2:
        raise InputError(f"it must hold the biases of a last layer of 2 classes or more, got the shape {shape}")
    return shape[0]
