"""A search under way: runs for the launcher, how they ended, the manifest, the summary."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from rich.table import Table

from fire.cost import MIB
from fire.stats import pareto_front
from sweep.commands.display import Display, console, percent, print_table
from sweep.commands.summary import Failure, conclude, why_unfinished
from sweep.config import Options, RunConfig
from sweep.manifests import Sweep
from sweep.points import Point
from sweep.search import history
from sweep.search.latencies import Latencies
from sweep.search.searcher import Job, Searcher, Trial
from sweep.search.space import Space
from sweep.store import Store


@dataclass(kw_only=True)
class Campaign:
    """A search under way in this process: the launcher calls `next` for runs; `print_summary` ends it."""

    manifest: Sweep  # without its points
    store: Store
    options: Options
    space: Space
    searcher: Searcher
    trials: dict[int, Trial]  # by points; kept up to date
    display: Display
    latencies: Latencies | None = None  # None where latency is no objective
    _jobs: dict[str, Job] = field(default_factory=dict)  # under way here, by the keys of their runs
    _elsewhere: set[int] = field(default_factory=set)  # points whose runs another sweep has under way
    _failed: list[int] = field(default_factory=list)  # points whose runs have failed in this launch

    def next(self, under_way: Collection[str]) -> tuple[RunConfig, Options] | None:
        """The next run, given the keys of those that are under way: see sweep.pool.Source."""
        self._update(under_way)
        while (job := self.searcher.next(self.trials)) is not None:
            point = self._run(job.point)
            self.trials[job.point] = replace(self.trials.get(job.point, Trial(status="running")), status="running")
            if self.store.holder(point.key):
                self._elsewhere.add(job.point)
                continue
            self._jobs[point.key] = job
            self.write_manifest(anew=False)
            self.display.add(point, self.space.label(job.point))
            stop_epoch = 0 if job.epoch == point.config.train.epochs else job.epoch
            return point.config, replace(self.options, stop_epoch=stop_epoch)
        return None

    def _update(self, under_way: Collection[str]) -> None:
        """Read the trials of the runs that have ended since the last call, here or elsewhere."""
        for key in [key for key in self._jobs if key not in under_way]:
            job = self._jobs.pop(key)
            # Another sweep began it before our worker did. It may have ended it since: that is no failure of this run.
            if key in self.display.left_alone or self.store.holder(key):
                self._elsewhere.add(job.point)
            else:
                self._ended(job)
        for index in [index for index in self._elsewhere if not self.store.holder(self._run(index).key)]:
            self._elsewhere.remove(index)
            self.trials[index] = self._read(index)

    def _ended(self, job: Job) -> None:
        trial = self._read(job.point)
        # Killed twice, or timed out: it would end so again. The next launch tries it again.
        if trial.status == "killed" or (trial.status == "stopped" and trial.epochs < job.epoch):
            trial = replace(trial, status="failed")
        if trial.status == "failed":
            self._failed.append(job.point)
        self.trials[job.point] = trial

    def _read(self, index: int) -> Trial:
        key = self._run(index).key
        return history.trial_of(self.store, key, self.store.read(key), self.latencies)

    def _run(self, index: int) -> Point:
        """The run of a point that was tried, and so is valid."""
        point = self.space.point(index)
        assert point is not None
        return point

    def write_manifest(self, *, anew: bool = True) -> None:
        """Write the points tried so far: before each run, as a run that it names and that has no record was killed.

        anew: make the results directory if there is none: not once runs have begun, as it may have been moved.
        """
        points = tuple((self.space.overrides(index), self._run(index).key) for index in self.trials)
        self.store.write_sweep(replace(self.manifest, points=points), anew=anew)

    def print_summary(self) -> None:
        """Print the numbers of runs, the Pareto front of the finished networks, and this launch's failures.

        Raises RunsError if runs of this launch have failed, or some of the search are under way elsewhere.
        """
        self._update(())
        count = Counter(trial.status for trial in self.trials.values())
        elsewhere = f", {count['running']} under way elsewhere" if count["running"] else ""
        console().print(
            f"{len(self.trials)} networks tried: {count['finished']} trained to the end, "
            f"{count['stopped']} stopped early, {count['failed']} failed{elsewhere}"
        )
        if earlier := count["failed"] - len(self._failed):
            console().print(f"{earlier} of them failed in other launches: search.retry_failed=true tries them again")
        tried, spec = len(self.trials), self.searcher.spec
        if spec.band and tried < spec.budget_runs and self.searcher.next(self.trials) is None:
            reason = "the band of the map is as narrow as search.band asks, or no network is untried"
            console().print(f"ended after {tried} of {spec.budget_runs} runs: {reason}")
        table = self._front()
        if table.rows:
            print_table(table)
        holders = {index: self.store.holder(self._run(index).key) for index in sorted(self._elsewhere)}
        conclude(
            [self._failure(index) for index in self._failed],
            {self.space.label(index): holder for index, holder in holders.items() if holder is not None},
        )

    def _front(self) -> Table:
        """The finished networks that no other one beats, the smallest first."""
        timed = self.latencies is not None
        table = Table(title="trained to the end, and not beaten in " + ", ".join(self.searcher.spec.objectives))
        table.add_column("network")
        for name in ("key", "MiB", "MMACs", *(["latency, ms"] * timed), "validation top-1", "test top-1"):
            table.add_column(name, justify="right")
        losses = {
            index: losses
            for index, trial in self.trials.items()
            if trial.status == "finished" and (losses := self.searcher.losses(index, trial)) is not None
        }
        front = [index for index, is_best in zip(losses, pareto_front([*losses.values()]), strict=True) if is_best]
        for index in sorted(front, key=lambda index: int(self.space.costs["size_bytes"][index])):
            record = self.store.read(self._run(index).key)
            if record is not None:
                seconds = self.trials[index].latency_seconds
                table.add_row(
                    self.space.label(index),
                    record.key,
                    f"{record.size_bytes / MIB:.3f}",
                    f"{record.macs / 1e6:,.1f}",
                    *(["-" if seconds is None else f"{1e3 * seconds:.3f}"] * timed),
                    percent(record.validation_top1),
                    percent(record.top1),
                )
        return table

    def _failure(self, index: int) -> Failure:
        key = self._run(index).key
        return Failure(self.space.label(index), key, why_unfinished(self.store, key, self.display.reasons))
