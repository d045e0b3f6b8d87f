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
from fire import fields
from fire.weights import pretrained
from fire.weights.safetensors import Deployed
from sweep.record import Record
from sweep.run import WEIGHTS
from sweep.store import Store

PEER, GOAL = "ONNX, int8", "4x smaller"
SETTINGS = ("density", "conv_bits", "fc_bits", "rate")  # of compression: those that most decide the size


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
    """A row for each compressed network of the store, against the int8 file of the network it was made from.

    A last row names the networks whose weights are missing, if there are any.
    """
    store = Store(results_dir)
    found = []
    sizes: dict[str, int] = {}
    missing = set()
    for record in store.records():
        if record.config is None or record.file_bytes is None or record.float_key is None:
            continue
        path = store.folder(record.float_key) / WEIGHTS
        if not path.is_file():
            missing.add(record.float_key)
            continue
        if record.float_key not in sizes:
            sizes[record.float_key] = int8_bytes(pretrained.read(path))
        found.append(_row(record, store.read(record.float_key), sizes[record.float_key]))
    if missing:
        what = "file of networks made from others without weights"
        detail = f"no {WEIGHTS} of {', '.join(sorted(missing))}"
        found.append(Row(what=what, peer=PEER, goal=GOAL, measured="not measured", detail=detail))
    return found


def _row(record: Record, start: Record | None, peer: int) -> Row:
    """start: the record of the float network."""
    assert record.config is not None
    assert record.file_bytes is not None
    settings = fields.read(record.config.compress)
    setting = ", ".join(f"{name} {settings[name]:g}" for name in SETTINGS if name in settings)
    return Row(
        what=f"file of {record.config.family}, {record.parameters:,} parameters, {record.config.compress.method}, "
        f"seed {record.config.seed}",
        peer=PEER,
        goal=GOAL,
        measured=f"{peer / record.file_bytes:.2f}",
        detail=f"{record.file_bytes:,} against {peer:,} bytes; {setting}; {_gain(record, start)}; run {record.key}",
    )


def _gain(record: Record, start: Record | None) -> str:
    """Test top-1 less the float network's. Records older than float_top1 have it in the float network's record."""
    before = record.float_top1 if record.float_top1 is not None or start is None else start.top1
    if record.top1 is None or before is None:
        return "top-1 unknown"
    return f"top-1 {100 * (record.top1 - before):+.2f} points"
