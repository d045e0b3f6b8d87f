"""A search under way: jobs for the launcher, what became of them, the manifest, the summary."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from rich.table import Table

from fire.cost import MIB
from fire.stats import pareto_front
from sweep.commands.display import Display, console, percent, print_table
from sweep.commands.summary import Failure, conclude, why_unfinished
from sweep.config import Options, RunConfig
from sweep.manifests import Sweep
from sweep.search import history
from sweep.search.latencies import Latencies
from sweep.search.searcher import Job, Searcher, Trial
from sweep.search.space import Space
from sweep.store import Store


@dataclass(kw_only=True)
class Campaign:
    """`next` is asked for runs, `print_summary` in the end. trials: what the store tells, kept up to date."""

    manifest: Sweep  # without its points
    store: Store
    options: Options
    space: Space
    searcher: Searcher
    trials: dict[int, Trial]
    display: Display
    latencies: Latencies | None = None  # None where latency is no objective
    _running: dict[str, Job] = field(default_factory=dict)  # by their keys, here or elsewhere
    _elsewhere: set[str] = field(default_factory=set)  # of them, those that other processes are at
    _failed: list[int] = field(default_factory=list)  # points whose runs have failed in this launch

    def next(self, under_way: Collection[str]) -> tuple[RunConfig, Options] | None:
        """The next run, given the keys of those that are under way: see sweep.launcher.Source."""
        self._look_after([key for key in self._running if key not in under_way])
        while (job := self.searcher.next(self.trials)) is not None:
            point = self.space.point(job.point)
            assert point is not None
            before = self.trials.get(job.point, Trial(status="running"))
            self.trials[job.point] = replace(before, status="running")
            self._running[point.key] = job
            if self.store.holder(point.key):
                self._elsewhere.add(point.key)  # a run of another sweep
                continue
            self.write_manifest()
            self.display.add(point, self.space.label(job.point))
            stop_epoch = 0 if job.epoch == point.config.train.epochs else job.epoch
            return point.config, replace(self.options, stop_epoch=stop_epoch)
        return None

    def _look_after(self, keys: Iterable[str]) -> None:
        """Read what became of runs that are not under way here; unless another process is at them, they have ended."""
        for key in keys:
            if self.store.holder(key):
                self._elsewhere.add(key)
            else:
                self._ended(key)

    def _ended(self, key: str) -> None:
        job = self._running.pop(key)
        record = self.store.read(key)
        # A run of ours that ended short of its epoch (killed twice, timed out) is left alone by this launch: it would
        # end so again. One that another process gave up can be gone on with.
        short = record is None or (record.status == "stopped" and (record.epochs or 0) < job.epoch)
        if record is not None and (key in self._elsewhere or not short):
            self.trials[job.point] = history.trial_of(self.store, record, self.latencies)
        else:
            self.trials[job.point] = Trial(
                status="killed" if key in self._elsewhere else "failed", curve=self.store.validation_curve(key)
            )
        if self.trials[job.point].status == "failed" and key not in self._elsewhere:
            self._failed.append(job.point)
        self._elsewhere.discard(key)

    def write_manifest(self) -> None:
        """Write the points tried so far: before each run, since what it names and has no record, was killed."""
        tried = ((index, point) for index in self.trials if (point := self.space.point(index)) is not None)
        points = tuple((self.space.overrides(index), point.key) for index, point in tried)
        self.store.write_sweep(replace(self.manifest, points=points))

    def print_summary(self) -> None:
        """Print how the search went, the networks trained to the end that none beats, and this launch's failures.

        Raises RunsError if runs of this launch have failed, or some of the search are under way elsewhere.
        """
        self._look_after(list(self._running))
        out = console()
        count = Counter(trial.status for trial in self.trials.values())
        elsewhere = f", {count['running']} under way elsewhere" if count["running"] else ""
        out.print(
            f"{len(self.trials)} networks tried: {count['finished']} trained to the end, "
            f"{count['stopped']} stopped early, {count['failed']} failed{elsewhere}"
        )
        if count["failed"] > len(self._failed):
            earlier = count["failed"] - len(self._failed)
            out.print(f"{earlier} of them failed in other launches: search.retry_failed=true tries them again")
        finished = [index for index, trial in self.trials.items() if trial.status == "finished"]
        losses = {index: self.searcher.losses(index, self.trials[index]) for index in finished}
        known = {index: values for index, values in losses.items() if values is not None}
        table = Table(title="trained to the end, and not beaten in " + ", ".join(self.searcher.told["objectives"]))
        table.add_column("network")
        timed = self.latencies is not None
        for name in ("key", "MiB", "MMACs", *(["latency, ms"] * timed), "validation top-1", "test top-1"):
            table.add_column(name, justify="right")
        best = [index for index, is_best in zip(known, pareto_front(list(known.values())), strict=True) if is_best]
        costs = self.space.costs
        for index in sorted(best, key=lambda index: int(costs["size_bytes"][index])):
            point = self.space.point(index)
            record = None if point is None else self.store.read(point.key)
            if record is not None:
                table.add_row(
                    self.space.label(index),
                    record.key,
                    f"{record.size_bytes / MIB:.3f}",
                    f"{record.macs / 1e6:,.1f}",
                    *([_milliseconds(self.trials[index].latency_seconds)] * timed),
                    percent(record.validation_top1),
                    percent(record.top1),
                )
        if table.rows:
            print_table(table)
        holders = {
            self.space.label(job.point): holder
            for key, job in self._running.items()
            if (holder := self.store.holder(key)) is not None
        }
        conclude([self._failure(index) for index in self._failed], holders)

    def _failure(self, index: int) -> Failure:
        point = self.space.point(index)
        assert point is not None
        reason = why_unfinished(self.store, point.key, self.display.reasons)
        return Failure(self.space.label(index), point.key, reason)


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{1e3 * seconds:.3f}"
