"""Which images a network is trained on, and how it sees them. Standard library only."""

import pkgutil
from dataclasses import dataclass, fields

from fire.data import readers
from fire.errors import require

DATA_SETS = tuple(sorted(module.name for module in pkgutil.iter_modules(readers.__path__)))
RESIZES = ("crop", "squash")


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """A data set of square images, and how the images are stored and seen. Sizes are pixels a side.

    The training, validation and test sets are disjoint. Validation is a fixed random part of the data set's training
    images; choices are made on it. A value outside its range raises SpecError.

    resize: how a picture of an image folder becomes a square. "crop": its shorter side becomes stored_size, then the
    central square is kept. "squash": the whole picture is resized to stored_size x stored_size, as Caffe's tools
    did for ImageNet.
    """

    name: str = "fashion_mnist"  # a module of fire/data/readers
    root: str | None = None  # where the files lie; none: the known places, then a download
    channels: int = 1
    classes: int = 10
    stored_size: int = 28  # of the decoded images
    resize: str = "crop"  # crop | squash: how images of a folder become squares of stored_size
    image_size: int = 28  # of what the network sees: a random crop in training, the central one elsewhere
    mirror: bool = True  # a mirror image keeps its class (digits and letters: no)
    validation: int | float = 5000  # training images that are set aside: a number, or a fraction below 1 (0.1: a tenth)
    limit: int = 0  # use at most so many images of each of the three sets; 0: all
    on_corrupt: str = "error"  # error | skip: what to do about an image that cannot be decoded
    fingerprint: str = ""  # of what is in an image folder's files, filled in when the configuration is loaded

    def __post_init__(self) -> None:
        require(self.name in DATA_SETS, "data.name", "one of " + ", ".join(DATA_SETS), self.name)
        require(self.name != "image_folder" or bool(self.root), "data.root", "a folder for image_folder", self.root)
        require(self.channels in (1, 3), "data.channels", "1 or 3", self.channels)
        require(self.classes >= 2, "data.classes", "at least 2", self.classes)
        require(self.stored_size >= 1, "data.stored_size", "at least 1", self.stored_size)
        require(
            1 <= self.image_size <= self.stored_size, "data.image_size", "in [1, data.stored_size]", self.image_size
        )
        require(self.resize in RESIZES, "data.resize", "one of " + ", ".join(RESIZES), self.resize)
        valid = isinstance(self.validation, int) if self.validation >= 1 else self.validation > 0
        require(valid, "data.validation", "a whole number of images, or a fraction between 0 and 1", self.validation)
        require(self.limit >= 0, "data.limit", "at least 0", self.limit)
        require(self.on_corrupt in ("error", "skip"), "data.on_corrupt", "one of error, skip", self.on_corrupt)

    @property
    def used(self) -> set[str]:
        """The fields that say which images there are: not where the files lie, nor what only image folders read."""
        names = {field.name for field in fields(self)} - {"root"}
        return names if self.name == "image_folder" else names - {"resize"}
