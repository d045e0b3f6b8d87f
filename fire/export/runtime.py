"""What a written ONNX file does in ONNX Runtime: its accuracy, and how long it takes for an image."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fire.data.batches import Batches
from fire.export.graph import IMAGE
from fire.train.evaluation import BATCH, Scores

WARM_UP = 10  # passes before the first that counts
LEAST_PASSES, LEAST_SECONDS, MOST_PASSES = 50, 0.5, 2000


class Latency(NamedTuple):
    """Seconds of one image: the median of many passes, and the distance between their quartiles."""

    median: float
    spread: float


def session(path: Path, *, exact: bool) -> onnxruntime.InferenceSession:
    """The file, ready to run on one thread of the processor.

    exact: products of int8 numbers are summed without overflow on every processor, so that results do not depend on
    it. Processors without VNNI are slower so; without it, ONNX Runtime does as its users see it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", str(int(exact)))
    return onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])


def single_images(batches: Batches, most: int | None = None) -> Iterator[tuple[NDArray[np.float32], int]]:
    """The images of the batches, normalised, one by one as (1, C, size, size), with their labels; at most `most`."""
    left = len(batches) if most is None else most
    for images, labels in batches.in_order(BATCH):
        for image, label in zip(images.cpu().contiguous().numpy(), labels.tolist(), strict=True):
            if left == 0:
                return
            left -= 1
            yield image[None], label


def logits(path: Path, batches: Batches) -> tuple[Tensor, Tensor]:
    """The file's logits (N, classes) for all images of the batches, and their labels (N,)."""
    running = session(path, exact=True)
    found, labels = [], []
    for image, label in single_images(batches):
        found.append(running.run(None, {IMAGE: image})[0][0])
        labels.append(label)
    return torch.from_numpy(np.stack(found)), torch.tensor(labels)


def evaluate(path: Path, batches: Batches) -> Scores:
    """Accuracies and loss of the file over all images of the batches."""
    answers, labels = logits(path, batches)
    best = answers.topk(min(5, answers.shape[1])).indices == labels[:, None]
    loss = F.cross_entropy(answers.double(), labels)
    return Scores(float(best[:, 0].double().mean()), float(best.any(1).double().mean()), float(loss))


def latency(path: Path) -> Latency:
    """How long the file takes for one image, on one thread."""
    running = session(path, exact=False)
    (image,) = running.get_inputs()
    zeros = {IMAGE: np.zeros(image.shape, np.float32)}
    for _ in range(WARM_UP):
        running.run(None, zeros)
    seconds: list[float] = []
    while len(seconds) < LEAST_PASSES or (sum(seconds) < LEAST_SECONDS and len(seconds) < MOST_PASSES):
        began = time.perf_counter()
        running.run(None, zeros)
        seconds.append(time.perf_counter() - began)
    low, middle, high = np.quantile(seconds, [0.25, 0.5, 0.75])
    return Latency(float(middle), float(high - low))
