"""Between planning and the first run: what has finished, what could not work, what all runs need. No torch.

What would fail every run ends here once, with exit code 2.
"""

import functools
import itertools
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path

from fire.errors import InputError, require
from fire.machine import hardware, native
from fire.weights import formats
from sweep.arithmetic import device_of
from sweep.commands.display import console, damage_lines, print_table
from sweep.config import Options, RunConfig
from sweep.points import Point, check_weights, dry_run_table, labels
from sweep.record import Record
from sweep.store import Damage, Store


def unfinished(points: Sequence[Point], options: Options) -> list[Point]:
    """The points whose runs have not finished, or lack what the option export asks for.

    Names records that cannot be read: their runs count as not done. Raises SpecError if compressed networks are to be
    left off at an epoch.
    """
    whole = options.stop_epoch == 0 or not any(point.config.is_compressed for point in points)
    require(whole, "stop_epoch", "0 where a network is compressed, which is trained to the end", options.stop_epoch)
    store = Store(options.results_dir)
    damaged: list[Damage] = []
    records = {point.key: store.read(point.key, damaged.append) for point in points}
    for line in damage_lines(damaged):
        console().print(line)

    def is_done(record: Record | None) -> bool:
        return record is not None and record.status == "finished" and store.is_exported(record, options.export)

    return [point for point in points if not is_done(records[point.key])]


def starts(points: Sequence[Point], store: Store) -> list[Point]:
    """The runs that train the networks to compress, unless they are among the points or have finished."""
    known = {point.key for point in points}
    found = {point.uncompressed.key: point.uncompressed for point in points if point.config.is_compressed}
    return [point for key, point in found.items() if key not in known and not store.is_done(key)]


def check(points: Sequence[Point], options: Options, here: bool = True) -> None:
    """Print what a person should know of the runs' data and weights; raise InputError for what cannot work.

    here: whether this machine trains, so that its device and compiler count.
    """
    trained = [point for point in points if not point.config.is_compressed] + starts(points, Store(options.results_dir))
    _print_remarks((point.config for point in points), Path(options.data_dir))
    _check_weights(trained)
    check_export(options.export)
    if here:
        for kernels in dict.fromkeys(point.config.train.kernels for point in points):
            check_machine(kernels, options)


def check_export(wanted: str) -> None:
    """Raise InputError if ONNX files are asked for and what makes them is not installed."""
    missing = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
    rule = f"none here, where {', '.join(missing)} must be installed first (the extra `export`)"
    require(wanted == "none" or not missing, "export", rule, wanted)


def check_machine(kernels: str, options: Options) -> None:
    """Raise InputError if this machine lacks the device, or the compiler of train.kernels=compiled."""
    if options.device.startswith("cuda"):
        count, number = len(hardware.gpus()), int(options.device.partition(":")[2] or 0)
        require(number < count, "device", f"auto, cpu or one of {count} GPUs that torch can use here", options.device)
    if kernels == "compiled" and device_of(options) == "cpu":
        try:
            native.library()
        except native.NoCompilerError as error:
            raise InputError(f"train.kernels must be auto or torch here, got compiled: {error}") from error


def print_dry_run(points: Sequence[Point], todo: Sequence[Point], store: Store) -> None:
    """Print the points with their costs and whether they have finished."""
    states = {point.key: "finished" for point in points} | {point.key: "to do" for point in todo}
    print_table(dry_run_table(points, states, starts(todo, store)))


def make_ready(points: Sequence[Point], todo: Sequence[Point], options: Options, *, anew: bool = True) -> None:
    """Prepare the results folder and the data sets of the runs to do: once, rather than in every worker.

    Finished runs among the points get the title of their data set, if there is one. anew: make the results folder if
    there is none: not where runs have been found in it already.

    Raises StoreError if results cannot be written, DataError if a data set cannot be had or does not fit its spec.
    """
    from fire.data import dataset  # here, as numpy takes as long as Hydra to import, and --help imports this module

    store = Store(options.results_dir)
    store.check_writable(anew=anew)
    for key in {point.key for point in points} - {point.key for point in todo}:
        store.tidy_finished(key)
    if options.data_title:
        for point in points:
            store.set_title(point.key, options.data_title)
    for spec in dict.fromkeys(point.config.data for point in todo):
        skipped = dataset.prepare(spec, Path(options.data_dir))
        if skipped:
            console().print(f"unreadable images left out, as data.on_corrupt=skip has it: {skipped:,}")


def _print_remarks(configs: Iterable[RunConfig], data_dir: Path) -> None:
    """Print what is left out of the image folders. Raises DataError if one cannot be used, or does not fit its spec."""
    from fire.data import dataset  # see make_ready

    specs = dict.fromkeys(config.data for config in configs)
    lines = itertools.chain.from_iterable(dataset.remarks(spec, data_dir) for spec in specs)
    for line in dict.fromkeys(lines):  # two may share a folder
        console().print(line)


def _check_weights(points: Sequence[Point]) -> None:
    """Print what a person should know of files of weights. Raises InputError for one that does not fit its point."""
    describe = functools.cache(formats.describe)
    names = labels(points)
    said: dict[str, None] = {}
    for point in points:
        try:
            said |= dict.fromkeys(check_weights(point.config, describe))
        except InputError as error:
            raise InputError(f"{names[point.key]}: {error}" if len(points) > 1 else str(error)) from error
    for line in said:
        console().print(line)
