"""python -m sweep.compress RUN [compress=METHOD] [compress.setting=value] [option=value]: compress a finished run.

RUN is its folder, results/<key>. METHOD is deep_compression, unless said, or entropy. The compressed network is a run
of its own beside it: RUN's configuration with compress=METHOD, which `python -m sweep` leads to as well. Options are
data_dir, device, dry_run and threads.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from fire.errors import InputError
from sweep.commands import command
from sweep.compose import load, options_of
from sweep.config import Options, RunConfig
from sweep.points import BY_GROUP, Point, refuse, refuse_unread
from sweep.store import WEIGHTS, Damage, Store

OPTIONS = ("data_dir", "device", "dry_run", "threads")


def main() -> None:
    """Run the command."""
    command.main("sweep.compress", lambda: _main(sys.argv[1:]))


def _main(arguments: list[str]) -> None:
    if not arguments or {"-h", "--help"} & set(arguments):
        print(__doc__)
        return
    folder, overrides = command.first(arguments, "the folder of a run")
    config, options = compressed_config(folder, overrides)
    command.run_one(Point(overrides=tuple(overrides), config=config), options)


def compressed_config(folder: Path, overrides: list[str]) -> tuple[RunConfig, Options]:
    """The configuration of the run in the folder, with what the overrides say of its compression, and the options.

    Raises InputError if there is no finished run, or an override is of something else.
    """
    folder = folder.resolve()  # "." has no name, by which the store knows a run
    trained = _trained(folder)
    refuse(overrides, ["compress.method"], BY_GROUP)
    if not any(override.startswith("compress=") for override in overrides):
        overrides = ["compress=deep_compression", *overrides]
    cfg = command.compose(overrides, ["compress"], OPTIONS)
    config = load(cfg)
    if not config.is_compressed:
        raise InputError("compress must be deep_compression or entropy, got none")
    refuse_unread(overrides, [config])
    return replace(trained, compress=config.compress), replace(options_of(cfg), results_dir=str(folder.parent))


def _trained(folder: Path) -> RunConfig:
    """The configuration of the finished run in the folder."""

    def refuse_folder(reason: str) -> NoReturn:
        raise InputError(
            f"the run must be the folder of a finished run without compression, got {str(folder)!r}: {reason}"
        )

    if not folder.is_dir():
        refuse_folder("there is no such folder")
    damaged: list[Damage] = []
    record = Store(folder.parent).read(folder.name, damaged.append)
    if record is None:
        runs = sum(1 for _ in folder.glob("*/record.json"))
        known = f"it holds {runs} runs, of which one must be chosen" if runs else "it holds no record.json"
        refuse_folder(str(damaged[0]) if damaged else known)
    if record.config is not None and record.config.is_compressed:
        refuse_folder("it is compressed already")
    if record.status != "finished":
        refuse_folder(f"it is {record.status}")
    if not (folder / WEIGHTS).is_file():
        refuse_folder(f"it has no {WEIGHTS}")
    if record.config is None or record.config.key != record.key:
        refuse_folder("this version of the program knows no such run")
    return record.config


if __name__ == "__main__":
    main()
