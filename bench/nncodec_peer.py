"""NNCodec, the reference coder of ISO/IEC 15938-17, on trained networks, beside our own files of the same networks.

    python -m venv .venv-nncodec
    .venv-nncodec/bin/pip install nncodec==2.1.3 safetensors constriction
    .venv-nncodec/bin/python -m bench.nncodec_peer --results results [--keys KEY ...] [--tune] [--data-dir data]

It has an environment of its own, as NNCodec wants another NumPy. The smallest file counts whose validation accuracy is
at most MOST_LOST below the network's; it is reported with its accuracy on the test images. A ratio is our bytes over
NNCodec's. Untuned, one setting of NNCodec varies, the step of its quantiser. A second row also varies the others that
need no training: bench.nncodec_search. With --tune, it also trains biases and scales of filters (its fine-tuning
and LSA), for as many epochs as our methods did, from the smallest file without training on: an hour or more for a
network. NNCodec has more tries than our methods, and the validation images choose among all of them.

The score of each file is kept beside the table, in a .jsonl: the same command continues after a stop.
"""

import argparse
import sys
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bench.measure import Row, markdown, ratio
from bench.nncodec_search import (
    FINEST,
    SEARCHED,
    TUNED,
    File,
    Make,
    Settings,
    finer,
    kept,
    ladder,
    least,
    search,
    smallest,
)
from fire.compress.spec import MOST_LOST, CompressSpec
from fire.data import dataset
from fire.errors import InputError
from fire.weights import pretrained
from sweep import origin
from sweep.config import RunConfig
from sweep.record import Record
from sweep.store import WEIGHTS, Store

PEER = "NNCodec 2.1.3"
# What varies in NNCodec's files, and the most that our bytes over its bytes may be.
GOALS = {"untuned": "0.3", "untuned, its settings searched": "0.3", "tuned": "0.6"}
TestTop1 = Callable[[Settings], float]  # the accuracy of a file on the test images
WITHIN = f"within {100 * MOST_LOST:.1f} points"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A network and its smallest files that count: ours, and NNCodec's by what varied. None where no file counts.

    files: all of ours. validation_top1, top1: the network's own.
    """

    record: Record
    validation_top1: float
    top1: float
    files: Sequence[Record]
    theirs: dict[str, File | None]

    @property
    def ours(self) -> Record | None:
        """The record of our smallest file that counts."""
        passing = [file for file in self.files if (file.validation_top1 or 0.0) >= least(self.validation_top1)]
        return min(passing, key=_bytes, default=None)


def compare(
    record: Record, files: Sequence[Record], top1: tuple[float, float], make: Make, test_top1: TestTop1, tune: bool
) -> Compared:
    """files: ours of the network. top1: its validation and test accuracy. make, test_top1: of NNCodec's files of it."""
    allowed = least(top1[0])
    begin = Settings(qp=FINEST)
    found = {
        "untuned": ladder(make, begin, allowed),
        "untuned, its settings searched": search(make, begin, SEARCHED, allowed),
    }
    if tune:
        untuned = found["untuned, its settings searched"]
        begin = finer(smallest(untuned, allowed), replace(begin, epochs=epochs(files)))
        found["tuned"] = untuned + search(make, begin, TUNED, allowed)
    chosen = {name: smallest(made, allowed) for name, made in found.items()}
    theirs = {name: file and replace(file, top1=test_top1(file.made_by)) for name, file in chosen.items()}
    return Compared(record=record, validation_top1=top1[0], top1=top1[1], files=files, theirs=theirs)


def epochs(files: Sequence[Record]) -> int:
    """For how many epochs our methods trained: the longest of the files, or the default where there is none."""
    specs = [file.config.compress for file in files if file.config is not None]
    return max(spec.epochs + spec.final_epochs for spec in specs or [CompressSpec()])


def rows(compared: Sequence[Compared]) -> list[Row]:
    """A row for each network and what varied; then one for each network of several seeds."""
    groups: dict[str, list[Compared]] = {}
    for each in compared:
        groups.setdefault(replace(_config(each.record), seed=0).key, []).append(each)
    found = [_row(each, name) for each in compared for name in each.theirs]
    return found + [_median(group, name) for group in groups.values() if len(group) > 1 for name in group[0].theirs]


def _row(one: Compared, name: str) -> Row:
    ours, theirs = one.ours, one.theirs[name]
    without = [side for side, file in (("ours", ours), ("NNCodec", theirs)) if file is None]
    return Row(
        what=f"{_network(one.record)}, seed {_config(one.record).seed}, {one.record.key}",
        peer=f"{PEER}, {name}",
        goal=GOALS[name],
        measured=f"{' and '.join(without)}: no file {WITHIN}" if without else f"{_bytes(ours) / theirs.size:.2f}",
        detail=f"{_our_file(one)} against {_their_file(one, theirs)}",
    )


def _our_file(one: Compared) -> str:
    if not one.files:
        return "none tried"
    if one.ours is None:
        lost = one.validation_top1 - max(file.validation_top1 or 0.0 for file in one.files)
        return f"{len(one.files)} tried, the best {100 * lost:.2f} points of validation top-1 below the network,"
    method = _config(one.ours).compress.method
    return f"{_bytes(one.ours):,} bytes ({method}, run {one.ours.key}; test top-1 {_gain(one, one.ours)} points)"


def _their_file(one: Compared, file: File | None) -> str:
    if file is None:
        return "no file"
    return f"{file.size:,} bytes ({file.made_by}; test top-1 {_gain(one, file)} points)"


def _median(group: Sequence[Compared], name: str) -> Row:
    files = [(one.ours, one.theirs[name]) for one in group]
    sizes = [(_bytes(ours), theirs.size) for ours, theirs in files if ours is not None and theirs is not None]
    without = [sum(side is None for side in sides) for sides in zip(*files, strict=True)]
    return Row(
        what=f"{_network(group[0].record)}, median over {len(group)} seeds",
        peer=f"{PEER}, {name}",
        goal=GOALS[name],
        measured=ratio(*zip(*sizes, strict=True)) if sizes else f"no network with both files {WITHIN}",
        detail=f"of {len(group)} networks without a file {WITHIN}: ours {without[0]}, NNCodec {without[1]}",
    )


def _config(record: Record) -> RunConfig:
    assert record.config is not None, "records of other versions are left out"
    return record.config


def _bytes(record: Record) -> int:
    assert record.file_bytes is not None, "these are records of compressed networks"
    return record.file_bytes


def _network(record: Record) -> str:
    return f"{_config(record).family}, {record.parameters:,} parameters"


def _gain(one: Compared, file: Record | File) -> str:
    return "unknown" if file.top1 is None else f"{100 * (file.top1 - one.top1):+.2f}"


def candidates(store: Store) -> dict[str, list[Record]]:
    """Our finished compressed networks, by the key of the network that they were made from."""
    found: dict[str, list[Record]] = {}
    for record in store.records():
        finished = record.status == "finished" and record.config is not None and record.file_bytes is not None
        if finished and record.float_key is not None and record.validation_top1 is not None:
            found.setdefault(record.float_key, []).append(record)
    return found


def measure(store: Store, key: str, files: Sequence[Record], chosen: argparse.Namespace) -> Compared:
    """The network of that key, compared. Raises InputError if it, its weights or its images are missing."""
    record = store.read(key)
    if record is None or record.status != "finished" or record.config is None or record.config.is_compressed:
        raise InputError(f"no trained network in {store.root}")
    path = store.folder(key) / WEIGHTS
    network = pretrained.read(path).network
    images = dataset.load(record.config.data, chosen.data_dir)
    # Imported here, since NNCodec has an environment of its own, and the rest of this module is tested without it.
    from bench.nncodec_files import Subject

    subject = Subject(network=network, images=images, recipe=record.config.train)
    weights = f"{key} {zlib.crc32(path.read_bytes()):08x}"
    make = kept(subject.file, chosen.out.with_suffix(".jsonl"), weights)
    top1 = subject.top1(network, "validation"), subject.top1(network, "test")
    return compare(record, files, top1, make, subject.test_top1, chosen.tune)


def main() -> int:
    """Measure, print, write. 2 if there is no row."""
    parser = argparse.ArgumentParser(prog="python -m bench.nncodec_peer", description="Bytes, against NNCodec.")
    parser.add_argument("--results", type=Path, default=Path("results"), help="a store of trained networks")
    parser.add_argument("--keys", nargs="+", metavar="KEY", help="of networks; all with compressed ones unless said")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("--tune", action="store_true", help="train what NNCodec can train, too: hours")
    parser.add_argument("--out", type=Path, default=Path("report/bench_nncodec.md"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    store = Store(chosen.results)
    files = candidates(store)
    head = f"python -m bench.nncodec_peer: {origin.host()}, commit {origin.git_state()[0]}"
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    compared: list[Compared] = []
    for key in chosen.keys or sorted(files):
        try:
            compared.append(measure(store, key, files.get(key, []), chosen))
        except InputError as error:
            print(f"{key}: {error}", file=sys.stderr)
            continue
        print(markdown(rows(compared[-1:])), flush=True)
        chosen.out.write_text(f"<!-- {head} -->\n{markdown(rows(compared))}")
    if not compared:
        print(f"no trained network of {chosen.results} was measured", file=sys.stderr)
    return 0 if compared else 2


if __name__ == "__main__":
    sys.exit(main())
