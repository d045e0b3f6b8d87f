"""A process that dies, or a disk that fills up, at one of the file operations below a folder."""

import builtins
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class Died(BaseException):
    """The end of a process: nothing may catch it, or clean up after it."""


class Operations:
    """What this process does to files below a folder: opens them for writing, renames and removes them.

    done: what was done. Where as many are done as `limit` says, `fail` is called instead of the next, and of all that
    come after it.
    """

    def __init__(self, folder: Path, limit: float, fail: Callable[[], None]) -> None:
        self.done: list[str] = []
        self._folder, self._limit, self._fail = str(folder), limit, fail
        self._open, self._replace, self._unlink = builtins.open, os.replace, os.unlink

    def _meet(self, operation: str, path: Any) -> None:
        if str(path).startswith(self._folder):
            if len(self.done) >= self._limit:
                self._fail()
            self.done.append(f"{operation} {Path(path).name}")

    def open(self, file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if set(mode) & set("wax") and Path(file).name != ".lock":
            self._meet("open", file)
        return self._open(file, mode, *arguments, **options)

    def replace(self, source: Any, target: Any, **options: Any) -> None:
        self._meet("rename", target)
        self._replace(source, target, **options)

    def unlink(self, path: Any, **options: Any) -> None:
        if Path(path).exists():
            self._meet("unlink", path)
        self._unlink(path, **options)


def die() -> None:
    raise Died


def operations(
    patch: pytest.MonkeyPatch, folder: Path, limit: float = float("inf"), fail: Callable[[], None] = die
) -> Operations:
    """Watch the operations below the folder for as long as the patch lasts."""
    made = Operations(folder, limit, fail)
    patch.setattr(builtins, "open", made.open)
    for name in ("replace", "unlink"):
        patch.setattr(os, name, getattr(made, name))
    return made
