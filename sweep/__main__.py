"""python -m sweep: one run, or a sweep. See --help."""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fire.errors import InputError
from sweep import usage
from sweep.config import CONF, PARTS, load, one_line, register_schema
from sweep.display import Display, print_summary
from sweep.plan import Point
from sweep.store import Store
from sweep.sweepers import SweepFailedError, unfinished

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130


def main() -> None:
    """Hydra's main function, with errors of the user's on one line and an exit code for each outcome."""
    register_schema()
    signal.signal(signal.SIGTERM, _terminate)
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors instead of printing them over several lines
    try:
        if {"-h", "--help"} & set(sys.argv[1:]):
            print(usage.text([argument for argument in sys.argv[1:] if not argument.startswith("-")]))
            return
        for part in PARTS:  # Hydra's own answer would be a traceback
            if f"{part}=null" in sys.argv:
                raise InputError(f"{part} must be the name of one of conf/{part}/*.yaml, got null")
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(_task)()
    except InputError as error:
        _stop(str(error), BAD_INPUT)
    except (HydraException, OmegaConfBaseException) as error:
        _stop(one_line(error), BAD_INPUT)
    except SweepFailedError:
        sys.exit(FAILED)
    except KeyboardInterrupt:
        _stop("interrupted; the same command goes on from the last epochs", INTERRUPTED)


def _task(cfg: DictConfig) -> None:
    """One run; in a sweep with a launcher of Hydra's, a run's failure is left to the store and the sweeper."""
    try:
        config = load(cfg)
        point = Point(
            overrides=tuple(HydraConfig.get().overrides.task), config=config, key=config.key, cost=config.cost
        )
        finished = _run_one(point)
    except InputError as error:  # here, since Hydra would put a line of its own before it
        _stop(str(error), BAD_INPUT)
    if not finished and HydraConfig.get().mode == RunMode.RUN:
        raise SystemExit(FAILED)


def _run_one(point: Point) -> bool:
    """Run the point, with its progress shown; whether it has finished."""
    todo = unfinished([point])
    if todo is None:
        return True
    if todo:
        from sweep.run import run  # torch is imported here, when something trains

        with Display([point]) as display:
            display.started(point.key)
            record = run(point.config, lambda progress: display.progress(point.key, progress))
            display.ended(point.key, record)
    return print_summary(Store(point.config.results_dir), [point])


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _stop(message: str, code: int) -> NoReturn:
    print(f"sweep: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
