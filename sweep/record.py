"""The record of a run: what it was, what it led to, and its form as JSON. Standard library only."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from fire.cost import COSTS
from fire.errors import InputError, require
from sweep import typed
from sweep.config import RunConfig

FORMAT = 1
Status = Literal["finished", "failed", "stopped"]


@dataclass(frozen=True, kw_only=True)
class Record:
    """One run. What is not known is None, never 0. Accuracies are fractions of 1, losses nats; sizes are of fp32.

    top1, top5 and loss are of the test set; validation_top1 and validation_loss of the validation set. Those of a
    compressed network are of its file, decoded. A run that was stopped before its recipe's end goes on when it is
    launched again; `epochs` says where it stopped, and the test set has not been looked at.
    """

    key: str
    status: Status
    config: RunConfig | None  # None: this version knows no such run, and `unknown` says why
    parameters: int
    macs: int  # per image
    activations: int  # per image
    size_bytes: int
    # Of int8, by fire.cost. Records older than these fields get them when they are read.
    peak_ram_bytes: int | None = None
    weight_bytes: int | None = None
    flash_bytes: int | None = None
    data_title: str | None = None  # the data set's name for people, which a launch may change: the option data_title
    error: str | None = None
    traceback: str | None = None
    warning: str | None = None  # of a run that did not fail, but whose accuracy may mislead
    top1: float | None = None
    top5: float | None = None
    loss: float | None = None
    validation_top1: float | None = None
    validation_loss: float | None = None
    train_loss: float | None = None
    epochs: int | None = None  # trained so far; of a stopped run, its rung
    latency_seconds: float | None = None  # of one image: fire.machine.latency
    train_seconds: float | None = None  # of training steps, over all attempts
    images_per_second: float | None = None
    images_skipped: int | None = None  # which could not be read
    left_out: str | None = None  # what else an image folder held: "3 .txt, 2 hidden"
    weights_bytes: int | None = None  # size of weights.safetensors
    float_key: str | None = None  # of a compressed network: the run it was made from
    float_top1: float | None = None  # its top1 then: it may have been trained again since
    float_validation_top1: float | None = None  # its network's in fp32, as the file's; while trained it may be bf16's
    file_bytes: int | None = None  # size of network.fcn
    overhead_bytes: int | None = None  # of it: header, tables, checksums
    nonzero: int | None = None  # weights and biases in it that are not 0
    # Of network.onnx and network.int8.onnx, run in ONNX Runtime: top1 and loss of the test set; seconds of an image on
    # one thread, the median and the distance between the quartiles.
    onnx_bytes: int | None = None
    onnx_top1: float | None = None
    onnx_loss: float | None = None
    onnx_latency_seconds: float | None = None
    onnx_latency_spread: float | None = None
    int8_bytes: int | None = None
    int8_top1: float | None = None
    int8_loss: float | None = None
    int8_validation_top1: float | None = None
    int8_latency_seconds: float | None = None
    int8_latency_spread: float | None = None
    tuned_epochs: int | None = None  # of fine-tuning with int8 numbers, before network.int8.onnx was made
    onnx_host: str | None = None  # where the files were run
    onnxruntime: str | None = None
    precision: str | None = None  # what `auto` chose
    kernels: str | None = None  # likewise
    threads: int | None = None
    device: str | None = None
    host: str | None = None
    torch: str | None = None
    git_commit: str | None = None
    git_dirty: bool | None = None
    start: str | None = None  # ISO 8601, UTC
    end: str | None = None
    format: int = FORMAT
    unknown: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What a record's file has in place of a configuration."""

    arch: dict[str, Any]  # every metaparameter, and the family: squeezenet | alexnet | resnet8
    data: dict[str, Any]
    train: dict[str, Any]
    seed: int
    compress: dict[str, Any] = field(default_factory=dict)  # method and its settings; empty: not compressed


RUN = [each.name for each in dataclasses.fields(_Run)]
FRACTIONS = (
    "top1",
    "top5",
    "validation_top1",
    "float_top1",
    "float_validation_top1",
    "onnx_top1",
    "int8_top1",
    "int8_validation_top1",
)
POSITIVE = (
    *("parameters", "macs", "activations", "size_bytes", "peak_ram_bytes", "weight_bytes", "flash_bytes"),
    *("file_bytes", "latency_seconds", "onnx_bytes", "onnx_latency_seconds", "int8_bytes", "int8_latency_seconds"),
)


def dump(record: Record) -> str:
    """The record as JSON. Raises ValueError if a number is not finite."""
    assert record.config is not None, "a record of another version is read, never written"
    values = {name: value for name, value in vars(record).items() if name not in ("config", "unknown")}
    parts = record.config.parts
    content = {
        **{name: values.pop(name) for name in ("key", "status")},
        **{name: parts[name] for name in ("arch", "data", "train")},
        "seed": record.config.seed,
        **{name: values.pop(name) for name in COSTS},
        "compress": parts["compress"],
        **values,
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def parse(content: bytes, key: str) -> Record:
    """The record of JSON.

    Raises ValueError unless it is this run's and one that this program can have written: stores may be merged.
    """
    values = typed.parse(content)
    parts = {name: values.pop(name) for name in RUN if name in values} if type(values) is dict else values
    run = typed.build(_Run, parts)
    config, unknown = None, None
    try:
        config = RunConfig.of_parts(**vars(run))
    except InputError as error:
        unknown = str(error)
    record = typed.build(Record, values | {"config": config, "unknown": unknown})
    if (record.key, record.format) != (key, FORMAT):
        raise ValueError(f"key and format must be {key} and {FORMAT}, got {record.key} and {record.format}")
    _check(record)
    missing = [name for name in COSTS if getattr(record, name) is None]
    if config is None or not missing:
        return record
    return dataclasses.replace(record, **{name: getattr(config.cost, name) for name in missing})


def _check(record: Record) -> None:
    """Raise SpecError for numbers that this program cannot have written."""
    for name in FRACTIONS:
        value = getattr(record, name)
        if value is not None and not 0 <= value <= 1:
            require(False, name, "in [0, 1]", value)
    for name in POSITIVE:
        value = getattr(record, name)
        if value is not None and not value > 0:
            require(False, name, "above 0", value)
