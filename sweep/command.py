"""What the commands share: errors of the user's on one line, exit codes, their arguments, a run with its display."""

import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from fire.errors import InputError, MissingDataError, require
from sweep.arithmetic import arithmetic_of, described, with_arithmetic
from sweep.config import presets
from sweep.display import Display, console, print_summary
from sweep.hydra_errors import input_errors, one_line
from sweep.overrides import as_typed
from sweep.plan import Point
from sweep.store import Store
from sweep.sweepers import SweepFailedError, unfinished

FAILED, BAD_INPUT, NO_DATA, INTERRUPTED = 1, 2, 69, 130  # 69: EX_UNAVAILABLE of sysexits.h


def guarded(program: str, command: Callable[[], None], resumes: str = "") -> None:
    """Call the command; what it raises for the user becomes one line behind the program's name, and an exit code.

    resumes: what is said to who interrupts it.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        command()
    except InputError as error:
        refuse_input(program, error)
    except (HydraException, OmegaConfBaseException) as error:
        stop(program, one_line(error), BAD_INPUT)
    except SweepFailedError:
        sys.exit(FAILED)
    except KeyboardInterrupt:
        stop(program, "interrupted" + resumes, INTERRUPTED)


def first(arguments: Sequence[str], what: str) -> tuple[Path, list[str]]:
    """The path that the arguments begin with, and the overrides. Raises InputError if they begin with an override."""
    path, *overrides = arguments
    if path.startswith("-") or ("=" in path and not Path(path).exists()):
        raise InputError(f"{what} must come first, got {path!r}")
    return Path(path), overrides


def compose(overrides: Sequence[str], parts: Sequence[str], options: Sequence[str]) -> DictConfig:
    """The configuration with overrides of some parts and options. Raises InputError for others, and for lists."""
    overrides = [as_typed(override) for override in overrides]
    for override in overrides:
        key = override.partition("=")[0]
        if key.partition(".")[0] not in parts and key not in options:
            known = ", ".join([*(f"{part}, {part}.*" for part in parts), *options])
            raise InputError(f"arguments must be KEY=VALUE with KEY one of {known}, got {override!r}")
    with input_errors():
        every = OverridesParser.create().parse_overrides(overrides)
    for parsed in every:
        require(not parsed.is_sweep_override(), parsed.get_key_element(), "one value", parsed.input_line)
    with presets(), input_errors():
        return hydra.compose("config", overrides=overrides)


def refuse_input(program: str, error: InputError) -> NoReturn:
    """Exit with the error on one line; if only the data set is missing, with the command that trains on another."""
    if not isinstance(error, MissingDataError):
        stop(program, str(error), BAD_INPUT)
    if program != "sweep":
        stop(program, str(error), NO_DATA)
    others = [argument for argument in sys.argv[1:] if not argument.startswith(("data=", "data."))]
    command = shlex.join(["python", "-m", "sweep", *others, "data=digits"])
    stop(program, f"{error}. To train on scikit-learn's digits instead: {command}", NO_DATA)


def stop(program: str, message: str, code: int) -> NoReturn:
    """Exit with a line on standard error."""
    print(f"{program}: {message}", file=sys.stderr)
    sys.exit(code)


def run_one(point: Point) -> bool:
    """Run the point, with its progress shown; whether it has finished."""
    todo = unfinished([point])
    if todo is None:
        return True
    if todo:
        from sweep.run import run  # torch is imported here, when something trains

        arithmetic = arithmetic_of(point.config, former=None)
        config = with_arithmetic(point.config, arithmetic)
        console().print(f"computed in {described(arithmetic, config)}")
        with Display([point]) as display:
            display.started(point.key)
            record = run(config, lambda progress: display.progress(point.key, progress))
            display.ended(point.key, record)
    return print_summary(Store(point.config.results_dir), [point])


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
