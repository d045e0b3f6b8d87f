"""python -m sweep.compress RUN [compress=METHOD] [compress.setting=value] [option=value]: compress a finished run.

RUN is its folder, results/<key>. METHOD is deep_compression, unless said, or entropy. The compressed network is a run
of its own beside it: RUN's configuration with compress=METHOD, which `python -m sweep` leads to as well. Options are
data_dir, device, dry_run and threads.
"""

import dataclasses
import sys
from pathlib import Path

from fire.errors import InputError
from sweep import command
from sweep.config import RunConfig, load, of_record
from sweep.plan import BY_GROUP, Point, refuse, refuse_unread
from sweep.store import WEIGHTS, Store

OPTIONS = ("data_dir", "device", "dry_run", "threads")


def main() -> None:
    """Run the command."""
    command.guarded("sweep.compress", lambda: _main(sys.argv[1:]))


def _main(arguments: list[str]) -> None:
    if not arguments or {"-h", "--help"} & set(arguments):
        print(__doc__)
        return
    folder, overrides = command.first(arguments, "the folder of a run")
    config = compressed_config(folder, overrides)
    point = Point(overrides=tuple(overrides), config=config, key=config.key, cost=config.cost)
    if not command.run_one(point):
        sys.exit(command.FAILED)


def compressed_config(folder: Path, overrides: list[str]) -> RunConfig:
    """The configuration of the run in the folder, with what the overrides say of its compression.

    Raises InputError if there is no finished run, or an override is of something else.
    """
    record = Store(folder.parent).read(folder.name)
    if record is None or record.status != "finished" or record.compress:
        raise InputError(f"the run must be the folder of a finished run without compression, got {str(folder)!r}")
    if not (folder / WEIGHTS).is_file():
        raise InputError(f"the run must have its {WEIGHTS}, got {str(folder)!r} without")
    trained = of_record(record)
    if trained is None:
        raise InputError(f"the run must be one that this version of the program knows, got {str(folder)!r}")
    refuse(overrides, ["compress.method"], BY_GROUP)
    if not any(override.startswith("compress=") for override in overrides):
        overrides = ["compress=deep_compression", *overrides]
    config = load(command.compose(overrides, ["compress"], OPTIONS))
    if not config.is_compressed:
        raise InputError("compress must be deep_compression or entropy, got none")
    refuse_unread(overrides, [config])
    return dataclasses.replace(
        config,
        arch=trained.arch,
        data=trained.data,
        train=trained.train,
        seed=trained.seed,
        results_dir=str(folder.parent),
    )


if __name__ == "__main__":
    main()
