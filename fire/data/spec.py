"""Which images a network is trained on, and how it sees them. Standard library only."""

import pkgutil
from dataclasses import dataclass

from fire.data import readers
from fire.errors import require
from fire.fields import check, one_of, setting, whole

DATA_SETS = tuple(sorted(module.name for module in pkgutil.iter_modules(readers.__path__)))
RESIZES = ("crop", "squash")
LARGEST_IMAGE = 2**14  # pixels a side


def _is_folder(spec: "DataSpec") -> bool:
    return spec.name == "image_folder"


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """A data set of square images, and how the images are stored and seen. Sizes are pixels a side.

    The training, validation and test sets are disjoint. Validation is a fixed random part of the data set's training
    images; choices are made on it. A value outside its range raises SpecError.

    resize: how a picture of an image folder becomes a square. "crop": its shorter side becomes stored_size, then the
    central square is kept. "squash": the whole picture is resized to stored_size x stored_size, as Caffe's tools
    did for ImageNet.
    """

    name: str = one_of(*DATA_SETS, default="fashion_mnist", doc="a module of fire/data/readers")
    root: str | None = setting(None, doc="where the files lie; null: the known places, then a download", place=True)
    channels: int = setting(1, doc="1 or 3: grey or colour")
    classes: int = whole(10, least=2)
    stored_size: int = whole(28, least=1, most=LARGEST_IMAGE, doc="of the decoded images")
    resize: str = one_of(*RESIZES, doc="how images of a folder become squares of stored_size", when=_is_folder)
    image_size: int = setting(28, doc="of what the network sees: a random crop in training, else the central one")
    mirror: bool = setting(True, doc="a mirror image keeps its class (digits and letters: no)")
    validation: int | float = setting(5000, doc="training images set aside: a number, or a fraction below 1")
    limit: int = whole(0, least=0, doc="at most this many images of each of the three sets; 0: all")
    on_corrupt: str = one_of("error", "skip", doc="what to do about an image that cannot be decoded", when=_is_folder)
    fingerprint: str = setting("", doc="of an image folder's files, filled in when the configuration is loaded")

    def __post_init__(self) -> None:
        check(self, "data.")
        require(self.name != "image_folder" or bool(self.root), "data.root", "a folder for image_folder", self.root)
        require(self.channels in (1, 3), "data.channels", "1 or 3", self.channels)
        fits = 1 <= self.image_size <= self.stored_size
        require(fits, "data.image_size", "in [1, data.stored_size]", self.image_size)
        valid = isinstance(self.validation, int) if self.validation >= 1 else self.validation > 0
        require(valid, "data.validation", "a whole number of images, or a fraction between 0 and 1", self.validation)
