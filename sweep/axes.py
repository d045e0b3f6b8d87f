"""Costs of networks as horizontal axes: names, columns and units. Standard library only."""

from typing import NamedTuple

from fire.cost import KIB


class CostAxis(NamedTuple):
    """A column of costs as an axis: its name for people, and the factor to that name's unit.

    top1: the column with the test accuracy of what has this cost. note: a line below the name.
    """

    column: str
    name: str
    scale: float = 1.0
    top1: str = "top1"
    note: str = ""

    def label(self, *, log: bool = False) -> str:
        """The text below the axis."""
        return "\n".join(filter(None, (f"{self.name}{' (log scale)' if log else ''}", self.note)))

    @property
    def metric(self) -> str:
        """The name of the accuracy in the column `top1`."""
        return "test top-1" if self.top1 == "top1" else "int8 test top-1"


SIZE = CostAxis("size_mib", "size of the fp32 parameters, MiB")
MACS = CostAxis("macs", "multiply-accumulates of an image, millions", 1e-6)
LATENCY = CostAxis("latency_seconds", "latency of one image, ms", 1e3)
AXES = {
    "size_bytes": SIZE,
    "macs": MACS,
    "activations": CostAxis("activations", "activations of an image, thousands", 1e-3),
    "peak_ram_bytes": CostAxis("peak_ram_bytes", "peak RAM for an image in int8, KiB", 1 / KIB),
    "weight_bytes": CostAxis("weight_bytes", "int8 weights and int32 biases, KiB", 1 / KIB),
    "flash_bytes": CostAxis("flash_bytes", "int8 weights, int32 biases and scales, KiB", 1 / KIB),
    "latency": LATENCY,
    "onnx_latency": CostAxis("onnx_latency_seconds", "latency of one image in ONNX Runtime, fp32, ms", 1e3),
    "int8_latency": CostAxis(
        "int8_latency_seconds", "latency of one image in ONNX Runtime, int8, ms", 1e3, "int8_top1"
    ),
    "file_bytes": CostAxis("file_bytes", "size of the compressed file, kB of 1,000 bytes", 1e-3),
    "int8_bytes": CostAxis("int8_bytes", "size of the int8 ONNX file, KiB", 1 / KIB, "int8_top1"),
}
# What latencies in a column depend on besides the network: those of runs that differ in it are not comparable.
PLACES = {
    "latency_seconds": ("host", "device", "threads"),
    "onnx_latency_seconds": ("onnx_host",),
    "int8_latency_seconds": ("onnx_host",),
}
