"""The peer: the same network as an ONNX file with int8 weights, as python -m sweep.export writes it with --int8.

That is ONNX Runtime's quantisation without the exporter's notes and names, which take 50 kB. What else is in our own
files, how an image is normalised and the names of the classes, is left out.
"""

import functools
from pathlib import Path

import numpy as np
import torch

from bench.measure import Row
from fire import fields, model
from fire.arch import ArchSpec
from fire.export.graph import fp32
from fire.export.int8 import int8
from fire.weights.header import Header, Preprocessing
from fire.weights.safetensors import Deployed
from sweep.record import Record
from sweep.store import Store

PEER, GOAL = "ONNX, int8", "4x smaller"
SETTINGS = ("density", "conv_bits", "fc_bits", "rate")  # of compression: those that most decide the size


@functools.cache
def int8_bytes(spec: ArchSpec, image_size: int, channels: int) -> int:
    """The size of the network's ONNX file in int8. What its weights are has no part in it: here they are random."""
    preprocessing = Preprocessing(image_size=image_size, mean=[0.0] * channels, scale=[1.0] * channels)
    header = Header(spec=spec, preprocessing=preprocessing, class_names=tuple(map(str, range(spec.classes))))
    network = model.fold(model.build(spec, channels, seed=0))
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():  # biases, too: equal ones would be stored once
        parameter.data.normal_(generator=generator)
    graph = fp32(Deployed(network=network, header=header))
    del graph.metadata_props[:]
    image = np.random.default_rng(0).standard_normal((1, channels, image_size, image_size), np.float32)
    return len(int8(graph, [image]).SerializeToString())


def rows(results_dir: Path) -> list[Row]:
    """A row for each compressed network of the store, against the int8 file of the network it was made from."""
    store = Store(results_dir)
    found = []
    for record in store.records():
        if record.config is not None and record.file_bytes is not None and record.float_key is not None:
            data = record.config.data
            peer = int8_bytes(record.config.arch, data.image_size, data.channels)
            found.append(_row(record, store.read(record.float_key), peer))
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
