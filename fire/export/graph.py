"""A network as an ONNX graph in fp32, by torch's exporter."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import onnx
import torch
from onnx import numpy_helper

from fire.weights import header
from fire.weights.formats import KEY
from fire.weights.safetensors import Deployed

IMAGE, LOGITS = "image", "logits"  # names of the graph's input and output


def fp32(deployed: Deployed) -> onnx.ModelProto:
    """The network as ONNX: one normalised image (1, C, size, size) in, logits (1, classes) out, both fp32.

    The network must be folded (fire.model.fold). What goes with it, as in our own files, is in the file's metadata
    under formats.KEY: the specification, how an image is normalised, the names of the classes.
    """
    about = deployed.header
    size = about.preprocessing.image_size
    image = torch.zeros(1, about.channels, size, size)
    with quietly():
        program = torch.onnx.export(
            deployed.network.eval(), (image,), dynamo=True, input_names=[IMAGE], output_names=[LOGITS], verbose=False
        )
    assert program is not None
    model = program.model_proto
    _name_global_pools(model)
    strip(model)
    onnx.helper.set_model_props(model, {KEY: header.dump(about)})
    return model


def strip(model: onnx.ModelProto) -> None:
    """Remove what no runtime reads: notes of the exporter, shapes that follow from the rest, names of nodes."""
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:]
    model.doc_string = ""
    for part in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output):
        del part.metadata_props[:]
        part.doc_string = ""
    for node in model.graph.node:
        node.name = ""
    constants = {name for node in model.graph.node for name in node.input}
    for unused in [each for each in model.graph.initializer if each.name not in constants]:
        model.graph.initializer.remove(unused)


def _name_global_pools(model: onnx.ModelProto) -> None:
    """Call the mean over a map what it is: tools for small devices know GlobalAveragePool, and quantise it."""
    arrays = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "ReduceMean" and arrays[node.input[1]].tolist() == [-1, -2]:
            node.op_type = "GlobalAveragePool"
            del node.input[1:], node.attribute[:]


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keep notes of the exporter and the quantiser on their own progress and plans from the user."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
