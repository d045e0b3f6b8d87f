"""python -m sweep.compress RUN [compress=METHOD] [compress.setting=value] [option=value]: compress a finished run.

RUN is its folder, results/<key>. METHOD is deep_compression, unless said, or entropy. The compressed network is a run
of its own beside it: RUN's configuration with compress=METHOD, which `python -m sweep` leads to as well.
"""

import dataclasses
import sys
from pathlib import Path

import hydra

from fire.arch import FAMILIES
from fire.errors import InputError
from fire.recipe import DataSpec, TrainSpec
from sweep.command import FAILED, guarded, run_one
from sweep.config import CONF, RunConfig, RunOptions, load, register_schema
from sweep.plan import Point
from sweep.store import WEIGHTS, Store

OPTIONS = {field.name for field in dataclasses.fields(RunOptions)} - {"seed", "results_dir"}


def main() -> None:
    """Run the command."""
    guarded("sweep.compress", lambda: _main(sys.argv[1:]))


def _main(arguments: list[str]) -> None:
    if not arguments or {"-h", "--help"} & set(arguments):
        print(__doc__)
        return
    folder, *overrides = arguments
    config = compressed_config(Path(folder), overrides)
    point = Point(overrides=tuple(overrides), config=config, key=config.key, cost=config.cost)
    if not run_one(point):
        sys.exit(FAILED)


def compressed_config(folder: Path, overrides: list[str]) -> RunConfig:
    """The configuration of the run in the folder, with what the overrides say of its compression.

    Raises InputError if there is no finished run, or an override is of something else.
    """
    record = Store(folder.parent).read(folder.name)
    if record is None or record.status != "finished" or record.compress:
        raise InputError(f"the run must be the folder of a finished run without compression, got {str(folder)!r}")
    if not (folder / WEIGHTS).is_file():
        raise InputError(f"the run must have its {WEIGHTS}, got {str(folder)!r} without")
    for override in overrides:
        if override.startswith("compress.method="):
            raise InputError(f"the method must be chosen with compress=, which has its settings, got {override!r}")
        name = override.partition("=")[0]
        if name.partition(".")[0] != "compress" and name not in OPTIONS:
            raise InputError(f"overrides must be of compress or one of {', '.join(sorted(OPTIONS))}, got {override!r}")
    register_schema()
    if not any(override.startswith("compress=") for override in overrides):
        overrides = ["compress=deep_compression", *overrides]
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = load(hydra.compose("config", overrides=overrides))
    if not config.is_compressed:
        raise InputError("compress must be deep_compression or entropy, got none")
    family = FAMILIES[record.arch["family"]]
    return dataclasses.replace(
        config,
        arch=family(**{name: value for name, value in record.arch.items() if name != "family"}),
        data=DataSpec(**record.data),
        train=TrainSpec(**record.train),
        seed=record.seed,
        results_dir=str(folder.parent),
    )


if __name__ == "__main__":
    main()
