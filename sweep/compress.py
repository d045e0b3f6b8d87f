"""python -m sweep.compress RUN [compress=METHOD] [compress.setting=value] [option=value]: compress a finished run.

RUN is its folder, results/<key>. METHOD is deep_compression, unless said, or entropy. The compressed network is a run
of its own beside it: RUN's configuration with compress=METHOD, which `python -m sweep` leads to as well. Options are
data_dir, device, dry_run and threads.
"""

from dataclasses import replace
from pathlib import Path

from fire.errors import InputError
from sweep.commands import command
from sweep.commands.finished import config_of
from sweep.compose import load, options_of
from sweep.config import Options, RunConfig
from sweep.points import BY_GROUP, Point, refuse, refuse_unread

OPTIONS = ("data_dir", "device", "dry_run", "threads")


def main() -> None:
    """Run the command."""
    command.main("sweep.compress", _main, __doc__)


def _main(arguments: list[str]) -> None:
    folder, overrides = command.first(arguments, "the folder of a run")
    config, options = compressed_config(folder, overrides)
    command.run_one(Point(overrides=tuple(overrides), config=config), options, anew=False)


def compressed_config(folder: Path, overrides: list[str]) -> tuple[RunConfig, Options]:
    """The configuration of the run in the folder, with what the overrides say of its compression, and the options.

    Raises InputError if there is no finished run, or an override is of something else.
    """
    folder = folder.resolve()  # "." has no name, by which the store knows a run
    trained = config_of(folder, compressed=False)
    refuse(overrides, ["compress.method"], BY_GROUP)
    if not any(override.startswith("compress=") for override in overrides):
        overrides = ["compress=deep_compression", *overrides]
    cfg = command.compose(overrides, ["compress"], OPTIONS)
    config = load(cfg)
    if not config.is_compressed:
        raise InputError("compress must be deep_compression or entropy, got none")
    refuse_unread(overrides, [config])
    return replace(trained, compress=config.compress), replace(options_of(cfg), results_dir=str(folder.parent))


if __name__ == "__main__":
    main()
