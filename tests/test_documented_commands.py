"""The commands in the README and the pages of docs/ have arguments that their own parsers take. Nothing is run."""

import argparse
import importlib
import importlib.util
import re
import shlex
import subprocess
import sys

import pytest

from fire.errors import InputError
from sweep.commands import exits
from tests.sweeping import ROOT

PAGES = [ROOT / "README.md", *(path for path in sorted((ROOT / "docs").glob("*.md")) if path.name != "log.md")]
PAGES.append(ROOT / "docs/tabular/README.md")
# These parse their arguments before anything else.
PROGRAMS = {
    *("analysis", "analysis.tabular", "sweep", "sweep.device", "sweep.export", "sweep.search", "sweep.watch"),
    *("bench", "bench.chaos", "bench.map", "bench.search", "bench.supernet", "bench.walk"),
}
# These have no flags; tests/test_docs.py composes their overrides.
WITHOUT_FLAGS = {"sweep.compress", "sweep.evaluate"}


def documented(text: str) -> list[str]:
    """The lines of the page's blocks of commands, and the commands with arguments in its sentences."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    in_sentences = re.findall(r"`(python -m [^`\n]*[-=]\w[^`\n]*)`", text)
    return [*(line for block in blocks for line in block.splitlines()), *in_sentences]


def run_by(line: str) -> list[str]:
    """The line, or what make runs for it."""
    if not re.match(r"make \w+ \w+=", line):
        return [line]
    words = shlex.split(line, comments=True)
    return subprocess.check_output([words[0], "-n", *words[1:]], cwd=ROOT, text=True).splitlines()


def words_of(command: str) -> tuple[str, ...]:
    """The module of this project and its arguments; empty for other commands, and where there are no arguments."""
    found = re.search(r"python -m ((?:fire|sweep|analysis|bench)\b\S* .*)", command)
    words = tuple(shlex.split(found[1], comments=True)) if found else ()
    return words if len(words) > 1 else ()


LINES = {line for page in PAGES for line in documented(page.read_text())}
COMMANDS = sorted({words for line in LINES for command in run_by(line) if (words := words_of(command))})


class Parsed(BaseException):
    """The arguments are such as the parser takes."""


@pytest.fixture
def parse(monkeypatch):
    """A function that calls a program with arguments, until it has parsed them."""
    whole, part = argparse.ArgumentParser.parse_args, argparse.ArgumentParser.parse_known_intermixed_args

    def parse_args(self, *arguments):
        whole(self, *arguments)
        raise Parsed

    def parse_known_intermixed_args(self, *arguments):
        found, unknown = part(self, *arguments)
        if unknown:  # which the caller refuses
            return found, unknown
        raise Parsed

    for replaced in (parse_args, parse_known_intermixed_args):
        monkeypatch.setattr(argparse.ArgumentParser, replaced.__name__, replaced)
    monkeypatch.setattr(exits, "main", lambda program, command, resumes="": command())

    def call(module: str, *arguments: str) -> None:
        is_package = importlib.util.find_spec(module).submodule_search_locations is not None
        monkeypatch.setattr(sys, "argv", [module, *arguments])
        importlib.import_module(f"{module}.__main__" if is_package else module).main()

    return call


def test_every_documented_command_is_known():
    assert {module for module, *_ in COMMANDS} == PROGRAMS | WITHOUT_FLAGS


@pytest.mark.parametrize("words", [words for words in COMMANDS if words[0] in PROGRAMS], ids=" ".join)
def test_its_arguments_are_parsed(words, parse):
    with pytest.raises(Parsed):
        parse(*words)


@pytest.mark.parametrize("program", sorted(PROGRAMS))
def test_a_misspelt_flag_is_refused(program, parse):
    words = next(words for words in COMMANDS if words[0] == program)
    with pytest.raises((InputError, SystemExit)):
        parse(*words, "--misspelt")
