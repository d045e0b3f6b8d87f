"""python -m sweep: one run, or a sweep. See --help."""

import pkgutil
import sys
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from fire.errors import require
from sweep.commands import arguments, exits, usage
from sweep.commands.arguments import Arguments
from sweep.commands.command import run_one
from sweep.commands.exits import RunsError
from sweep.commands.hydra_errors import in_our_words, input_errors
from sweep.compose import CONF, load, options_of, presets, require_schemas
from sweep.points import BY_GROUP, IN_A_SEARCH, IN_A_SWEEP, OF_SWEEPS, Point, refuse, refuse_unread

ROOT_CONFIG = "config"
RESUMES = "; the same command goes on from the last epochs"
SWEEPER, LAUNCHER = "store", "local"  # which conf/config.yaml chooses


def main() -> None:
    """Run the command."""
    exits.main("sweep", lambda: answer(sys.argv[1:]), RESUMES)


def answer(argv: list[str]) -> None:
    """Do what the arguments ask for. Raises InputError where they are wrong, RunsError if runs have not finished."""
    with in_our_words():
        _answer(argv)


def _answer(argv: list[str]) -> None:
    given = arguments.parse(argv)
    if given.version:
        print(usage.version())
        return
    parsed = given.parsed
    with presets():
        app = GlobalHydra.instance().hydra
        assert app is not None
        cfg = _composed(app, given)
        if given.help:
            require_schemas(cfg)
            print(usage.text(cfg, CONF, *([Path(given.config_dir)] if given.config_dir else [])))
            return
        if given.shown:
            _print_part(cfg, given)
            return
        _check_plugins(cfg)
        if given.multirun or cfg.hydra.mode == RunMode.MULTIRUN or cfg.hydra.sweeper.get("params"):
            overrides = [*given.composed, "hydra.mode=MULTIRUN"]
            app.multirun(config_name=ROOT_CONFIG, task_function=_task, overrides=overrides)
        else:
            for override in parsed:
                key, line = override.get_key_element(), override.input_line or ""
                require(not override.is_sweep_override(), key, "one value (with -m a list is a sweep)", line)
            overrides = [*given.composed, "hydra.mode=RUN"]
            app.run(config_name=ROOT_CONFIG, task_function=_task, overrides=overrides)


def _composed(app: Any, given: Arguments) -> DictConfig:
    """The configuration, with Hydra's own node; of lists of values, which a sweep has, no value is set."""
    with input_errors():
        cfg: DictConfig = app.compose_config(
            config_name=ROOT_CONFIG,
            overrides=given.composed,
            run_mode=RunMode.MULTIRUN,
            validate_sweep_overrides=False,
            with_log_configuration=False,
        )
        return cfg


def _check_plugins(cfg: DictConfig) -> None:
    """Raise InputError unless Hydra's plugins are such, and the sweeper's parameters are overrides."""
    for name, kind in (("sweeper", Sweeper), ("launcher", Launcher)):
        node = cfg.hydra[name]
        target = node.get("_target_") if isinstance(node, DictConfig) else node
        try:
            chosen = pkgutil.resolve_name(str(target))
        except (ImportError, AttributeError, ValueError):
            chosen = None
        fits = isinstance(chosen, type) and issubclass(chosen, kind)
        require(fits, f"hydra.{name}._target_", f"a {name} of Hydra's", target)
    for name, node in cfg.hydra.callbacks.items():
        is_class = isinstance(node, DictConfig) and "_target_" in node
        require(is_class, f"hydra.callbacks.{name}", "a class, as _target_, and its arguments", node)
    params = cfg.hydra.sweeper.get("params")
    require(params is None or isinstance(params, DictConfig), "hydra.sweeper.params", "KEY: VALUES, by keys", params)


def _print_part(cfg: DictConfig, given: Arguments) -> None:
    """Print what --cfg and --package ask for."""
    with input_errors(), open_dict(cfg):
        if given.shown == "job":
            del cfg["hydra"]
        if given.resolve:  # before a part is taken, as it may name values of the others
            OmegaConf.resolve(cfg)
        part: Any = OmegaConf.masked_copy(cfg, ["hydra"]) if given.shown == "hydra" else cfg
        if given.package not in (None, "_global_"):
            part = OmegaConf.select(part, str(given.package))
            require(part is not None, "--package", "a key of the configuration", given.package)
        print(OmegaConf.to_yaml(part) if OmegaConf.is_config(part) else part)


def _task(cfg: DictConfig) -> None:
    """One run, by itself or as a job of a launcher of Hydra's. It exits here, before Hydra adds lines of its own."""

    def run() -> None:
        with in_our_words():
            _run(cfg)

    exits.guarded("sweep", run, RESUMES)


def _run(cfg: DictConfig) -> None:
    alone = HydraConfig.get().mode == RunMode.RUN
    overrides: Any = OmegaConf.to_container(HydraConfig.get().overrides.task)  # which may hold interpolations
    if alone:
        choices = HydraConfig.get().runtime.choices
        for group, ours in (("hydra/sweeper", SWEEPER), ("hydra/launcher", LAUNCHER)):
            require(choices[group] == ours, group, IN_A_SWEEP, choices[group])
        refuse(overrides, ["search"], IN_A_SEARCH)
        refuse(overrides, OF_SWEEPS, IN_A_SWEEP)
        refuse(overrides, ["compress.method"], BY_GROUP)
    point = Point(overrides=tuple(overrides), config=load(cfg))
    _ = point.cost  # for which the images may be too small, or the network too large
    if alone:
        refuse_unread(overrides, [point.config])
    try:
        run_one(point, options_of(cfg))
    except RunsError:
        if alone:
            raise  # in a sweep, the store tells the sweeper


if __name__ == "__main__":
    main()
