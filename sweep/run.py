"""One run, from its configuration to its record: the only place where the stages meet."""

import dataclasses
import math
import traceback as traceback_module
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from omegaconf import OmegaConf

from fire import model
from fire.compress import methods
from fire.cost import COSTS
from fire.data import dataset
from fire.data.batches import Batches
from fire.errors import DataError, InputError, TrainingError
from fire.files import PATIENCE, WriteError, append, locked, write
from fire.machine.latency import latency
from fire.machine.process import device_name, prepare_process
from fire.train import evaluation, training
from fire.train.checkpoints import CheckpointError
from fire.train.evaluation import Scores
from fire.train.progress import Epoch, Note, Progress
from fire.train.spec import TrainSpec
from fire.weights import fcn, formats, pretrained, safetensors
from fire.weights.header import Header, Preprocessing
from fire.weights.quantised import Compressed, to_float
from sweep import curves, origin
from sweep.config import Options, RunConfig
from sweep.record import Record, Status
from sweep.store import CHECKPOINT, COMPRESSED, WEIGHTS, Store, clear

Report = Callable[[Progress | Note], None]
Log = Callable[[str], None]


class BusyError(Exception):
    """The run is under way in another process; the message says in which."""


def run(
    config: RunConfig,
    options: Options,
    report: Report = lambda news: None,
    *,
    patience: float = PATIENCE,
    anew: bool = True,
) -> Record:
    """Train the network of the configuration unless its run has finished. Returns its record, which is in the store.

    A failure becomes a record with status "failed"; a run that stops at options.stop_epoch, one with "stopped". Then
    the network is exported as options.export says. anew: make the results directory if there is none: not in the
    midst of a sweep, whose results may have been moved. Raises BusyError if another process keeps at it for `patience`
    seconds; StoreError or WriteError if the results cannot be written; DataError if the data set cannot be had;
    InputError if the network cannot be exported.
    """
    store = Store(options.results_dir)
    store.check_writable(anew=anew)
    key = config.key
    folder = store.folder(key)
    folder.mkdir(exist_ok=True)
    with locked(folder / ".lock", patience) as held:
        if not held:
            raise BusyError(f"run {key} is under way elsewhere ({store.holder(key) or 'another process'})")
        clear(folder)
        record = store.read(key)
        if record is None or record.status != "finished":
            write(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create({**config.parts, "seed": config.seed})))
            record = _attempt(config, options, folder, report)
            store.write(record, anew=False)
        if record.status != "finished":  # a run that was stopped goes on from its checkpoint
            return record
        store.tidy(key)
        if store.is_exported(record, options.export):
            return record
        if record.config is None:
            raise InputError(f"{folder / 'record.json'} must be of this version to be exported: {record.unknown}")
        from sweep.exporting import export  # with ONNX Runtime, which other runs do without

        return export(record, config, options, report)


def _attempt(config: RunConfig, options: Options, folder: Path, report: Report) -> Record:
    def log(line: str) -> None:
        append(folder / "log", f"{origin.now()} {line}\n")

    start = origin.now()
    commit, dirty = origin.git_state()
    begun = Record(
        key=config.key,
        config=config,
        status="stopped",
        **{name: getattr(config.cost, name) for name in COSTS},
        data_title=options.data_title or None,
        host=origin.host(),
        torch=torch.__version__,
        git_commit=commit,
        git_dirty=dirty,
        start=start,
    )
    log(f"start, commit {commit}{' with changes' if dirty else ''}")
    try:
        record = _result(begun, config, options, folder, report, log)
        for name, value in vars(record).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise TrainingError(f"{name} must be finite, got {value}")
    except (WriteError, DataError):  # a full disk, or data that are gone: no fault of the run, which can go on later
        raise
    except Exception as error:  # whatever stops one run must not stop the sweep; the record tells
        expected = isinstance(error, InputError | TrainingError)
        message = " ".join((str(error) if expected else f"{type(error).__name__}: {error}").split())  # one line
        trace = traceback_module.format_exc()
        log(message if expected else trace)
        return replace(begun, status="failed", error=message, traceback=trace, end=origin.now())
    status: Status = "finished" if config.is_compressed or record.epochs == config.train.epochs else "stopped"
    log(status if record.warning is None else f"{status}; warning: {record.warning}")
    return replace(record, status=status, end=origin.now())


def _result(begun: Record, config: RunConfig, options: Options, folder: Path, report: Report, log: Log) -> Record:
    """The record with what the run leads to, from its checkpoint; from the start if it cannot go on from there."""
    work = _compress if config.is_compressed else _train
    try:
        return work(begun, config, options, folder, report, log)
    except CheckpointError as error:
        (folder / CHECKPOINT).unlink()
        note = f"{error}; the run starts anew"
        log(note)
        report(Note(text=note))
        # This builds everything anew: parts of the checkpoint may have been loaded already.
        return work(begun, config, options, folder, report, log)


def _train(begun: Record, config: RunConfig, options: Options, folder: Path, report: Report, log: Log) -> Record:
    device = prepare_process(options.device, options.threads)
    images = dataset.load(config.data, Path(options.data_dir))
    network = model.build(config.arch, config.data.channels, config.train.init, config.seed)
    if config.train.weights:
        known = pretrained.load(Path(config.train.weights))
        pretrained.start(network, known, config.arch, config.data.channels, config.train.inputs)
        for remark in formats.remarks(known.file, config.arch):
            log(remark)
    trained = training.train(
        network,
        images,
        in_sweep(config.train, options),
        seed=config.seed,
        device=device,
        checkpoint=folder / CHECKPOINT,
        stop_epoch=options.stop_epoch,
        report=_following(folder, report, log),
    )
    _write_curve(folder, trained.curve)
    network = model.fold(trained.network)
    record = replace(
        _with_last(begun, trained.curve),
        latency_seconds=latency(network, config.data.image_size, config.data.channels, device),
        images_per_second=trained.images_per_second,
        warning=trained.warning,
        images_skipped=images.skipped,
        left_out=images.left_out or None,
        precision=trained.precision,
        kernels=trained.kernels,
        threads=trained.threads,
        device=device_name(device),
    )
    if len(trained.curve) < config.train.epochs:
        return record  # of the test set nothing is known before the end
    batches = Batches(images.test, images, config.train, device)
    scores = evaluation.evaluate(network, batches, device)
    path = folder / WEIGHTS
    preprocessing = Preprocessing(
        stored_size=config.data.stored_size,
        resize=config.data.resize,
        image_size=config.data.image_size,
        mean=batches.mean,
        scale=batches.scale,
    )
    header = Header(spec=config.arch, preprocessing=preprocessing, class_names=images.class_names)
    safetensors.save(path, safetensors.Deployed(network=network, header=header))
    return replace(_with_scores(record, scores), weights_bytes=path.stat().st_size)


def _compress(begun: Record, config: RunConfig, options: Options, folder: Path, report: Report, log: Log) -> Record:
    """Compress the network of the run without compression, which is trained first if need be."""
    start = run(config.uncompressed, replace(options, export="none"), report, patience=math.inf, anew=False)
    if start.status != "finished":
        raise TrainingError(f"the network to compress, run {start.key}, failed: {start.error}")
    log(f"compressing the network of run {start.key}")
    device = prepare_process(options.device, options.threads)
    images = dataset.load(config.data, Path(options.data_dir))
    path = folder.parent / start.key / WEIGHTS
    if not path.is_file():
        raise InputError(
            f"the network to compress must be in {path}; without it, delete {path.parent} to train it again"
        )
    deployed = pretrained.read(path)
    of_validation = Batches(images.validation, images, config.train, device)
    before = evaluation.evaluate(deployed.network.to(device), of_validation, device)
    result = methods.compress(
        deployed.network,
        images,
        config.compress,
        train=in_sweep(config.train, options),
        seed=config.seed,
        device=device,
        checkpoint=folder / CHECKPOINT,
        report=_following(folder, report, log),
    )
    _write_curve(folder, result.curve)
    path = folder / COMPRESSED
    compressed = Compressed(header=deployed.header, tensors=result.tensors)
    fcn.save(path, compressed, methods.coder_of(config.compress))
    decoded = fcn.load(path)
    network = decoded.network().to(device)
    scores = evaluation.evaluate(network, Batches(images.test, images, config.train, device), device)
    validation = evaluation.evaluate(network, of_validation, device)
    return replace(
        _with_scores(_with_last(begun, result.curve), scores),
        validation_top1=validation.top1,
        validation_loss=validation.loss,
        images_skipped=images.skipped,
        left_out=images.left_out or None,
        float_key=start.key,
        float_top1=start.top1,
        float_validation_top1=before.top1,
        file_bytes=path.stat().st_size,
        overhead_bytes=fcn.overhead_bytes(path.read_bytes()),
        nonzero=sum(int(np.count_nonzero(to_float(tensor))) for tensor in decoded.tensors.values()),
        precision=result.precision,
        kernels=result.kernels,
        threads=torch.get_num_threads(),
        device=device_name(device),
    )


def _write_curve(folder: Path, curve: Sequence[Epoch]) -> None:
    """Write curve.csv; also at the end of a run, as an epoch may be in the checkpoint of a killed run and not there."""
    write(folder / "curve.csv", curves.dump(curve))


def _following(folder: Path, report: Report, log: Log) -> Callable[[Progress], None]:
    """A report that also writes curve.csv and the log, whenever an epoch is done."""
    written = 0

    def follow(progress: Progress) -> None:
        nonlocal written
        if len(progress.curve) > written:
            written = len(progress.curve)
            _write_curve(folder, progress.curve)
            if progress.epochs_done == written:  # else the rows are of an earlier attempt
                log(f"epoch {written}: {dataclasses.asdict(progress.curve[-1])}")
        report(progress)

    return follow


def _with_scores(record: Record, scores: Scores) -> Record:
    """The record with the scores on the test set."""
    return replace(record, top1=scores.top1, top5=scores.top5, loss=scores.loss)


def _with_last(record: Record, curve: Sequence[Epoch]) -> Record:
    """The record with the last epoch of the curve."""
    last = curve[-1]
    return replace(
        record,
        validation_top1=last.validation_top1,
        validation_loss=last.validation_loss,
        train_loss=last.train_loss,
        epochs=last.epoch,
        train_seconds=last.train_seconds,
    )


def in_sweep(spec: TrainSpec, options: Options) -> TrainSpec:
    """The recipe, with what `auto` means in the sweep of these options."""
    if spec.precision == "auto" and options.auto_precision:
        spec = replace(spec, precision=options.auto_precision)
    if spec.kernels == "auto" and options.auto_kernels and spec.channels_last:  # compiled ones need it
        spec = replace(spec, kernels=options.auto_kernels)
    return spec
