"""One run, from its configuration to its record: the only place where the stages meet."""

import ctypes
import dataclasses
import traceback as traceback_module
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from fire import data, model, train, weights
from fire.augment import Batches
from fire.errors import InputError, TrainingError
from fire.files import locked, write
from fire.progress import Progress
from sweep import origin
from sweep.config import RunConfig
from sweep.store import Record, Store, curve_csv

Report = Callable[[Progress], None]


class BusyError(InputError):
    """Another process is training this run."""


def run(config: RunConfig, report: Report = lambda progress: None) -> Record:
    """Train the network of the configuration unless its run has finished; its record, which is in the store.

    A failure becomes a record with status "failed". Raises BusyError if another process is at it, StoreError if the
    results cannot be written.
    """
    store = Store(config.results_dir)
    store.check_writable()
    key = config.key
    folder = store.folder(key)
    with locked(folder / ".lock", wait=False) as held:
        if not held:
            raise BusyError(f"run {key} is being trained by another process")
        for leftover in folder.glob(".*.tmp"):  # of a process that was killed while it wrote
            leftover.unlink()
        record = store.read(key)
        if record is not None and record.status == "finished":
            return record
        write(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(_content(config) | {"seed": config.seed})))
        with open(folder / "log", "a") as log:
            record = _attempt(config, folder, report, lambda line: print(origin.now(), line, file=log, flush=True))
        store.write(record)
        if record.status == "finished":
            (folder / "checkpoint.pt").unlink(missing_ok=True)
        return record


def _attempt(config: RunConfig, folder: Path, report: Report, log: Callable[[str], None]) -> Record:
    start = origin.now()
    commit, dirty = origin.git_state()
    cost = config.cost
    base: dict[str, Any] = {
        "key": config.key,
        **_content(config),
        "seed": config.seed,
        "parameters": cost.parameters,
        "macs": cost.macs,
        "activations": cost.activations,
        "size_bytes": cost.size_bytes,
        "host": origin.host(),
        "torch": torch.__version__,
        "git_commit": commit,
        "git_dirty": dirty,
        "start": start,
    }
    log(f"start, commit {commit}{' with changes' if dirty else ''}")
    try:
        result = _train(config, folder, report, log)
    except Exception as error:  # whatever stops one run must not stop the sweep; the record tells
        expected = isinstance(error, InputError | TrainingError)
        message = " ".join((str(error) if expected else f"{type(error).__name__}: {error}").split())  # one line
        trace = traceback_module.format_exc()
        log(message if expected else trace)
        return Record(**base, status="failed", error=message, traceback=trace, end=origin.now())
    log("finished")
    return Record(**base, **result, status="finished", end=origin.now())


def _train(config: RunConfig, folder: Path, report: Report, log: Callable[[str], None]) -> dict[str, Any]:
    device = prepare_process(config.device, config.threads)
    images = data.load(config.data, Path(config.data_dir))
    network = model.build(config.arch, config.data.channels, config.train.init, config.seed)

    written = 0

    def follow(progress: Progress) -> None:
        nonlocal written
        if len(progress.curve) > written:
            written = len(progress.curve)
            rows = [dataclasses.asdict(row) for row in progress.curve]
            write(folder / "curve.csv", curve_csv(rows))
            if progress.epochs_done == written:  # else the rows are of an earlier attempt
                log(f"epoch {written}: {rows[-1]}")
        report(progress)

    trained = train.train(
        network,
        images,
        config.train,
        seed=config.seed,
        device=device,
        checkpoint=folder / "checkpoint.pt",
        report=follow,
    )
    network = model.fold(trained.network)
    batches = Batches(images.test, images, config.train, device)
    scores = train.evaluate(network, batches, device)
    preprocessing = weights.Preprocessing(image_size=config.data.image_size, mean=batches.mean, scale=batches.scale)
    path = folder / "weights.safetensors"
    weights.save(
        path,
        weights.Deployed(
            network=network, spec=config.arch, preprocessing=preprocessing, class_names=images.class_names
        ),
    )
    last = trained.curve[-1]
    return {
        "top1": scores.top1,
        "top5": scores.top5,
        "loss": scores.loss,
        "validation_top1": last.validation_top1,
        "validation_loss": last.validation_loss,
        "train_loss": last.train_loss,
        "epochs": last.epoch,
        "train_seconds": last.train_seconds,
        "images_per_second": trained.images_per_second,
        "images_skipped": images.skipped,
        "weights_bytes": path.stat().st_size,
        "precision": trained.precision,
        "kernels": trained.kernels,
        "threads": trained.threads,
        "device": str(device) if device.type == "cpu" else torch.cuda.get_device_name(device),
    }


def _content(config: RunConfig) -> dict[str, Any]:
    return {
        "arch": {"family": config.family, **dataclasses.asdict(config.arch)},
        "data": dataclasses.asdict(config.data),
        "train": dataclasses.asdict(config.train),
    }


def prepare_process(device: str, threads: int) -> torch.device:
    """Set this process up for training; the device that the choice leads to.

    Raises InputError if the device is not there.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(device)
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device must be one that torch can use here, got {device!r}") from error
    if threads:
        torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    _keep_freed_memory()
    return chosen


def _keep_freed_memory() -> None:
    """Have glibc keep what is freed: else each step maps and clears its tensors anew, a fifth of its time."""
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return  # another C library
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(top_pad, 2**24)
    mallopt(mmap_threshold, 2**30)
