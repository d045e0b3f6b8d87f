"""Networks as ONNX files: written, run in ONNX Runtime, and what that measures in the record of their run."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import torch
from torch import nn

from fire.compress.spec import MOST_LOST
from fire.data import dataset
from fire.data.batches import Batches
from fire.errors import InputError, TrainingError
from fire.export import graph, int8, runtime, tuning
from fire.files import write
from fire.machine.process import prepare_process
from fire.train import evaluation
from fire.train.checkpoints import CheckpointError
from fire.train.progress import Note, Progress
from fire.weights import pretrained
from fire.weights.safetensors import Deployed
from sweep import origin
from sweep.config import Options, RunConfig
from sweep.record import Record
from sweep.run import in_sweep
from sweep.store import COMPRESSED, INT8_ONNX, ONNX, TUNING, WEIGHTS, Store

CALIBRATION = 500  # validation images that the ranges of int8 activations are taken from
CPU = torch.device("cpu")

Columns = dict[str, Any]  # of a record, by name


@dataclass(frozen=True, kw_only=True)
class Scored:
    """A network on the CPU, and the images for its files: validation images give int8 its ranges, test images score."""

    deployed: Deployed
    test: Batches
    validation: Batches

    @functools.cached_property
    def model(self) -> onnx.ModelProto:
        """The network in fp32, which torch takes seconds to export."""
        return graph.fp32(self.deployed)

    def write_onnx(self, path: Path) -> Columns:
        """Write the network in fp32. Returns what is measured of the file."""
        write(path, self.model.SerializeToString())
        return self._measured(path, "onnx")

    def write_int8(self, path: Path, tune: Callable[[float], nn.Sequential | None]) -> Columns:
        """Write the network in int8. Returns what is measured of the file.

        tune: gives the network to write instead where int8 loses more than MOST_LOST, called with what is lost. The
        better of both on the validation images is kept. Where it gives None, what is lost is lost.
        """
        plain, top1 = self._rounded(self.model, path)
        lost = evaluation.evaluate(self.deployed.network, self.validation, CPU).top1 - top1
        tuned_epochs = 0
        network = tune(lost) if lost > MOST_LOST else None
        if network is not None:
            _, tuned_top1 = self._rounded(graph.fp32(replace(self.deployed, network=network)), path)
            if tuned_top1 > top1:
                top1, tuned_epochs = tuned_top1, tuning.EPOCHS
            else:
                write(path, plain)
        return {**self._measured(path, "int8"), "int8_validation_top1": top1, "tuned_epochs": tuned_epochs}

    def _rounded(self, model: onnx.ModelProto, path: Path) -> tuple[bytes, float]:
        """Write the graph in int8. Returns the file's content and its accuracy on the validation images."""
        images = (image for image, _ in runtime.single_images(self.validation, CALIBRATION))
        content = int8.int8(model, images).SerializeToString()
        write(path, content)
        return content, runtime.evaluate(path, self.validation).top1

    def _measured(self, path: Path, name: str) -> Columns:
        """The columns that begin with the name, of a file."""
        scores, latency = runtime.evaluate(path, self.test), runtime.latency(path)
        return {
            f"{name}_bytes": path.stat().st_size,
            f"{name}_top1": scores.top1,
            f"{name}_loss": scores.loss,
            f"{name}_latency_seconds": latency.median,
            f"{name}_latency_spread": latency.spread,
            "onnx_host": origin.host(),
            "onnxruntime": onnxruntime.__version__,
        }


def export(record: Record, config: RunConfig, options: Options, report: Callable[[Progress | Note], None]) -> Record:
    """Write the ONNX files of a finished run that options.export asks for. Returns its record, which is in the store.

    The record is written after each file: killed in between, a later call goes on with the next. Raises InputError if
    the run's weights are missing or damaged, WriteError if the files cannot be written.
    """
    store = Store(options.results_dir)
    folder = store.folder(record.key)
    weights = folder / (COMPRESSED if config.is_compressed else WEIGHTS)
    if not weights.is_file():
        raise InputError(f"the network to export must be in {weights}; without it, delete {folder} to train it again")
    prepare_process("cpu", 1)
    images = dataset.load(config.data, Path(options.data_dir))
    test, validation = (Batches(part, images, config.train, CPU) for part in (images.test, images.validation))
    scored = Scored(deployed=pretrained.read(weights), test=test, validation=validation)

    def tuned(lost: float) -> nn.Sequential | None:
        report(Note(text=f"int8 loses {100 * lost:.2f} points of validation accuracy: fine-tuning for int8"))
        recipe = in_sweep(config.train, options)
        tune = functools.partial(tuning.tune, scored.deployed.network, images, recipe, seed=config.seed)
        checkpoint = folder / TUNING
        try:
            try:
                return tune(device=CPU, checkpoint=checkpoint, report=report)
            except CheckpointError:
                checkpoint.unlink()
                return tune(device=CPU, checkpoint=checkpoint, report=report)
        except TrainingError as error:
            report(Note(text=f"the int8 file is not fine-tuned: {error}"))
            return None

    if not store.is_exported(record, "onnx"):
        record = replace(record, **scored.write_onnx(folder / ONNX))
        store.write(record, anew=False)
    if not store.is_exported(record, options.export):
        if record.onnx_host != origin.host():  # which both files' latencies are of
            latency = runtime.latency(folder / ONNX)
            record = replace(record, onnx_latency_seconds=latency.median, onnx_latency_spread=latency.spread)
        record = replace(record, **scored.write_int8(folder / INT8_ONNX, tuned))
        store.write(record, anew=False)
        (folder / TUNING).unlink(missing_ok=True)
    return record
