"""Write a trained network into a folder: ONNX in fp32 and int8, the compressed file, and a card."""

import hashlib
from dataclasses import replace
from pathlib import Path

import hydra
import numpy as np

from fire.data import dataset
from fire.data.dataset import DataSet
from fire.errors import InputError
from fire.files import read, write
from fire.weights import fcn
from sweep import card
from sweep.commands import command
from sweep.commands.exits import runs_begun
from sweep.compose import load, presets
from sweep.config import Options, RunConfig
from sweep.points import Point
from sweep.preparation import check_export
from sweep.record import Record
from sweep.search.best import Candidate
from sweep.search.spec import AtMost
from sweep.store import COMPRESSED, INT8_ONNX, ONNX, WEIGHTS, Store

CARD = "card.md"
METHOD = "entropy"  # of the compressed file
EXPORTED = "int8"  # with fp32: the option export


def deliver(candidate: Candidate, options: Options, folder: Path, at_most: AtMost) -> Path:
    """Write the files of the candidate's best seed, and the card last: a folder without a card is not complete.

    Exports and compresses the run, unless that was done. at_most: the budget that the card shows. Returns the card's
    path. Raises InputError if no seed has weights, RunsError if anything fails later: then no file is half written.
    """
    store = Store(options.results_dir)
    record = _with_weights(candidate, store)
    assert record.config is not None
    check_export(EXPORTED)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)
    for name in (ONNX, INT8_ONNX, COMPRESSED, CARD):
        for leftover in folder.glob(f".{name}.*.tmp"):  # of a process that was killed while it wrote
            leftover.unlink()
    with runs_begun():
        compressed = _finished(_compressed(record.config), options)
        record = _finished(record.config, replace(options, export=EXPORTED))
        for name, key in {ONNX: record.key, INT8_ONNX: record.key, COMPRESSED: compressed.key}.items():
            write(folder / name, read(store.folder(key) / name))
        delivered = card.Delivered(
            candidate=candidate,
            record=record,
            compressed=compressed,
            header=fcn.load(folder / COMPRESSED).header,
            images=_images(dataset.load(candidate.config.data, Path(options.data_dir))),
            at_most=at_most,
        )
        write(folder / CARD, card.text(delivered))
    return folder / CARD


def _with_weights(candidate: Candidate, store: Store) -> Record:
    """The record of the best seed on the validation set, of those whose weights are in the store."""
    found = [record for record in candidate.records if (store.folder(record.key) / WEIGHTS).is_file()]
    if not found:
        places = ", ".join(str(store.folder(record.key)) for record in candidate.records)
        raise InputError(f"the network to export must have {WEIGHTS} in the results, got none in {places}")
    return max(found, key=lambda record: record.validation_top1 or 0.0)


def _compressed(config: RunConfig) -> RunConfig:
    """The run that compresses the network of this one."""
    with presets():
        compress = load(hydra.compose("config", overrides=[f"compress={METHOD}"])).compress
    return replace(config, compress=compress)


def _finished(config: RunConfig, options: Options) -> Record:
    """The record of the run, which is made now unless it has finished. Raises RunsError if that fails."""
    command.run_one(Point(overrides=(), config=config), options, anew=False)
    record = Store(options.results_dir).read(config.key)
    assert record is not None, "run_one raises unless the run has finished"
    return record


def _images(data: DataSet) -> card.Images:
    return card.Images(
        validation=len(data.validation),
        test=len(data.test),
        fingerprint=data.spec.fingerprint or _fingerprint(data),
    )


def _fingerprint(data: DataSet) -> str:
    """A hash of all decoded images and their labels, in order."""
    found = hashlib.sha256()
    for part in (data.train, data.test):
        assert isinstance(part.images, np.ndarray), "streamed images are of a folder, which has a fingerprint"
        found.update(part.images.tobytes())
        found.update(part.labels.tobytes())
    return found.hexdigest()[:16]
