"""An fp32 ONNX graph in int8, by ONNX Runtime's static quantisation."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from fire.export.graph import IMAGE, quietly, strip

Image = NDArray[np.float32]


class _Reader(CalibrationDataReader):  # type: ignore[misc] # onnxruntime has no types
    """Normalised images (1, C, size, size), one after the other."""

    def __init__(self, images: Iterator[Image]) -> None:
        self._images = images

    def get_next(self) -> dict[str, Image] | None:
        image = next(self._images, None)
        return None if image is None else {IMAGE: image}


def int8(model: onnx.ModelProto, calibration: Iterable[Image]) -> onnx.ModelProto:
    """The graph in int8: QuantizeLinear and DequantizeLinear around each operation, which runtimes fuse with it (QDQ).

    Weights are symmetric, with a scale for each output channel; activations have one scale a tensor, from the least
    and the greatest value that the calibration images (normalised, (1, C, size, size)) lead to.
    """
    with tempfile.TemporaryDirectory() as folder, quietly():
        path = Path(folder) / "int8.onnx"
        quantize_static(
            onnx.ModelProto.FromString(model.SerializeToString()),  # it changes what it is given
            path,
            _Reader(iter(calibration)),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
        made = onnx.load(path)
    _share_scales_of_concatenations(made)
    _share_zero_points(made)
    strip(made)
    _shorten_names(made)
    made.metadata_props.extend(model.metadata_props)
    return made


def _share_scales_of_concatenations(model: onnx.ModelProto) -> None:
    """Give the inputs of each concatenation the scale and zero point of its output, as kernels of integers need it.

    A ReLU follows, so that the output's range begins at 0: rounding the inputs to that range does the ReLU's work.
    """
    maker = {name: node for node in model.graph.node for name in node.output}
    reader = {name: node for node in model.graph.node for name in node.input}
    for node in model.graph.node:
        if node.op_type == "Concat":
            scale_and_zero = reader[node.output[0]].input[1:]
            for name in node.input:
                dequantise = maker[name]
                quantise = maker[dequantise.input[0]]
                for each in (quantise, dequantise):
                    each.input[1:] = scale_and_zero


def _share_zero_points(model: onnx.ModelProto) -> None:
    """Keep one of equal zero points of biases: all are 0, and each takes as many bytes as its bias.

    Those of int8 tensors stay apart, since ONNX Runtime renames each when it makes the tensors unsigned.
    """
    arrays = {each.name: each for each in model.graph.initializer}
    first: dict[tuple[int, ...], str] = {}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and arrays[node.input[2]].data_type == onnx.TensorProto.INT32:
            zero = arrays[node.input[2]]
            node.input[2] = first.setdefault(tuple(zero.dims), zero.name)


def _shorten_names(model: onnx.ModelProto) -> None:
    """Call tensors between operations by numbers: their names are a third of a small network's file."""
    kept = {each.name for each in (*model.graph.input, *model.graph.output)}
    names: dict[str, str] = {}
    for node in model.graph.node:
        for ends in (node.input, node.output):
            ends[:] = [name if name in kept else names.setdefault(name, str(len(names))) for name in ends]
    for each in model.graph.initializer:
        each.name = names[each.name]
