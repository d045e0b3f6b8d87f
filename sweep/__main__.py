"""python -m sweep: one run, or a sweep. See --help."""

import os
import sys

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig

from fire.errors import InputError
from sweep import usage
from sweep.command import BAD_INPUT, FAILED, guarded, run_one, stop
from sweep.config import CONF, PARTS, load, register_schema
from sweep.plan import Point
from sweep.search.spec import quoted
from sweep.sweepers import refuse_search


def main() -> None:
    """Hydra's main function, with errors of the user's on one line and an exit code for each outcome."""
    register_schema()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors instead of printing them over several lines
    guarded("sweep", _main, "; the same command goes on from the last epochs")


def _main() -> None:
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(usage.text([argument for argument in sys.argv[1:] if not argument.startswith("-")]))
        return
    # Hydra wants -m first.
    sys.argv[1:] = sorted(map(quoted, sys.argv[1:]), key=lambda argument: argument not in ("-m", "--multirun"))
    arguments, unknown = get_args_parser().parse_known_args()
    for flag in unknown:
        if flag.startswith("-"):
            raise InputError(f"arguments must be KEY=VALUE or flags of --hydra-help, got {flag!r}")
    for override in OverridesParser.create().parse_overrides(arguments.overrides):
        key = override.get_key_element()
        if override.is_delete() and not key.startswith("hydra"):
            raise InputError(f"arguments must be KEY=VALUE, got {override.input_line!r}")
        if key in (*PARTS, "experiment") and override.value() is None:  # Hydra's own answer would be a traceback
            raise InputError(f"{key} must be the name of one of conf/{key}/*.yaml, got null")
        if key == "experiment" and override.is_sweep_override():  # each has axes of its own, which would be left out
            raise InputError(f"experiment must be one name, one launch after another, got {override.input_line!r}")
    hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(_task)()


def _task(cfg: DictConfig) -> None:
    """One run; in a sweep with a launcher of Hydra's, a run's failure is left to the store and the sweeper."""
    try:
        refuse_search(HydraConfig.get().overrides.task)
        config = load(cfg)
        point = Point(
            overrides=tuple(HydraConfig.get().overrides.task), config=config, key=config.key, cost=config.cost
        )
        finished = run_one(point)
    except InputError as error:  # here, since Hydra would put a line of its own before it
        stop("sweep", str(error), BAD_INPUT)
    if not finished and HydraConfig.get().mode == RunMode.RUN:
        raise SystemExit(FAILED)


if __name__ == "__main__":
    main()
