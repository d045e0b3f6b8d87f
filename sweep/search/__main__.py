"""python -m sweep.search best [RESULTS] [--peak-ram 48KiB] [--macs 12.51e6] ...: the best network within bounds.

Searches themselves are sweeps: python -m sweep experiment=search.
"""

import gc
import sys
from pathlib import Path

from fire.errors import InputError, require
from sweep.commands import exits
from sweep.commands.display import damage_lines
from sweep.config import Options
from sweep.search import best
from sweep.search.best import Candidate
from sweep.search.budget import MOST, add_bounds, bounds_of
from sweep.search.spec import AtMost
from sweep.store import Damage, Store


def main() -> None:
    """Run the command."""
    exits.main("sweep.search", lambda: answer(sys.argv[1:]))


def answer(arguments: list[str]) -> None:
    """Print what the arguments ask for, and export it. Raises InputError if there is no such network."""
    chosen = _parser().parse_args(arguments)
    at_most = bounds_of(chosen)
    found = _candidates(chosen.results, at_most, chosen.data)
    best_of: dict[str, Candidate] = {}
    for each in found:
        best_of.setdefault(each.data_set, each)
    if chosen.export is not None and len(best_of) > 1:
        names = ", ".join(f"{each.config.data.name} (--data {each.records[0].key})" for each in best_of.values())
        raise InputError(f"--export must be of one data set, chosen with --data, got {len(best_of)}: {names}")
    for each in best_of.values():
        for line in best.report(found, each, at_most):
            print(line)
        if chosen.export is not None:
            from sweep.delivery import deliver  # torch and onnxruntime are imported here, where something is exported

            options = Options(results_dir=str(chosen.results), data_dir=chosen.data_dir)
            print(f"exported to {deliver(each, options, chosen.export, at_most)}")


def _parser() -> exits.Parser:
    parser = exits.Parser(
        prog="python -m sweep.search",
        description="The best network that was trained to the end, within bounds: chosen by its validation accuracy, "
        "the mean over seeds. For each data set one, and the cheapest one whose accuracy is at most one standard error "
        "lower.",
        epilog=MOST,
    )
    parser.add_argument("what", choices=["best"])
    parser.add_argument("results", type=Path, nargs="?", default=Path("results"), help="(default: results)")
    add_bounds(parser)
    parser.add_argument("--data", help="of this data set only, such as fashion_mnist, or of a run's: its key")
    parser.add_argument(
        "--export", type=Path, metavar="DIR", help="write the network's files into DIR, with a card: docs/device.md"
    )
    parser.add_argument("--data-dir", default="data", help="downloads and decoded images, to export (default: data)")
    return parser


def _candidates(results: Path, at_most: AtMost, data: str | None) -> list[Candidate]:
    """The networks to choose from, the best first; of one data set, if one is named."""
    if not results.is_dir():
        raise InputError(f"the results must be a directory, got {str(results)!r}")
    damaged: list[Damage] = []
    gc.disable()  # it would look at 100,000 records again and again, which have no cycles: a third of the time
    try:
        found = best.candidates(Store(results).records(damaged.append), at_most)
    finally:
        gc.freeze()
        gc.enable()
    for line in damage_lines(damaged):
        print(line, file=sys.stderr)
    if not found:
        within = " with " + ", ".join(at_most.texts) if at_most.texts else ""
        raise InputError(f"the results must hold a finished network{within}, got none in {str(results)!r}")
    known = sorted({each.config.data.name for each in found})
    if data is None:
        return found
    # Several data sets may have one name: image folders, or some images of a set and all of it.
    of_run = [each.data_set for each in found if data in (record.key for record in each.records)]
    require(data in known or bool(of_run), "--data", f"one of {', '.join(known)}, or the key of a run", data)
    return [each for each in found if each.config.data.name == data or each.data_set in of_run]


if __name__ == "__main__":
    main()
