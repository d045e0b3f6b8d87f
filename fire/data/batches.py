"""Batches of images, cut and augmented as whole tensors of uint8: no Python per image.

Images that are kept decoded need no worker processes; those that are streamed are decoded by some, ahead of the step.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fire.data.dataset import DataSet, ImageSet
from fire.data.streaming import Streamed
from fire.errors import unknown
from fire.machine import hardware
from fire.train.spec import TrainSpec


class Batches:
    """The batches of an image set as the network wants them: normalised fp32 images and their labels.

    Shapes: images (N, C, size, size), labels (N,) int64. Random choices come from the generator of the caller; the
    images stay where they are stored (mapped from disk, or moved to the device once if that is an accelerator), or are
    streamed from their files. The batches are the same either way.
    Normalised is (image - mean) * scale, a channel.
    """

    def __init__(self, images: ImageSet, data: DataSet, spec: TrainSpec, device: torch.device) -> None:
        self._images = images.images if isinstance(images.images, Streamed) else torch.from_numpy(images.images)
        self._labels = torch.from_numpy(images.labels)
        self._rows = torch.from_numpy(images.rows)
        self._spec = spec
        self._size, self._classes = data.spec.image_size, data.spec.classes
        self._mirror = spec.mirror and data.spec.mirror
        self._device = device
        if isinstance(self._images, Tensor) and device.type != "cpu":
            self._images = self._images[self._rows].to(device)
            self._labels = self._labels[self._rows].to(device)
            self._rows = torch.arange(len(self._rows))
        self.mean = list(data.mean)
        self.scale = _scale(spec.inputs, data.std)
        self._mean = torch.tensor(self.mean, device=device).view(1, -1, 1, 1)
        self._scale = torch.tensor(self.scale, device=device).view(1, -1, 1, 1)

    def __len__(self) -> int:
        return len(self._rows)

    def steps(self, batch_size: int) -> int:
        """Training batches an epoch: whole ones only, at least one."""
        return max(1, len(self) // batch_size)

    def shuffled(self, batch_size: int, generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch of augmented batches in random order; images left over from the last whole batch are left out.

        With MixUp the labels are probabilities (N, classes).
        """
        order = torch.randperm(len(self), generator=generator)
        steps = range(self.steps(batch_size))
        for images, labels in self._taken([order[step * batch_size : (step + 1) * batch_size] for step in steps]):
            images = random_crop(images, self._size, self._spec.shift, generator)
            if self._mirror:
                images = random_mirror(images, generator)
            if self._spec.erase:
                images = random_erase(images, round(self._spec.erase * self._size), self._mean, generator)
            images = self._normalise(images)
            if self._spec.mixup:
                images, labels = mix(images, F.one_hot(labels, self._classes).float(), self._spec.mixup, generator)
            yield images, labels

    def in_order(self, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """All images once, the central crop of each."""
        for images, labels in self._taken(torch.arange(len(self)).split(batch_size)):
            yield self._normalise(central_crop(images, self._size)), labels

    def _taken(self, batches: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """The stored images and the labels at each of these positions in the set."""
        if isinstance(self._images, Tensor):
            for positions in batches:
                rows = to_device(self._rows[positions], self._images.device)
                yield self._images[rows], self._labels[rows]
        else:
            chosen = [self._rows[positions] for positions in batches]
            streamed = self._images.batches([rows.numpy() for rows in chosen], self._decoders)
            with closing(streamed):
                for rows, pixels in zip(chosen, streamed, strict=True):
                    yield to_device(torch.from_numpy(pixels), self._device), to_device(self._labels[rows], self._device)

    @property
    def _decoders(self) -> int:
        """How many processes decode: as many as threads train; for a GPU, up to eight."""
        return torch.get_num_threads() if self._device.type == "cpu" else min(hardware.cores(), 8)

    def _normalise(self, images: Tensor) -> Tensor:
        layout = torch.channels_last if self._spec.channels_last else torch.contiguous_format
        # Not contiguous(): images of one channel are contiguous either way, and would leave the layout to the weights.
        normalised = torch.empty(images.shape, device=images.device, memory_format=layout)
        return torch.mul(images.float() - self._mean, self._scale, out=normalised)


def to_device(numbers: Tensor, device: torch.device) -> Tensor:
    """The numbers of a step, which are drawn on the processor, on the device.

    A copy of ordinary memory to a GPU would wait for all steps before it; one of page-locked memory does not.
    """
    if device.type == "cuda":
        return numbers.pin_memory().to(device, non_blocking=True)
    return numbers.to(device)


def _scale(inputs: str, std: Sequence[float]) -> list[float]:
    match inputs:
        case "standard":
            return [1 / each for each in std]
        case "mean":
            return [1.0 for _ in std]
        case other:
            raise unknown("train.inputs", other)


def random_crop(images: Tensor, size: int, shift: int, generator: torch.Generator) -> Tensor:
    """A random square of each image, shifted by up to `shift` pixels over its border, which is filled with zeros.

    (N, C, S, S) -> (N, C, size, size)
    """
    count, _, stored, _ = images.shape
    places = stored + 2 * shift - size + 1
    if places == 1:
        return images
    top, left = to_device(torch.randint(places, (2, count), generator=generator), images.device)
    padded = F.pad(images, (shift,) * 4)
    windows = padded.unfold(2, size, 1).unfold(3, size, 1)  # a view: (N, C, places, places, size, size)
    return windows[torch.arange(count, device=images.device), :, top, left]


def central_crop(images: Tensor, size: int) -> Tensor:
    """(N, C, S, S) -> (N, C, size, size)"""
    start = (images.shape[-1] - size) // 2
    return images[:, :, start : start + size, start : start + size]


def random_mirror(images: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the images, chosen at random, left to right."""
    chosen = to_device(torch.rand(len(images), 1, 1, 1, generator=generator), images.device) < 0.5
    return torch.where(chosen, images.flip(-1), images)


def random_erase(images: Tensor, side: int, fill: Tensor, generator: torch.Generator) -> Tensor:
    """A square in each image is set to the fill (1, C, 1, 1); its centre lies anywhere (DeVries and Taylor 2017)."""
    count, _, size, _ = images.shape
    top, left = to_device(torch.randint(size, (2, count), generator=generator) - side // 2, images.device)
    pixels = torch.arange(size, device=images.device)
    rows = (pixels >= top[:, None]) & (pixels < top[:, None] + side)
    columns = (pixels >= left[:, None]) & (pixels < left[:, None] + side)
    erased = (rows[:, :, None] & columns[:, None, :])[:, None]
    return torch.where(erased, fill.round().to(images.dtype), images)


def mix(images: Tensor, targets: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Blend each image, and its target, with another one's; Zhang et al. 2018, with one Beta(alpha, alpha) a batch."""
    seed = int(torch.randint(2**62, (), generator=generator))  # torch's own Beta takes no generator
    part = np.random.default_rng(seed).beta(alpha, alpha)
    order = to_device(torch.randperm(len(images), generator=generator), images.device)
    return images.lerp_(images[order], part), targets.lerp(targets[order], part)
