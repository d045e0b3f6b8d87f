"""NNCodec 2.1.3 makes files of a trained network, and what they decode to is scored."""

import contextlib
import copy
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from nncodec import nnc
from nncodec.framework.applications.utils import evaluation as its_evaluation
from nncodec.framework.applications.utils import sparsification
from nncodec.framework.applications.utils import train as its_training
from nncodec.framework.use_case_init import use_cases
from torch import Tensor, nn

from bench.nncodec_search import File, Settings
from fire.data.batches import Batches
from fire.data.dataset import DataSet
from fire.train import evaluation
from fire.train.spec import TrainSpec

CPU = torch.device("cpu")
USE_CASE = "bench"
assert version("nncodec") == "2.1.3", "the rows name this version"
torch.__version__ = torch.__version__.partition("+")[0]  # NNCodec reads three whole numbers, not 2.9.0+cpu

Weights = Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A trained network, with the images that it was trained and is scored on."""

    network: nn.Module
    images: DataSet
    recipe: TrainSpec
    _trained: dict[Settings, tuple[Weights, Any]] = field(default_factory=dict)

    def batches(self, part: str) -> Batches:
        """The train, validation or test images."""
        return Batches(getattr(self.images, part), self.images, self.recipe, CPU)

    def top1(self, network: nn.Module, part: str) -> float:
        """The network's accuracy on the validation or test images."""
        return evaluation.evaluate(network, self.batches(part), CPU).top1

    def file(self, settings: Settings) -> File:
        """NNCodec's file of the network, decoded and scored on the validation images."""
        size, network = self._decoded(settings)
        return File(made_by=settings, size=size, validation_top1=self.top1(network, "validation"))

    def test_top1(self, settings: Settings) -> float:
        """The test accuracy of the file with these settings, which is made again."""
        return self.top1(self._decoded(settings)[1], "test")

    def _decoded(self, settings: Settings) -> tuple[int, nn.Module]:
        """The file's size, and what it decodes to. Scales of filters are multiplied into their weights."""
        with _silent():
            content = self._content(settings)
            decoded = nnc.decompress(content, reconstruct_lsa=True)
        network = copy.deepcopy(self.network)
        network.load_state_dict({name: torch.tensor(decoded[name]) for name in network.state_dict()})
        return len(content), network

    def _content(self, settings: Settings) -> bytes:
        weights, blocks = self._weights(settings), None
        if settings.epochs:
            # NNCodec trains before it codes biases and scales: one training does for all that only change how. With
            # lsa it rounds the biases first, here at its finest step, which is in its favour.
            training = replace(settings, nonweight_qp=Settings.nonweight_qp, row_skipping=False)
            if training not in self._trained:
                self._trained[training] = self._train(training, weights)
            trained, blocks = self._trained[training]
            weights |= trained
        return nnc.compress(
            weights,
            nonweight_qp=settings.nonweight_qp,
            row_skipping=settings.row_skipping,
            block_id_and_param_type=blocks,
            **_quantiser(settings),
        )

    def _weights(self, settings: Settings) -> dict[str, np.ndarray]:
        weights = {name: values.numpy().copy() for name, values in self.network.state_dict().items()}
        if settings.sparsity:
            weights = sparsification.apply_unstruct_spars_v2(settings.qp, weights, settings.sparsity)
        return dict(weights)

    def _train(self, settings: Settings, weights: Weights) -> tuple[Weights, Any]:
        """The trained biases and scales, and which of them belong together: nothing but for scales."""
        use_cases[USE_CASE] = UseCase(self)
        network = copy.deepcopy(self.network)  # NNCodec leaves it trained, and its weights without gradients
        network.load_state_dict({name: torch.tensor(values) for name, values in weights.items()})
        content, blocks = nnc.compress_model(
            network,
            nonweight_qp=settings.nonweight_qp,
            lsa=settings.lsa,
            fine_tune=True,
            use_case=USE_CASE,
            dataset_path="-",
            epochs=settings.epochs,
            learning_rate=1e-3,
            batch_size=self.recipe.batch_size,
            return_model_data=True,
            verbose=False,
            **_quantiser(settings),
        )
        decoded = nnc.decompress(content)
        return {name: values for name, values in decoded.items() if values.ndim == 1}, blocks


def _quantiser(settings: Settings) -> dict[str, Any]:
    chosen = {"qp": settings.qp, "opt_qp": settings.opt_qp, "use_dq": settings.use_dq}
    return chosen | {"return_bitstream": True, "bitstream_path": None}


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """NNCodec reports every tensor and every batch."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


class Loader:
    """Batches in the form that NNCodec iterates over: each pass draws its own augmentation."""

    def __init__(self, batches: Batches, batch_size: int, shuffled: bool) -> None:
        self._batches, self._size, self._shuffled = batches, batch_size, shuffled
        self._generator = torch.Generator().manual_seed(0)

    def __len__(self) -> int:
        return self._batches.steps(self._size) if self._shuffled else -(-len(self._batches) // self._size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self._shuffled:
            return self._batches.shuffled(self._size, self._generator)
        return self._batches.in_order(self._size)


@dataclass(frozen=True)
class UseCase:
    """What NNCodec asks of a use case, see nncodec.framework.use_case_init.ModelSetting."""

    subject: Subject
    model_transform = None
    evaluate = staticmethod(its_evaluation.evaluate_classification_model)
    train = staticmethod(its_training.train_classification_model)
    criterion = nn.CrossEntropyLoss()

    def init_training(self, dataset_path: Any, batch_size: int, num_workers: int) -> Loader:
        return Loader(self.subject.batches("train"), batch_size, shuffled=True)

    def init_validation(self, dataset_path: Any, batch_size: int, num_workers: int) -> tuple[Batches, Loader]:
        batches = self.subject.batches("validation")
        return batches, Loader(batches, batch_size, shuffled=False)

    def init_test(self, dataset_path: Any, batch_size: int, num_workers: int) -> tuple[Batches, Loader]:
        return self.init_validation(dataset_path, batch_size, num_workers)  # it prints these only: ours look once
