"""The peer: the same trained network as an ONNX file with int8 weights, by ONNX Runtime's quantisation."""

import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

from bench.measure import Row
from fire.weights import pretrained
from fire.weights.safetensors import Deployed
from sweep.record import Record
from sweep.run import WEIGHTS
from sweep.store import Store


class Noise(CalibrationDataReader):
    """One random image: ranges of activations have no part in the size of the file."""

    def __init__(self, name: str, shape: tuple[int, ...]) -> None:
        self._inputs = iter([{name: np.random.default_rng(0).standard_normal(shape, np.float32)}])

    def get_next(self) -> Any:
        return next(self._inputs, None)


def int8_bytes(deployed: Deployed) -> int:
    """The size of the network's ONNX file with int8 weights and activations."""
    shape = (1, len(deployed.header.preprocessing.mean), *[deployed.header.preprocessing.image_size] * 2)
    logging.getLogger().setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fp32, int8 = (str(Path(folder) / name) for name in ("fp32.onnx", "int8.onnx"))
        torch.onnx.export(
            deployed.network, (torch.zeros(shape),), fp32, input_names=["images"], external_data=False, verbose=False
        )
        quantize_static(fp32, int8, Noise("images", shape), weight_type=QuantType.QInt8)
        return Path(int8).stat().st_size


def rows(results_dir: Path) -> list[Row]:
    """A row for each compressed network of the store, against the int8 file of the network it was made from."""
    store = Store(results_dir)
    found = []
    sizes: dict[str, int] = {}
    for record in store.records():
        path = store.folder(record.float_key or "") / WEIGHTS
        if record.file_bytes is None or record.float_key is None or not path.is_file():
            continue
        if record.float_key not in sizes:
            sizes[record.float_key] = int8_bytes(pretrained.read(path))
        found.append(_row(record, sizes[record.float_key]))
    return found


def _row(record: Record, peer: int) -> Row:
    assert record.file_bytes is not None
    return Row(
        what=f"file of {record.config.family}, {record.parameters:,} parameters, {record.config.compress.method}, "
        f"seed {record.config.seed}",
        peer="ONNX, int8",
        goal="4x smaller",
        measured=f"{peer / record.file_bytes:.2f}",
        detail=f"{record.file_bytes:,} against {peer:,} bytes",
    )
