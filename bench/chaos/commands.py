"""Commands of this project, each in a process of its own, with faults put in by the library of calls.c.

The process of `python -m bench.chaos` imports what commands need, and each command is forked from it: a launch then
takes a tenth of a second, not four.
"""

import atexit
import contextlib
import os
import resource
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from ctypes import CDLL
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = Path(__file__).parent / "calls.c"
LIBRARY = "CHAOS_LIBRARY"  # the environment's name for the compiled library


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended. code: -n if signal n killed it. calls: those that wrote below the watched folder.

    struck: whether the fault struck one of its calls. scratch: the folder of its output and of its temporary files,
    which is gone. orphans: how many of its processes would not end after the first one.
    """

    code: int
    out: str
    err: str
    calls: list[str] = field(default_factory=list)
    struck: bool = False
    cpu_seconds: float = 0.0
    peak_bytes: int = 0
    scratch: Path | None = None
    orphans: int = 0


@dataclass(frozen=True, kw_only=True)
class Faults:
    """What goes wrong in a command; see calls.c. By default its calls are only listed."""

    folder: Path
    fault: str = ""
    at: int = 0
    gone: Path | None = None  # the folder that vanishes
    clock: float = 0.0  # seconds
    host: str = ""

    def environment(self, scratch: Path) -> dict[str, str]:
        """The settings for the library. scratch: where it may count."""
        settings = {
            "CHAOS_FOLDER": str(self.folder),
            "CHAOS_COUNT": str(scratch / "count"),
            "CHAOS_CALLS": str(scratch / "calls"),
            "CHAOS_CLOCK": str(self.clock),
        }
        if self.fault:
            settings |= {"CHAOS_FAULT": self.fault, "CHAOS_AT": str(self.at)}
        if self.gone is not None:
            settings["CHAOS_GONE"] = str(self.gone)
        return settings | ({"CHAOS_HOST": self.host} if self.host else {})


def preload() -> None:
    """Have this process be one with the library and what commands import; it begins anew for that."""
    if LIBRARY not in os.environ:
        folder = Path(tempfile.mkdtemp(prefix="chaos-"))
        library = folder / "calls.so"
        flags = ["-O2", "-Wall", "-fPIC", "-shared", str(SOURCE), "-o", str(library), "-ldl"]
        subprocess.run([os.environ.get("CC", "cc"), *flags], check=True)
        environment = {
            **os.environ,
            LIBRARY: str(library),
            "LD_PRELOAD": str(library),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
        }
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)
    import sweep.preloaded  # noqa: F401 (imported for the commands)


def remove_library() -> None:
    """Remove what `preload` made."""
    shutil.rmtree(Path(os.environ[LIBRARY]).parent, ignore_errors=True)


class Command:
    """A function of this project as a command under way. It is the first process of a session of its own."""

    def __init__(self, action: Callable[[], None], faults: Faults | None = None, memory: int | None = None) -> None:
        """memory: the most bytes of addresses that each of its processes may have."""
        self._scratch = Path(tempfile.mkdtemp(prefix="chaos-"))
        (self._scratch / "count").write_bytes(bytes(16))
        for name in ("calls", "out", "err"):  # the process may be killed before it makes them
            (self._scratch / name).touch()
        settings = {} if faults is None else faults.environment(self._scratch)
        sys.stdout.flush()
        self.process = os.fork()
        if self.process == 0:
            _be(action, self._scratch, settings, memory)

    @property
    def calls(self) -> list[str]:
        """The calls so far, each with its path."""
        return (self._scratch / "calls").read_text(errors="replace").splitlines()

    def alive(self) -> list[int]:
        """The numbers of its processes that have not ended."""
        return [number for number in _processes() if _session(number) == self.process]

    def poll(self) -> bool:
        """Whether the first process has ended."""
        return os.waitid(os.P_PID, self.process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def finish(self, seconds: float = 600) -> Ended:
        """Wait for the end of all its processes. If the first takes longer, all are killed; its code is then -14."""
        end = time.monotonic() + seconds
        while not self.poll() and time.monotonic() < end:
            time.sleep(0.005)
        late = not self.poll()
        if late:
            os.killpg(self.process, signal.SIGKILL)
        _, status, usage = os.wait4(self.process, 0)
        orphans = len(self._orphans())  # before the output is read: workers write to it until they end
        texts = [(self._scratch / name).read_text(errors="replace") for name in ("out", "err")]
        calls, struck = self.calls, any((self._scratch / "count").read_bytes()[8:])
        shutil.rmtree(self._scratch, ignore_errors=True)
        return Ended(
            code=-signal.SIGALRM if late else os.waitstatus_to_exitcode(status),
            out=texts[0],
            err=texts[1],
            calls=calls,
            struck=struck,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            peak_bytes=usage.ru_maxrss * 1024,
            scratch=self._scratch,
            orphans=orphans,
        )

    def _orphans(self, seconds: float = 10) -> list[int]:
        """Its processes that outlive the first one by this many seconds; they are killed then."""
        end = time.monotonic() + seconds
        while (left := self.alive()) and time.monotonic() < end:
            time.sleep(0.02)
        for number in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        return left


def module(name: str, *arguments: str) -> Callable[[], None]:
    """What `python -m NAME ARGUMENTS` does."""

    def action() -> None:
        sys.argv = [name, *arguments]
        runpy.run_module(name, run_name="__main__", alter_sys=True)

    return action


def run(name: str, *arguments: str, faults: Faults | None = None) -> Ended:
    """`python -m NAME ARGUMENTS` from its launch to its end."""
    return Command(module(name, *arguments), faults).finish()


def _be(action: Callable[[], None], scratch: Path, settings: dict[str, str], memory: int | None) -> None:
    """What the forked process does; it never returns."""
    code = 1
    try:
        os.setsid()
        for number, name in enumerate(("out", "err"), start=1):
            os.dup2(os.open(scratch / name, os.O_WRONLY | os.O_APPEND), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if memory is not None:
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        tempfile.tempdir = str(scratch)  # else those of a killed command would stay
        os.environ.update(settings, TMPDIR=tempfile.tempdir)
        CDLL(os.environ[LIBRARY]).chaos_arm()
        action()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()  # which os._exit leaves out
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def parent(process: int) -> int | None:
    """The number of a process's parent; None if it has ended, waited for or not."""
    return _number(process, 1)


def _session(process: int) -> int | None:
    return _number(process, 3)


def _number(process: int, place: int) -> int | None:
    """A number of what Linux says of a process; None if it has ended, waited for or not."""
    try:
        # "number (name) state parent group session ...": the name may hold anything, also ")".
        fields = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[place])
