"""A search under way: jobs for the launcher, what became of them, the manifest, the summary."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.table import Table

from fire import data
from sweep.config import RunConfig
from sweep.display import Display, console, percent
from sweep.search import history
from sweep.search.halving import ranks
from sweep.search.searcher import Searcher, Trial
from sweep.search.space import Space
from sweep.store import Store, Sweep


@dataclass(kw_only=True)
class Campaign:
    """`next` is asked for runs, `print_summary` in the end. trials: what the store tells, kept up to date."""

    name: str
    store: Store
    space: Space
    searcher: Searcher
    trials: dict[int, Trial]
    display: Display
    _running: dict[str, int] = field(default_factory=dict)  # keys and their points, of our workers or of others'
    _elsewhere: set[str] = field(default_factory=set)

    def next(self, under_way: Collection[str]) -> RunConfig | None:
        """The next run, given the keys of those that are under way: see sweep.launcher.Source."""
        for key in [key for key in self._running if key not in under_way]:
            if key not in self._elsewhere or not history.is_busy(self.store.folder(key)):
                self._ended(key)
        while (job := self.searcher.next(self.trials)) is not None:
            point = self.space.point(job.point)
            assert point is not None
            before = self.trials.get(job.point, Trial(status="running"))
            self.trials[job.point] = replace(before, status="running")
            self._running[point.key] = job.point
            if history.is_busy(self.store.folder(point.key)):
                self._elsewhere.add(point.key)  # another search had the same idea
                continue
            self._write_manifest()
            config = point.config
            data.prepare(config.data, Path(config.data_dir))
            self.display.add(point, self.space.label(job.point))
            return replace(config, stop_epoch=0 if job.epoch == config.train.epochs else job.epoch)
        return None

    def _ended(self, key: str) -> None:
        """Read what became of a run; one that has left no record twice is not tried again by this launch."""
        index = self._running.pop(key)
        self._elsewhere.discard(key)
        record = self.store.read(key)
        lost = Trial(status="failed", curve=self.store.validation_curve(key))
        self.trials[index] = lost if record is None else history.trial_of(self.store, record)

    def _write_manifest(self) -> None:
        """The points tried so far. It comes before the run: what it names and has no record, was killed."""
        points = ((self.space.overrides(index), index) for index in self.trials)
        self.store.write_sweep(
            Sweep(
                name=self.name,
                varied=tuple(axis.key for axis in self.space.axes),
                points=tuple(
                    (overrides, point.key)
                    for overrides, index in points
                    if (point := self.space.point(index)) is not None
                ),
                search=self.searcher.told,
            )
        )

    def print_summary(self) -> bool:
        """Print how the search went, and the networks trained to the end that none beats; whether none has failed."""
        for key in list(self._running):
            self._ended(key)
        out = console()
        count = Counter(trial.status for trial in self.trials.values())
        out.print(
            f"{len(self.trials)} networks tried: {count['finished']} trained to the end, "
            f"{count['stopped']} stopped early, {count['failed']} failed"
        )
        finished = [index for index, trial in self.trials.items() if trial.status == "finished"]
        losses = {index: self.searcher.losses(index, self.trials[index]) for index in finished}
        known = {index: values for index, values in losses.items() if values is not None}
        table = Table(title="trained to the end, and not beaten in " + ", ".join(self.searcher.told["objectives"]))
        table.add_column("network")
        for name in ("key", "MiB", "MMACs", "validation top-1", "test top-1"):
            table.add_column(name, justify="right")
        best = [index for index, rank in zip(known, ranks(list(known.values())), strict=True) if rank == 0]
        costs = self.space.costs
        for index in sorted(best, key=lambda index: int(costs["size_bytes"][index])):
            point = self.space.point(index)
            record = None if point is None else self.store.read(point.key)
            if record is not None:
                table.add_row(
                    self.space.label(index),
                    record.key,
                    f"{record.size_bytes / 2**20:.3f}",
                    f"{record.macs / 1e6:,.1f}",
                    percent(record.validation_top1),
                    percent(record.top1),
                )
        out.print(table)
        return count["failed"] == 0
