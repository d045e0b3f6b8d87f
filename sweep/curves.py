"""Training curves as CSV, a row an epoch. Standard library only."""

import csv
import dataclasses
import io
import math
from collections.abc import Sequence

from fire.train.progress import Epoch

COLUMNS = [field.name for field in dataclasses.fields(Epoch)]


def dump(curve: Sequence[Epoch]) -> str:
    """The curve as CSV; its numbers come back to the last bit."""
    rows = [COLUMNS, *([repr(value) for value in dataclasses.astuple(row)] for row in curve)]
    return "".join(",".join(row) + "\n" for row in rows)


def parse(content: bytes) -> tuple[Epoch, ...]:
    """The curve that `dump` wrote; further columns are passed over.

    Raises ValueError unless the rows are those of epochs 1, 2, 3, ..., whole and finite.
    """
    curve: list[Epoch] = []
    try:
        rows = csv.DictReader(io.StringIO(content.decode()))
        if not set(COLUMNS) <= set(rows.fieldnames or ()):
            raise ValueError("the columns must be those of an epoch: " + ", ".join(COLUMNS))
        for row in rows:
            values = [float(row[name]) for name in COLUMNS]
            if values[0] != len(curve) + 1 or not all(map(math.isfinite, values)):
                raise ValueError(f"row {len(curve) + 1} must be that of epoch {len(curve) + 1}, in finite numbers")
            curve.append(Epoch(epoch=len(curve) + 1, **dict(zip(COLUMNS[1:], values[1:], strict=True))))
    except (TypeError, csv.Error) as error:  # such as a row that is cut short
        raise ValueError(f"row {len(curve) + 1} must be whole") from error
    return tuple(curve)
