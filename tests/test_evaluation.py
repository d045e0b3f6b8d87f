"""Scores of a network, by hand."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fire.data.batches import Batches
from fire.train import evaluation
from fire.train.evaluation import evaluate
from fire.train.spec import TrainSpec


class Preset(nn.Module):
    """Gives each image, which shows its number, the logits of that number."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, images: Tensor) -> Tensor:
        return self.logits[images[:, 0, 0, 0].long()]


def test_scores_by_hand(data_set_of, cpu):
    logits = torch.tensor(
        [
            [2.0, 0, 0, 0, 0, 0, 0],  # label 0: first
            [6.0, 5, 4, 3, 2, 1, 0],  # label 4: fifth
            [6.0, 5, 4, 3, 2, 1, 0],  # label 5: sixth
            [0.0, 0, 0, 0, 0, 0, 9],  # label 6: first
        ]
    )
    images = np.broadcast_to(np.arange(4, dtype=np.uint8)[:, None, None, None], (4, 1, 2, 2)).copy()
    data_set = data_set_of(images, [0, 4, 5, 6], classes=7)
    network = Preset(logits).train()
    scores = evaluate(network, Batches(data_set.test, data_set, TrainSpec(inputs="mean"), cpu), cpu)
    falling = math.log(sum(math.exp(i) for i in range(7)))
    losses = [math.log(math.exp(2) + 6) - 2, falling - 2, falling - 1, math.log(6 + math.exp(9)) - 9]
    assert (scores.top1, scores.top5) == (0.5, 0.75)
    assert scores.loss == pytest.approx(sum(losses) / 4, rel=1e-6)
    assert not network.training


def test_scores_over_several_batches_weigh_every_image_alike(data_set_of, cpu):
    labels = np.arange(501) % 2  # one more than an evaluation batch
    images = np.broadcast_to(labels.astype(np.uint8)[:, None, None, None], (501, 1, 2, 2)).copy()
    data_set = data_set_of(images, labels, classes=3)
    logits = torch.tensor([[5.0, 0, 0], [5.0, 0, 0]])  # always class 0, of 3 that all are among the best five
    scores = evaluate(Preset(logits), Batches(data_set.test, data_set, TrainSpec(inputs="mean"), cpu), cpu)
    assert (scores.top1, scores.top5) == (251 / 501, 1)


class Noted(nn.Module):
    """Gives each image one pixel as its only logit beside 0, and notes how many images it is given at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    def forward(self, images: Tensor) -> Tensor:
        self.counts.append(len(images))
        return torch.stack([images[:, 0, 0, 0], torch.zeros(len(images))], 1)


def test_of_large_images_some_pass_at_a_time_with_the_same_scores(data_set_of, cpu, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (260, 1, 4, 4)).astype(np.uint8)
    data_set = data_set_of(images, np.arange(260) % 2, classes=2, mean=128.0, std=50.0)
    batches = Batches(data_set.test, data_set, TrainSpec(), cpu)
    found = []
    for most, counts in ((2**21, [250, 10]), (100 * 16, [100, 100, 50, 10]), (1, [1] * 260)):
        monkeypatch.setattr(evaluation, "PIXELS_AT_ONCE", most)
        network = Noted()
        found.append(evaluate(network, batches, cpu))
        assert network.counts == counts
    assert found[0] == found[1] == found[2]
