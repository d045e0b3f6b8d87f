"""How commands end: errors of the user's on one line, exit codes, output that outlives its reader.

Standard library only: analysis ends so too.
"""

import argparse
import io
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, TextIO

from fire.errors import InputError, MissingDataError

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
NO_DATA, ELSEWHERE = os.EX_UNAVAILABLE, os.EX_TEMPFAIL  # 69 and 75


class RunsError(Exception):
    """Not all runs have finished. The message is empty where runs and reasons have been printed."""

    def __init__(self, message: str = "", code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


def main(program: str, command: Callable[[], None], resumes: str = "") -> None:
    """Run a command as this process, with its errors as `guarded` has them. SIGTERM ends it as Ctrl-C does."""
    signal.signal(signal.SIGTERM, _interrupt)
    with _surviving_streams() as lost:
        try:
            guarded(program, command, resumes)
        except SystemExit as end:
            if end.code:
                raise  # the first error is the one to mend
        for error in lost():
            if not isinstance(error, BrokenPipeError):  # who reads no further has what he wants
                stop(program, f"the output cannot be written ({error.strerror})", FAILED)


def guarded(program: str, command: Callable[[], None], resumes: str = "") -> None:
    """Call the command. An error that is the user's to mend becomes one line, and SystemExit with its exit code.

    resumes: text added to the message after Ctrl-C.
    """
    try:
        command()
    except MissingDataError as error:
        stop(program, _with_other_data(program, error), NO_DATA)
    except InputError as error:
        stop(program, str(error), BAD_INPUT)
    except OSError as error:
        stop(program, described(error), BAD_INPUT)
    except RunsError as error:
        if str(error):
            stop(program, str(error), error.code)
        sys.exit(error.code)
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)  # once more ends the process at once, without a traceback
        stop(program, "interrupted" + resumes, INTERRUPTED)


@contextmanager
def runs_begun() -> Iterator[None]:
    """Runs have begun: a file that cannot be used, or any input found to be wrong only now, is a failure."""
    try:
        yield
    except InputError as error:
        raise RunsError(str(error)) from error
    except OSError as error:
        raise RunsError(described(error)) from error


def described(error: OSError) -> str:
    """What the operating system refuses, and why, on one line."""
    file = "a file" if error.filename is None else repr(os.fsdecode(error.filename))
    return f"{file} cannot be used ({error.strerror or error})"


def stop(program: str, message: str, code: int) -> NoReturn:
    """Exit with a line on standard error. What does not print, such as a line's end in an argument, is escaped."""
    line = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in message)
    print(f"{program}: {line}", file=sys.stderr)
    sys.exit(code)


def _with_other_data(program: str, error: MissingDataError) -> str:
    """The error, and for commands that train the one that does so on another data set."""
    if program not in ("sweep", "sweep.device"):
        return str(error)
    others = [argument for argument in sys.argv[1:] if not argument.startswith(("data=", "data."))]
    command = shlex.join(["python", "-m", program, *others, "data=digits"])
    return f"{error}. To train on scikit-learn's digits instead: {command}"


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


class Parser(argparse.ArgumentParser):
    """A parser whose errors are InputError, not usage over several lines."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError."""
        raise InputError(f"arguments must be as --help shows them: {message}")


class _Survivor(io.FileIO):
    """A file descriptor that takes what it is given, also when nobody reads it any more or the disk is full."""

    error: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write, unless a write has failed before."""
        if self.error is None:
            try:
                return super().write(data)
            except OSError as error:
                self.error = error
        return len(data)


@contextmanager
def _surviving_streams() -> Iterator[Callable[[], list[OSError]]]:
    """Put survivors in the place of standard output and error; yields a function that tells why they lost something."""
    before = sys.stdout, sys.stderr
    survivors = [_Survivor(number, "w", closefd=False) if before[number - 1] else None for number in (1, 2)]
    sys.stdout, sys.stderr = map(_text, survivors, before)

    def lost() -> list[OSError]:
        sys.stdout.flush()
        return [survivor.error for survivor in survivors if survivor and survivor.error]

    try:
        yield lost
    finally:
        lost()
        sys.stdout, sys.stderr = before


def _text(survivor: _Survivor | None, former: TextIO) -> TextIO:
    """The stream as text; the null device where the process was started without it."""
    if survivor is None:
        return open(os.devnull, "w")
    by_line = survivor.fileno() == 2 or survivor.isatty()
    buffered = io.BufferedWriter(survivor)
    return io.TextIOWrapper(buffered, former.encoding, errors="backslashreplace", line_buffering=by_line)
