"""python -m sweep.export RUN_OR_FILE [--int8] [--out DIR] [key=value ...]: a trained network as ONNX files.

RUN is the folder of a finished run, results/<key>, compressed or not. Its files, network.onnx and with --int8 also
network.int8.onnx, lie in that folder, and what ONNX Runtime measures of them is in its record: accuracy and loss over
the test images, and latency on one thread. With --out they are copied to DIR as well. The only option is data_dir.

FILE is a file of weights as python -m sweep.evaluate reads it, with the same overrides (data=NAME ...). Its files are
called as FILE, with .onnx and .int8.onnx in place of the suffix, and lie beside it, or in DIR.

int8 is ONNX Runtime's static quantisation: weights have a scale for each channel, activations one a tensor, from
validation images. Where that costs a run more than 0.3 points of validation accuracy, its network is fine-tuned for
int8 (three epochs, with the float network as a teacher).
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fire.data.spec import DataSpec
from fire.files import read, write
from fire.weights.formats import SUFFIXES
from sweep.commands import command, exits
from sweep.commands.display import percent
from sweep.commands.exits import runs_begun
from sweep.commands.finished import config_of
from sweep.compose import describe_folder, options_of
from sweep.points import Point
from sweep.preparation import check_export
from sweep.store import INT8_ONNX, ONNX, Store


def main() -> None:
    """Run the command."""
    command.main("sweep.export", _main, __doc__)


def _main(arguments: list[str]) -> None:
    parser = exits.Parser(add_help=False)
    parser.add_argument("network", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--int8", action="store_const", const="int8", default="onnx", dest="wanted")
    parser.add_argument("--out", type=Path)
    given = parser.parse_intermixed_args(arguments)
    check_export(given.wanted)
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
    exported = _run if given.network.is_dir() else _file
    for line in exported(given.network, given.wanted, given.out, given.overrides):
        print(line)


def _run(folder: Path, wanted: str, out: Path | None, overrides: Sequence[str]) -> Iterator[str]:
    """Export the run in the folder. Yields what the command prints."""
    folder = folder.resolve()
    config = config_of(folder, compressed=True)
    options = options_of(command.compose(overrides, [], ["data_dir"]))
    options = replace(options, results_dir=str(folder.parent), export=wanted)
    command.run_one(Point(overrides=(), config=config), options, anew=False)
    record = Store(folder.parent).read(config.key)
    assert record is not None
    for path, name in [(folder / ONNX, "onnx"), (folder / INT8_ONNX, "int8")][: 2 if wanted == "int8" else 1]:
        if out is not None:
            with runs_begun():
                write(out / path.name, read(path))
        yield _line((out or folder) / path.name, name, vars(record))


def _file(path: Path, wanted: str, out: Path | None, overrides: Sequence[str]) -> Iterator[str]:
    """Export the network of the file of weights. Yields what the command prints."""
    from fire.data import dataset  # these take seconds, which --help need not wait for
    from fire.data.batches import Batches
    from fire.train.spec import TrainSpec
    from sweep.evaluate import prepare
    from sweep.exporting import CPU, Scored

    def load(spec: DataSpec, data_dir: Path) -> dataset.DataSet:
        if spec.name == "image_folder":
            classes, fingerprint = describe_folder(str(spec.root), str(data_dir))
            spec = replace(spec, classes=classes, fingerprint=fingerprint)
        return dataset.load(spec, data_dir)

    task = prepare(path, overrides, load)
    test, validation = (
        Batches(task.labelled(part), task.images, TrainSpec(), CPU)
        for part in (task.images.test, task.images.validation)
    )
    scored = Scored(deployed=task.deployed, test=test, validation=validation)
    stem = (out or path.parent) / _without_suffix(path.name)
    yield from task.remarks
    with runs_begun():
        path = Path(f"{stem}.onnx")
        yield _line(path, "onnx", scored.write_onnx(path))
        if wanted == "int8":
            path = Path(f"{stem}.int8.onnx")
            yield _line(path, "int8", scored.write_int8(path, tune=lambda lost: None))


def _without_suffix(name: str) -> str:
    """The name of a file of weights without its ending; dots before that belong to the name."""
    suffix = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


def _line(path: Path, name: str, measured: dict[str, Any]) -> str:
    """The line that the command prints about a file. measured: columns of a record."""
    latency, spread = measured[f"{name}_latency_seconds"], measured[f"{name}_latency_spread"]
    tuned = f", after {measured['tuned_epochs']} epochs of fine-tuning" if measured.get("tuned_epochs") else ""
    return (
        f"{path}: {measured[f'{name}_bytes']:,} bytes, test top-1 {percent(measured[f'{name}_top1'])}"
        f"{tuned if name == 'int8' else ''}, loss {measured[f'{name}_loss']:.4f}, "
        f"{1e3 * latency:.3f} ms an image on one thread (quartiles {1e3 * spread:.3f} ms apart)"
    )


if __name__ == "__main__":
    main()
