"""Peak memory by brute force: which tensors of a graph are alive at each step, whatever layers made it."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp


class Step(NamedTuple):
    """An operation: its kind, the tensors that it reads, and the one that it makes."""

    kind: str
    reads: tuple[str, ...]
    makes: str


KINDS = {
    # Operations that have their output in the buffer of their first input.
    "in place": {"Relu", "ReLU", "relu", "Add", "add", "Flatten", "Reshape", "Identity", "Dropout"},
    # All inputs are written into the output's buffer.
    "concatenation": {"Concat", "cat"},
    "of its own": {
        *("Conv", "Conv2d", "Gemm", "Linear", "MaxPool", "MaxPool2d", "LocalResponseNorm"),
        *("GlobalAveragePool", "ReduceMean", "AveragePool", "AdaptiveAvgPool2d"),
    },
}


def peak(steps: Sequence[Step], sizes: Mapping[str, int], image: str) -> int:
    """The largest sum of elements that are alive at once when the steps run in this order.

    A buffer is alive from the first step that writes into it to the last that reads or writes it; the image before the
    first step.
    """
    buffer_of = {image: image}
    for step in steps:
        if step.kind in KINDS["in place"]:
            buffer_of[step.makes] = buffer_of[step.reads[0]]
        elif step.kind in KINDS["concatenation"]:
            buffer_of |= {name: step.makes for name, of in buffer_of.items() if of in step.reads}
            buffer_of[step.makes] = step.makes
        elif step.kind in KINDS["of its own"]:
            buffer_of[step.makes] = step.makes
        else:
            raise AssertionError(step.kind)
    size_of: dict[str, int] = {}
    for name, buffer in buffer_of.items():
        size_of[buffer] = max(size_of.get(buffer, 0), sizes[name])
    touched = [{buffer_of[name] for name in (*step.reads, step.makes)} for step in steps]
    largest = sizes[image]
    for now in range(len(steps)):
        begun = {image}.union(*touched[: now + 1])
        needed = set().union(*touched[now:])
        largest = max(largest, sum(size_of[buffer] for buffer in begun & needed))
    return largest


def of_modules(network: nn.Module, image_size: int, channels: int) -> int:
    """The peak of a network's graph of torch's own modules, in the order in which it calls them."""
    traced = fx.symbolic_trace(network)
    ShapeProp(traced.to("meta")).propagate(torch.empty(1, channels, image_size, image_size, device="meta"))
    steps, sizes, image = [], {}, ""
    for node in traced.graph.nodes:
        if node.op == "placeholder":
            image = node.name
        elif node.op == "call_module":
            kind = type(traced.get_submodule(node.target)).__name__
            steps.append(Step(kind, tuple(each.name for each in node.all_input_nodes), node.name))
        elif node.op == "call_function":
            steps.append(Step(node.target.__name__, tuple(each.name for each in node.all_input_nodes), node.name))
        if node.op != "output":
            sizes[node.name] = math.prod(node.meta["tensor_meta"].shape)
    return peak(steps, sizes, image)


def of_onnx(network: nn.Module, image_size: int, channels: int) -> int:
    """The peak of the graph that torch's ONNX exporter makes of the network."""
    images = torch.zeros(1, channels, image_size, image_size)
    graph = torch.onnx.export(network, (images,), input_names=["images"], verbose=False).model.graph
    steps = []
    for node in graph:
        reads = tuple(each.name for each in node.inputs if each is not None and each.name not in graph.initializers)
        steps.append(Step(node.op_type, reads, node.outputs[0].name))
    values = [*graph.inputs, *(node.outputs[0] for node in graph)]
    return peak(steps, {value.name: math.prod(value.shape.numpy()) for value in values}, "images")
