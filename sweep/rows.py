"""A record as a flat row: its fields, and its settings under the names of columns. Standard library only."""

import dataclasses
import functools
import operator
from typing import Any

from fire import fields
from fire.arch import FAMILIES
from fire.compress.spec import CompressSpec
from fire.data.spec import DataSpec
from fire.errors import InputError, require
from fire.train.spec import TrainSpec
from sweep.record import Record

COLUMNS = [field.name for field in dataclasses.fields(Record) if field.name not in ("config", "unknown")]
# The columns of each part's settings.
SETTINGS = {
    "arch": ("family", *(field.name for spec in FAMILIES.values() for field in dataclasses.fields(spec))),
    "data": ("data", *(f"data.{field.name}" for field in dataclasses.fields(DataSpec))),
    "train": tuple(f"train.{field.name}" for field in dataclasses.fields(TrainSpec)),
    "compress": ("compress", *(f"compress.{field.name}" for field in dataclasses.fields(CompressSpec))),
}
ORDER = [*COLUMNS, "seed", *(name for names in SETTINGS.values() for name in names)]
VALUES = operator.attrgetter(*COLUMNS)
NAMED_BY = {"data": "name", "compress": "method"}  # the setting whose column is named as its part


def row_of(record: Record) -> dict[str, Any]:
    """The record flat, its settings beside its fields.

    Raises InputError if it is none that this version can have written: stores may be merged.
    """
    config = record.config
    if config is None:
        raise InputError(record.unknown)
    # dataclasses.asdict copies deeply, 8 times slower.
    values = {name: _text(value) for name, value in zip(COLUMNS, VALUES(record), strict=True)}
    if record.status == "finished":
        for name in ("top1", "validation_top1"):
            require(values[name] is not None, name, "known of a finished run", None)
    return {
        **values,
        "seed": config.seed,
        "family": config.family,
        **vars(config.arch),
        **_columns("data", config.data),
        **_columns("train", config.train),
        **_columns("compress", config.compress),
    }


def _text(value: Any) -> Any:
    """The value; of a text, \\udce9 for what is no character, as in paths of other encodings: tables hold UTF-8."""
    if type(value) is not str or value.isascii():
        return value
    return value.encode(errors="backslashreplace").decode()


@functools.lru_cache(maxsize=1024)  # runs share most of their settings
def _columns(part: str, spec: Any) -> dict[str, Any]:
    """The columns of the settings that the part reads: what else differs makes no other run.

    Raises InputError for text that tables could not show.
    """
    columns = {}
    for name, value in fields.read(spec).items():
        require(not isinstance(value, str) or value.isprintable(), name, "printable", value)
        columns[part if name == NAMED_BY.get(part) else f"{part}.{name}"] = value
    return columns
