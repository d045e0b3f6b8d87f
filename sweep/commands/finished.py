"""The finished run that a command line names by its folder."""

from pathlib import Path
from typing import NoReturn

from fire.errors import InputError
from sweep.config import RunConfig
from sweep.store import COMPRESSED, WEIGHTS, Damage, Store


def config_of(folder: Path, *, compressed: bool) -> RunConfig:
    """The configuration of the finished run in the folder, which holds its weights.

    compressed: whether it may be a compressed network's run. Raises InputError if there is no such run.
    """
    kind = "a finished run" if compressed else "a finished run without compression"

    def refuse_folder(reason: str) -> NoReturn:
        raise InputError(f"the run must be the folder of {kind}, got {str(folder)!r}: {reason}")

    if not folder.is_dir():
        refuse_folder("there is no such folder")
    damaged: list[Damage] = []
    record = Store(folder.parent).read(folder.name, damaged.append)
    if record is None:
        runs = sum(1 for _ in folder.glob("*/record.json"))
        known = f"it holds {runs} runs, of which one must be chosen" if runs else "it holds no record.json"
        refuse_folder(str(damaged[0]) if damaged else known)
    is_compressed = record.config is not None and record.config.is_compressed
    if is_compressed and not compressed:
        refuse_folder("it is compressed already")
    if record.status != "finished":
        refuse_folder(f"it is {record.status}")
    weights = COMPRESSED if is_compressed else WEIGHTS
    if not (folder / weights).is_file():
        refuse_folder(f"it has no {weights}")
    if record.config is None or record.config.key != record.key:
        refuse_folder("this version of the program knows no such run")
    return record.config
