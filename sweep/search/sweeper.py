"""The sweeper of searches: what is asked for becomes a space, a history and a searcher; the launcher does the rest."""

from dataclasses import replace

from hydra.core.override_parser.types import Override
from omegaconf import OmegaConf

from fire.errors import InputError, require
from sweep.arithmetic import arithmetic_of, described, with_arithmetic
from sweep.config import PARTS, refuse_unknown
from sweep.display import Display, console, damage_lines
from sweep.exits import RunsError, runs_begun
from sweep.launcher import LocalLauncher
from sweep.overrides import canonical
from sweep.plan import EXECUTION, dry_run_table, refuse_unread
from sweep.search import history
from sweep.search.campaign import Campaign
from sweep.search.latencies import take
from sweep.search.searcher import Searcher, Trial
from sweep.search.space import Space
from sweep.search.spec import SearchSpec
from sweep.store import Damage, Store
from sweep.sweepers import StoreSweeper, manifest, prepare_data, print_remarks

UNTOLD = {*EXECUTION, "search.budget_runs", "search.retry_failed"}  # a search with more budget is the same one


class SearchSweeper(StoreSweeper):
    """Trains chosen points of the grid that the parameters span: hydra/sweeper=search."""

    def sweep(self, arguments: list[str]) -> None:
        """Search. Raises InputError before anything trains, RunsError in the end if runs have failed."""
        assert self.config is not None
        if not isinstance(self.launcher, LocalLauncher):
            raise InputError("hydra/launcher must be local for a search, which asks for one point after another")
        spec, space = self.planned(arguments)
        config = space.example.config
        require(not config.is_compressed, "compress", "none in a search", config.compress.method)
        require(config.stop_epoch == 0, "stop_epoch", "0 in a search, which stops runs itself", config.stop_epoch)
        epochs = config.train.epochs
        before_the_end = spec.first_rung == 0 or spec.first_rung < epochs
        require(before_the_end, "search.first_rung", f"below train.epochs, {epochs}", spec.first_rung)
        refuse_unread(arguments, [config])
        store = Store(config.results_dir)
        # The kind is in the name, else a sweep of the same experiment would have the same one.
        launch = manifest(self.config, UNTOLD, (axis.key for axis in space.axes), "search")
        damaged: list[Damage] = []
        former = store.read_sweep(launch.name, damaged.append)
        arithmetic = arithmetic_of(config, former)
        records = history.records(store, space, damaged.append)
        failed = {record.key for record in records.values() if record.status == "failed"}
        forgotten = frozenset(failed if spec.retry_failed else ())
        records = {index: record for index, record in records.items() if record.key not in forgotten}
        latencies = None
        if "latency" in spec.objectives and not config.dry_run:
            latencies = take(with_arithmetic(config, arithmetic), list(records.values()))
        trials = history.trials(store, space, records, former, latencies, damaged.append)
        for line in damage_lines(damaged):
            console().print(line)
        searcher = Searcher(space, spec, epochs)
        allowed = int(space.allowed.sum())
        runs = min(spec.budget_runs, allowed)
        console().print(
            f"{space.size:,} points, {allowed:,} within the constraints; {len(trials)} tried before, {runs:,} to be"
        )
        if searcher.moved:
            values = ", ".join(f"{key}={choice}" for key, choice in searcher.moved.items())
            console().print(f"search.first takes {values}, as the configuration's own values are not on the axes")
        for network, why in searcher.left_out.items():
            console().print(f"left out of search.first: {network}, which {why}")
        if latencies is not None:
            ran = [record for record in records.values() if record.status != "failed"]
            unknown = sum(latencies.of(record) is None for record in ran)
            console().print(
                f"latency of earlier runs: {len(latencies.measured)} measured again, which ran elsewhere or with other "
                f"threads; {unknown} not known, which are tried but compared with none"
            )
        print_remarks([config])
        if config.dry_run:
            _print_dry_run(store, space, searcher, trials, runs)
            return
        store.check_writable()
        for record in records.values():
            if record.status == "finished":
                store.tidy(record.key)
        prepare_data([config])
        console().print(f"computed in {described(arithmetic, config)}")
        with Display([], open_ended=True) as display:
            campaign = Campaign(
                manifest=replace(launch, search=searcher.told, arithmetic=arithmetic),
                store=store,
                space=space,
                searcher=searcher,
                trials=trials,
                display=display,
                latencies=latencies,
                forgotten=forgotten,
            )
            campaign.write_manifest()
            with runs_begun():
                self.launcher.run(config, spec.budget_runs, campaign.next, display)
        with runs_begun():
            if not campaign.print_summary():
                raise RunsError

    def planned(self, arguments: list[str]) -> tuple[SearchSpec, Space]:
        """The settings and the space that the experiment and the command line lead to."""
        assert self.planner is not None
        overrides = {override.get_key_element(): override for override in self.overrides(arguments)}
        grid = {key: _choices(override) for key, override in overrides.items() if override.is_sweep_override()}
        others = {key: override.input_line or "" for key, override in overrides.items() if key not in grid}
        node = self.planner.composed([line for key, line in others.items() if key not in self.params]).search
        refuse_unknown(node, "search.", SearchSpec)
        spec = OmegaConf.to_object(node)
        assert isinstance(spec, SearchSpec)
        base = [line for key, line in others.items() if not key.startswith("search.")]
        return spec, Space(self.planner, base, grid, spec.bounds)


def _print_dry_run(store: Store, space: Space, searcher: Searcher, trials: dict[int, Trial], runs: int) -> None:
    """Print what is known to be run first, of so many points that are to be tried in all."""
    points, states = [], {}
    for index in searcher.upcoming(trials):
        point = space.point(index)
        assert point is not None
        points.append(point)
        if index in trials:
            busy = store.is_busy(point.key)
            states[point.key] = "under way elsewhere" if busy else f"{trials[index].status}, goes on"
    told = f", the first of {max(0, runs - len(trials)) + len(states):,}"
    console().print(dry_run_table(points, states, told=told) if points else "nothing is trained")


def _choices(override: Override) -> list[str]:
    """The choices of an axis, as override values."""
    key = override.get_key_element()
    require(not key.startswith("search."), key, "one value; a list stands in brackets", override.input_line)
    require(key.partition(".")[0] in PARTS, "the space", "of networks and recipes", key)
    require(override.is_discrete_sweep(), "the space", "of lists of choices", override.input_line)
    return [canonical(f"{key}={value}").partition("=")[2] for value in override.sweep_string_iterator()]
