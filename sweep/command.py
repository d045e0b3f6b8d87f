"""What the commands share: errors of the user's on one line, exit codes, and a run with its display."""

import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from fire.errors import InputError
from sweep.config import one_line
from sweep.display import Display, print_summary
from sweep.plan import Point
from sweep.store import Store
from sweep.sweepers import SweepFailedError, unfinished

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130


def guarded(program: str, command: Callable[[], None], resumes: str = "") -> None:
    """Call the command; what it raises for the user becomes one line behind the program's name, and an exit code.

    resumes: what is said to who interrupts it.
    """
    signal.signal(signal.SIGTERM, _terminate)
    try:
        command()
    except InputError as error:
        stop(program, str(error), BAD_INPUT)
    except (HydraException, OmegaConfBaseException) as error:
        stop(program, one_line(error), BAD_INPUT)
    except SweepFailedError:
        sys.exit(FAILED)
    except KeyboardInterrupt:
        stop(program, "interrupted" + resumes, INTERRUPTED)


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

        with Display([point]) as display:
            display.started(point.key)
            record = run(point.config, lambda progress: display.progress(point.key, progress))
            display.ended(point.key, record)
    return print_summary(Store(point.config.results_dir), [point])


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
