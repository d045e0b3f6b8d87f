"""python -m sweep: one run, or a sweep. See --help."""

import os
import sys
from typing import Any

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from fire.errors import InputError, require
from sweep import usage
from sweep.command import FAILED, guarded, refuse_input, run_one
from sweep.config import CONF, PARTS, load, register_schema
from sweep.overrides import as_typed
from sweep.plan import BY_GROUP, IN_A_SEARCH, IN_A_SWEEP, OF_SWEEPS, Point, refuse, refuse_unread
from sweep.search.spec import quoted

SWEEPER = "store"  # which conf/config.yaml chooses


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
    sys.argv[1:] = sorted(
        (as_typed(quoted(argument)) for argument in sys.argv[1:]),
        key=lambda argument: argument not in ("-m", "--multirun"),
    )
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
    alone = HydraConfig.get().mode == RunMode.RUN
    overrides: Any = OmegaConf.to_container(HydraConfig.get().overrides.task)  # which may hold interpolations
    try:
        if alone:
            sweeper = HydraConfig.get().runtime.choices["hydra/sweeper"]
            require(sweeper == SWEEPER, "hydra/sweeper", IN_A_SWEEP, sweeper)
            refuse(overrides, ["search"], IN_A_SEARCH)
            refuse(overrides, OF_SWEEPS, IN_A_SWEEP)
            refuse(overrides, ["compress.method"], BY_GROUP)
        config = load(cfg)
        if alone:
            refuse_unread(overrides, [config])
        finished = run_one(Point(overrides=tuple(overrides), config=config, key=config.key, cost=config.cost))
    except InputError as error:  # here, since Hydra would put a line of its own before it
        refuse_input("sweep", error)
    if not finished and alone:
        raise SystemExit(FAILED)


if __name__ == "__main__":
    main()
