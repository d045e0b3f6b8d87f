"""Shared by the commands that compose a configuration: their arguments, and one run with its display."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import hydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from fire.errors import InputError, require
from sweep.arithmetic import arithmetic_of, described, with_arithmetic
from sweep.commands import exits
from sweep.commands.display import Display, console
from sweep.commands.exits import ELSEWHERE, RunsError, runs_begun
from sweep.commands.hydra_errors import in_our_words, input_errors
from sweep.commands.summary import print_summary
from sweep.compose import presets
from sweep.config import Options
from sweep.overrides import as_typed
from sweep.points import Point
from sweep.preparation import check, make_ready, print_dry_run, unfinished
from sweep.store import Store


def main(program: str, command: Callable[[list[str]], None], usage: str | None) -> None:
    """Run a command that composes a configuration, as `exits.main` does.

    usage: printed for --help, and where there are no arguments.
    """

    def answer() -> None:
        arguments = sys.argv[1:]
        if not arguments or {"-h", "--help"} & set(arguments):
            print(usage)
            return
        with in_our_words():
            command(arguments)

    exits.main(program, answer)


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


def run_one(point: Point, options: Options, *, anew: bool = True) -> None:
    """Run the point, with its progress shown. anew: make the results folder if there is none.

    Raises RunsError if it does not finish.
    """
    todo = unfinished([point], options)
    if todo:
        check(todo, options)
    if options.dry_run:
        print_dry_run([point], todo, Store(options.results_dir))
        return
    make_ready([point], todo, options, anew=anew)
    with runs_begun():
        if todo:
            _train(point, options)
        print_summary([point], options)


def _train(point: Point, options: Options) -> None:
    from sweep.run import BusyError, run  # torch is imported here, when something trains

    arithmetic = arithmetic_of(options, former=None)
    options = with_arithmetic(options, arithmetic)
    console().print(f"computed in {described(arithmetic, options, [point.config.train])}")
    with Display([point], options) as display:
        display.started(point.key, options.stop_epoch)
        try:
            record = run(point.config, options, lambda news: display.progress(point.key, news), anew=False)
        except BusyError as error:
            raise RunsError(str(error), ELSEWHERE) from error
        display.ended(point.key, record)
