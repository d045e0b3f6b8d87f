"""NNCodec, the reference coder of ISO/IEC 15938-17, on trained networks, beside our own files of the same networks.

    python -m venv nncodec
    nncodec/bin/pip install nncodec==2.1.3 safetensors constriction
    nncodec/bin/python -m bench.nncodec_peer --results results [--tune] [--data-dir data] [--out FILE]

It has an environment of its own, as NNCodec wants another NumPy. The smallest file counts whose validation accuracy is
at most LOST below the network's; it is reported with its accuracy on the test images. As it comes, NNCodec has one
setting, the step of its quantiser. With --tune, it also makes weights zero and trains the scales of filters and the
biases (its LSA and fine-tuning), for as many epochs as our methods.
"""

import argparse
import contextlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from nncodec import nnc
from nncodec.framework.applications.utils import evaluation as its_evaluation
from nncodec.framework.applications.utils import sparsification
from nncodec.framework.applications.utils import train as its_training
from nncodec.framework.use_case_init import use_cases
from torch import Tensor, nn

from bench.measure import Row, markdown
from fire.compress.spec import CompressSpec
from fire.data import dataset
from fire.data.batches import Batches
from fire.train import evaluation
from fire.train.spec import TrainSpec
from fire.weights import pretrained
from sweep import origin
from sweep.record import Record
from sweep.store import WEIGHTS, Store

LOST = 0.003  # of validation accuracy
STEPS = range(-40, -7, 2)  # its parameter QP, from fine to coarse: the step is about 2^(QP / 4)
SPARSITIES = (0.0, 0.3, 0.5)  # with --tune
EPOCHS = CompressSpec().epochs + CompressSpec().final_epochs
CPU = torch.device("cpu")
USE_CASE = "bench"

Weights = Mapping[str, np.ndarray]


class File(NamedTuple):
    """A compressed network: its size, and the accuracy of what it decodes to."""

    size: int
    validation_top1: float
    top1: float


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A trained network, with the images that it was trained and is scored on."""

    network: nn.Module
    images: dataset.DataSet
    recipe: TrainSpec

    def batches(self, part: str) -> Batches:
        """The train, validation or test images."""
        return Batches(getattr(self.images, part), self.images, self.recipe, CPU)

    def scored(self, content: bytes) -> File:
        """What the content decodes to, scored. Scales of filters are multiplied into their weights."""
        decoded = nnc.decompress(content, reconstruct_lsa=True)
        self.network.load_state_dict({name: torch.tensor(decoded[name]) for name in self.network.state_dict()})
        top1 = [evaluation.evaluate(self.network, self.batches(part), CPU).top1 for part in ("validation", "test")]
        return File(len(content), *top1)


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
class Setting:
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


def as_it_comes(subject: Subject, weights: Weights, allowed: float) -> list[File]:
    """The files of all STEPS until one that is far below the allowed validation accuracy."""
    files = []
    for step in STEPS:
        files.append(subject.scored(nnc.compress(dict(weights), qp=step, return_bitstream=True, bitstream_path=None)))
        if files[-1].validation_top1 < allowed - 10 * LOST:
            break
    return files


def tuned(subject: Subject, weights: Weights, allowed: float, begin: int) -> list[File]:
    """For each of SPARSITIES, files of coarser and coarser steps, until one is below the allowed accuracy."""
    use_cases[USE_CASE] = Setting(subject)
    files = []
    for sparsity in SPARSITIES:
        for step in range(begin, STEPS.stop + 8, STEPS.step):
            sparse = dict(weights)
            if sparsity:
                sparse = sparsification.apply_unstruct_spars_v2(step, sparse, target_sparsity=sparsity)
            subject.network.load_state_dict({name: torch.tensor(values) for name, values in sparse.items()})
            content = nnc.compress_model(
                subject.network,
                qp=step,
                lsa=True,
                fine_tune=True,
                use_case=USE_CASE,
                dataset_path="-",
                epochs=EPOCHS,
                learning_rate=1e-3,
                batch_size=subject.recipe.batch_size,
                return_bitstream=True,
                bitstream_path=None,
            )
            files.append(subject.scored(content))
            if files[-1].validation_top1 < allowed:
                break
    return files


def smallest(files: Sequence[File], allowed: float) -> File | None:
    """The smallest file of at least the allowed validation accuracy; None if there is none."""
    return min((file for file in files if file.validation_top1 >= allowed), default=None)


def rows(store: Store, data_dir: Path, tune: bool) -> Iterator[Row]:
    """Rows for each finished network of the store whose weights are there."""
    for record in store.records():
        path = store.folder(record.key) / WEIGHTS
        if record.status != "finished" or record.config is None or record.config.is_compressed or not path.is_file():
            continue
        network = pretrained.read(path).network
        subject = Subject(
            network=network, images=dataset.load(record.config.data, data_dir), recipe=record.config.train
        )
        weights = {name: values.numpy().copy() for name, values in network.state_dict().items()}
        top1, before = (
            evaluation.evaluate(network, subject.batches(part), CPU).top1 for part in ("validation", "test")
        )
        allowed = top1 - LOST
        with _silent():
            files = as_it_comes(subject, weights, allowed)
        yield _row(f"NNCodec {version('nncodec')}", record, smallest(files, allowed), before)
        for method, found in _ours(store, record, allowed).items():
            yield _row(f"ours, {method}", record, found, before)
        if tune:
            passing = [step for step, file in zip(STEPS, files, strict=False) if file.validation_top1 >= allowed]
            with _silent():
                files += tuned(subject, weights, allowed, passing[-1] if passing else STEPS.start)
            yield _row("NNCodec, tuned", record, smallest(files, allowed), before)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """NNCodec reports every tensor and every batch."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def _ours(store: Store, record: Record, allowed: float) -> dict[str, File | None]:
    """The smallest allowed file of each of our methods, of those in the store that were made from this network."""
    files: dict[str, list[File]] = {}
    for each in store.records():
        if each.float_key == record.key and each.config is not None and each.status == "finished":
            file = File(each.file_bytes or 0, each.validation_top1 or 0.0, each.top1 or 0.0)
            files.setdefault(each.config.compress.method, []).append(file)
    return {method: smallest(found, allowed) for method, found in files.items()}


def _row(name: str, record: Record, file: File | None, before: float) -> Row:
    assert record.config is not None
    return Row(
        what=f"{record.config.family}, {record.parameters:,} parameters, seed {record.config.seed}, {record.key}",
        peer=name,
        goal="-",
        measured=f"none within {100 * LOST:.1f} points" if file is None else f"{file.size:,} bytes",
        detail="" if file is None else f"test top-1 {100 * file.top1:.2f} %, {100 * (file.top1 - before):+.2f} points",
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m bench.nncodec_peer", description="Bytes, against NNCodec.")
    parser.add_argument("--results", type=Path, default=Path("results"), help="whose networks to compress")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--tune", action="store_true", help="train what NNCodec can train, too: hours")
    parser.add_argument("--out", type=Path, default=Path("report/bench_nncodec.md"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    torch.__version__ = torch.__version__.partition("+")[0]  # NNCodec reads three whole numbers, not 2.9.0+cpu
    found = []
    head = f"python -m bench.nncodec_peer: {origin.host()}, commit {origin.git_state()[0]}"
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    for row in rows(Store(chosen.results), chosen.data_dir, chosen.tune):
        found.append(row)
        print(row, flush=True)
        chosen.out.write_text(f"<!-- {head} -->\n{markdown(found)}")


if __name__ == "__main__":
    main()
