"""The peer: the same networks and training in plain torch, as tutorials write them. fp32, NCHW, a DataLoader.

Independent of fire/ but for the decoded images and the metaparameters; bench checks that both count the same
parameters.
"""

from collections.abc import Callable, Iterator

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from fire.arch import SqueezeNetSpec
from fire.data.dataset import ImageSet


def conv(inputs: int, outputs: int, kernel: int, norm: bool) -> nn.Sequential:
    """Convolution, batch normalisation or none, ReLU."""
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=not norm)]
    if norm:
        layers.append(nn.BatchNorm2d(outputs))
    return nn.Sequential(*layers, nn.ReLU(inplace=True))


class Fire(nn.Module):
    """Squeeze, then expand by 1x1 and 3x3 filters."""

    def __init__(self, inputs: int, s1x1: int, e1x1: int, e3x3: int, norm: bool) -> None:
        super().__init__()
        self.squeeze = conv(inputs, s1x1, 1, norm)
        self.expand1x1 = conv(s1x1, e1x1, 1, norm)
        self.expand3x3 = conv(s1x1, e3x3, 3, norm)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze(x)
        return torch.cat([self.expand1x1(x), self.expand3x3(x)], 1)


class SqueezeNet(nn.Module):
    """The macro-architecture for small images, without bypass."""

    def __init__(self, spec: SqueezeNetSpec, channels: int, norm: bool = True) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv(channels, spec.conv1_filters, 3, norm), nn.MaxPool2d(3, 2, ceil_mode=True)]
        inputs = spec.conv1_filters
        for i in range(spec.fires):
            e = spec.base_e + spec.incr_e * (i // spec.freq)
            e3x3 = round(spec.pct_3x3 * e)
            layers.append(Fire(inputs, max(1, round(spec.sr * e)), e - e3x3, e3x3, norm))
            if i in (2, 6):
                layers.append(nn.MaxPool2d(3, 2, ceil_mode=True))
            inputs = e
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Conv2d(inputs, spec.classes, 1)
        for layer in self.modules():  # as torchvision's SqueezeNet has it
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_uniform_(layer.weight)
        nn.init.normal_(self.classifier.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x)).mean((2, 3))


class Pictures(Dataset[tuple[Tensor, int]]):
    """Images in memory, each turned into a PIL image and transformed when asked for, as torchvision.datasets do."""

    def __init__(self, images: ImageSet, transform: Callable[[Image.Image], Tensor]) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images.rows)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        row = self.images.rows[index]
        pixels = self.images.images[row]
        picture = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
        return self.transform(picture), int(self.images.labels[row])


MEAN, STD = 0.286, 0.353  # of Fashion-MNIST's pixels in [0, 1]; for the speed on other images they are as good


def transform(mirror: bool) -> Callable[[Image.Image], Tensor]:
    """As in most tutorials."""
    steps = [transforms.ToTensor(), transforms.Normalize((MEAN,), (STD,))]
    composed: Callable[[Image.Image], Tensor] = transforms.Compose(
        [transforms.RandomHorizontalFlip(), *steps] if mirror else steps
    )
    return composed


def loader(images: ImageSet, batch_size: int, train: bool) -> DataLoader[tuple[Tensor, int]]:
    """With the defaults of DataLoader: no worker processes."""
    pictures = Pictures(images, transform(mirror=train))
    return DataLoader(pictures, batch_size=batch_size, shuffle=train, drop_last=train)


def optimizer_and_schedule(
    model: nn.Module, lr: float, steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """SGD with momentum and torch's one-cycle schedule."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4, nesterov=True)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.2)


def train_steps(model: nn.Module, batches: Iterator[tuple[Tensor, Tensor]], lr: float, steps: int) -> None:
    """Train for a number of steps."""
    optimizer, schedule = optimizer_and_schedule(model, lr, steps)
    model.train()
    for _ in range(steps):
        images, labels = next(batches)
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def accuracy(model: nn.Module, batches: DataLoader[tuple[Tensor, int]]) -> float:
    """The fraction of images whose class is found."""
    model.eval()
    right = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in batches)
    return right / len(batches.dataset)  # type: ignore[arg-type]
