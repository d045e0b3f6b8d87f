"""The C++ kernels of csrc/ as a library, compiled once for this processor. No torch.

The system's C++ compiler makes it, and the user's cache folder keeps it.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from ctypes import c_float, c_int, c_int64, c_void_p
from pathlib import Path
from typing import Any

from fire.errors import InputError
from fire.files import cache_folder, write
from fire.machine import hardware

SOURCE = Path(__file__).parent / "csrc" / "kernels.cpp"
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-fopenmp", "-fPIC", "-shared")
TYPES = ("fp32", "bf16")


class Pool(ctypes.Structure):
    """The sizes of a pool, as csrc/pool.h has them; those of its output rounded up, as in the Caffe release."""

    _fields_ = [
        (name, c_int64)
        for name in ("images", "height", "width", "channels", "kernel", "step", "out_height", "out_width")
    ]


POINTER, SIZE, INT, FLOAT, POOL = c_void_p, c_int64, c_int, c_float, ctypes.POINTER(Pool)
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "norm_forward": (POINTER, SIZE, SIZE, *[POINTER] * 2, FLOAT, FLOAT, *[POINTER] * 4, INT, POINTER, SIZE, INT),
    "norm_backward": (POINTER, POINTER, SIZE, SIZE, SIZE, *[POINTER] * 4, INT, *[POINTER] * 3, INT),
    "pool_forward": (POINTER, POOL, INT, POINTER, POINTER, INT),
    "pool_backward": (POINTER, POINTER, POOL, POINTER, INT),
    "norm_pool_forward": (POINTER, POOL, *[POINTER] * 2, FLOAT, FLOAT, *[POINTER] * 4, INT, *[POINTER] * 3, INT),
    "norm_pool_backward": (*[POINTER] * 4, POOL, *[POINTER] * 7, INT),
}


class NoCompilerError(InputError):
    """The kernels cannot be compiled here; the message says why."""


@functools.cache
def library() -> ctypes.CDLL:
    """The compiled kernels, compiled now if they were not before. Raises NoCompilerError."""
    compiler = _compiler()
    try:
        path = cache_folder() / f"{_identity(compiler)}.so"
        try:
            loaded = ctypes.CDLL(str(path))
        except OSError:  # it is not there, or damaged
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory() as folder:
                made = Path(folder) / path.name
                _run([*compiler, *FLAGS, str(SOURCE), "-o", str(made)])
                write(path, made.read_bytes())  # at once: others may do the same
            loaded = ctypes.CDLL(str(path))
    except subprocess.CalledProcessError as error:
        reason = next(iter(error.stderr.strip().splitlines()), f"it ends with exit code {error.returncode}")
        raise NoCompilerError(f"{shlex.join(compiler)} cannot be used on {SOURCE}: {reason}") from error
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home folder
        raise NoCompilerError(f"the compiled kernels cannot be kept or loaded: {error}") from error
    for name, arguments in SIGNATURES.items():
        for kind in TYPES:
            function = getattr(loaded, f"{name}_{kind}")
            function.argtypes, function.restype = arguments, None
    return loaded


def available() -> bool:
    """Whether the library can be used here; it is compiled now if it was not before."""
    try:
        library()
    except NoCompilerError:
        return False
    return True


def fastest(device: str) -> str:
    """What train.kernels=auto means on a device, "cpu" or "cuda": "compiled" where that is possible and faster."""
    return "compiled" if device == "cpu" and hardware.suits_kernels() and available() else "torch"


def _compiler() -> list[str]:
    """The command that compiles: the words of the variable CXX ("ccache g++"), or c++."""
    try:
        words = shlex.split(os.environ.get("CXX", "")) or ["c++"]
    except ValueError as error:
        raise NoCompilerError(f"CXX must be a command, got {os.environ['CXX']!r}: {error}") from error
    found = shutil.which(words[0])
    if found is None:
        raise NoCompilerError(f"there is no C++ compiler: {words[0]} is no program; the variable CXX can name another")
    return [found, *words[1:]]


def _run(command: Sequence[str]) -> str:
    """Its output. Raises CalledProcessError."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def _identity(compiler: Sequence[str]) -> str:
    """What the compiled code depends on: source, flags, compiler, and the kind of processor."""
    version = _run([*compiler, "--version"])
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    except OSError:
        processor = platform.processor()
    sources = [path.read_text() for path in sorted(SOURCE.parent.glob("*.[ch]*"))]
    content = "\0".join([*sources, *FLAGS, *compiler[1:], version, platform.machine(), processor])
    return hashlib.sha256(content.encode()).hexdigest()[:16]
