"""What hydra/sweeper=search does: it plans the space, reads the store, and hands a campaign to the launcher."""

import itertools
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial

from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from fire import files
from fire.errors import InputError, require
from sweep.arithmetic import arithmetic_of, as_begun, described, with_arithmetic
from sweep.commands.display import Display, console, damage_lines, print_table
from sweep.commands.exits import ELSEWHERE, RunsError, runs_begun
from sweep.compose import names_of, refuse_unknown
from sweep.config import PARTS, Options, RunConfig
from sweep.grid import StoreSweeper, manifest
from sweep.launcher import PoolLauncher
from sweep.manifests import Arithmetic, Sweep
from sweep.overrides import canonical
from sweep.points import EXECUTION, dry_run_table, refuse_unread
from sweep.pool import Pool
from sweep.preparation import check, make_ready
from sweep.search import guided, history
from sweep.search.campaign import Campaign
from sweep.search.latencies import take
from sweep.search.searcher import Searcher
from sweep.search.space import Space
from sweep.search.spec import AtMost, SearchSpec
from sweep.store import Damage, Store

MOST_CHOICES = 10_000  # of an axis: each is planned once
# A search with more budget is the same one.
NOT_IN_THE_NAME = {*EXECUTION, "search.budget_runs", "search.band", "search.retry_failed"}


def search(sweeper: StoreSweeper, arguments: list[str]) -> None:
    """Train chosen points of the grid that the sweeper's parameters span.

    Raises InputError before anything trains, RunsError if runs have failed or are under way elsewhere; at once, if this
    very search is under way in another process.
    """
    launcher = sweeper.launcher
    if not isinstance(launcher, PoolLauncher):
        raise InputError(
            "hydra/launcher must be local, ray or slurm for a search, which asks for one point after another"
        )
    spec, space, options = _planned(sweeper, arguments)
    config = space.any_point.config
    _check_settings(spec, config, options)
    timed = "latency" in spec.objectives
    require(launcher.is_here or not timed, "search.objectives", "without latency on several machines", spec.objectives)
    varied = {axis.key.partition(".")[0] for axis in space.axes}  # of these parts, another point may read a setting
    refuse_unread([each for each in arguments if each.partition("=")[0].partition(".")[0] not in varied], [config])
    store = Store(options.results_dir)
    searcher = Searcher(space, spec, config.train.epochs, guided.beginning(space, spec, store))
    if searcher.left_out and any(argument.startswith("search.first=") for argument in arguments):
        network, reason = next(iter(searcher.left_out.items()))
        raise InputError(f"search.first must be networks of the space, got {network}: {reason}")
    # The kind is in the name, else a sweep of the same experiment would have the same one.
    axes = [axis.key for axis in space.axes]
    folders = filter(None, [config.data.fingerprint])
    launch = manifest(sweeper.config, NOT_IN_THE_NAME, axes, kind="search", folders=folders)
    check([space.any_point], options, launcher.is_here)
    if options.dry_run:
        _print_dry_run(_campaign(options, searcher, space, launch, partial(arithmetic_of, options)))
        return
    store.check_writable()
    lock = store.root / "sweeps" / f".{launch.name}.lock"
    with files.locked(lock, files.PATIENCE) as held:
        if not held:
            where = files.holder(lock) or "another process"
            raise RunsError(f"search {launch.name} is under way elsewhere ({where})", ELSEWHERE)
        make_ready([space.any_point], [space.any_point], options, anew=False)
        options = as_begun(options, store.read_sweep(launch.name))
        with closing(launcher.engine(options, min(spec.budget_runs, space.size))) as engine:
            campaign = _campaign(options, searcher, space, launch, partial(launcher.arithmetic, engine, options))
            campaign.write_manifest()
            with runs_begun(), campaign.display:
                Pool(engine, campaign.next, campaign.display).run()
        with runs_begun():
            campaign.print_summary()


def _planned(sweeper: StoreSweeper, arguments: list[str]) -> tuple[SearchSpec, Space, Options]:
    """The settings, the space and the options that the experiment and the command line lead to."""
    planner = sweeper.planner
    overrides = {override.get_key_element(): override for override in sweeper.overrides(arguments)}
    grid = {key: axis_choices(override) for key, override in overrides.items() if override.is_sweep_override()}
    others = {key: override.input_line or "" for key, override in overrides.items() if key not in grid}
    node = planner.composed([line for key, line in others.items() if key not in sweeper.params]).search
    refuse_unknown(node, "search.", names_of(SearchSpec))
    refuse_unknown(node.at_most, "search.at_most.", names_of(AtMost))
    spec = OmegaConf.to_object(node)
    assert isinstance(spec, SearchSpec)
    base = [line for key, line in others.items() if not key.startswith("search.")]
    return spec, Space(planner, base, grid, spec.at_most), planner.options(base)


def _check_settings(spec: SearchSpec, config: RunConfig, options: Options) -> None:
    """Raise InputError for settings of runs that a search decides, or that do not go with it."""
    require(not config.is_compressed, "compress", "none in a search", config.compress.method)
    require(options.stop_epoch == 0, "stop_epoch", "0 in a search, which stops runs itself", options.stop_epoch)
    before_the_end = spec.first_rung == 0 or spec.first_rung < config.train.epochs
    require(before_the_end, "search.first_rung", f"below train.epochs, {config.train.epochs}", spec.first_rung)


def _campaign(
    options: Options,
    searcher: Searcher,
    space: Space,
    launch: Sweep,
    began: Callable[[Sweep | None], Arithmetic],
) -> Campaign:
    """The search as the store has it; prints what it starts from.

    began: gives what its runs are computed in, by its former manifest.
    """
    spec, config, store = searcher.spec, space.any_point.config, Store(options.results_dir)
    damaged: list[Damage] = []
    former = store.read_sweep(launch.name, damaged.append)
    arithmetic = began(former)
    records = history.records(store, space, damaged.append)
    if spec.retry_failed:
        records = {index: record for index, record in records.items() if record.status != "failed"}
    latencies = None
    if "latency" in spec.objectives and not options.dry_run:
        latencies = take(config, with_arithmetic(options, arithmetic), list(records.values()))
    trials = history.trials(store, space, records, former, latencies, damaged.append)
    allowed = int(space.allowed.sum())
    lines = [
        *damage_lines(damaged),
        f"{space.size:,} points, {allowed:,} within the bounds; {len(trials)} tried before, "
        f"{min(spec.budget_runs, allowed):,} to be",
        *(f"left out of search.first: {network}: {reason}" for network, reason in searcher.left_out.items()),
    ]
    if latencies is not None:
        ran = [record for record in records.values() if record.status != "failed"]
        unknown = sum(latencies.of(record) is None for record in ran)
        lines.append(
            f"latency of earlier runs: {len(latencies.measured)} measured again on this machine; {unknown} unknown "
            "(no weights), ignored in comparisons"
        )
    if not options.dry_run:
        finished = [record for record in records.values() if record.status == "finished"]
        for record in finished:
            store.tidy_finished(record.key)
            if options.data_title:
                store.set_title(record.key, options.data_title)
        if lacking := [record.key for record in finished if not store.is_exported(record, options.export)]:
            int8 = " --int8" if options.export == "int8" else ""
            written_by = f"python -m sweep.export {store.folder(lacking[0])}{int8}, and so on"
            lines.append(f"{len(lacking)} trained before lack the files of export={options.export}: {written_by}")
        lines.append(f"computed in {described(arithmetic, options, [config.train])}")
    for line in lines:
        console().print(line)
    return Campaign(
        manifest=replace(launch, search=spec.asked_for, arithmetic=arithmetic),
        store=store,
        options=with_arithmetic(options, arithmetic),
        space=space,
        searcher=searcher,
        trials=trials,
        display=Display([], options, open_ended=True),
        latencies=latencies,
    )


def _print_dry_run(campaign: Campaign) -> None:
    """Print the runs that are known to come first, and how many there are to be in all."""
    space, trials = campaign.space, campaign.trials
    points, states = [], {}
    for index in campaign.searcher.upcoming(trials):
        point = space.point(index)
        assert point is not None
        points.append(point)
        if index in trials:
            holder = campaign.store.holder(point.key)
            states[point.key] = "under way elsewhere" if holder else f"{trials[index].status}, goes on"
    runs = min(campaign.searcher.spec.budget_runs, int(space.allowed.sum()))
    if points:
        first_of = f", the first of {max(0, runs - len(trials)) + len(states):,}"
        print_table(dry_run_table(points, states, note=first_of))
    else:
        console().print("nothing is trained")


def axis_choices(override: Override) -> list[str]:
    """The choices of an axis, as override values."""
    key = override.get_key_element()
    require(not key.startswith("search."), key, "one value; a list is written in brackets", override.input_line)
    require(key.partition(".")[0] in PARTS, "an axis of a search", "a setting of the network or the recipe", key)
    require(override.is_discrete_sweep(), key, "a list of choices in a search", override.input_line)
    choices = list(itertools.islice(override.sweep_string_iterator(), MOST_CHOICES + 1))  # a range may have billions
    rule = f"an axis of at most {MOST_CHOICES:,} choices"
    require(len(choices) <= MOST_CHOICES, key, rule, override.input_line)
    return [canonical(f"{key}={value}").partition("=")[2] for value in choices]
