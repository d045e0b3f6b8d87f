"""python -m sweep.search best [RESULTS] [--size-bytes 500e3] [--macs 20e6] ...: the best network within bounds.

Searches themselves are sweeps: python -m sweep experiment=search.
"""

import sys
from pathlib import Path

from fire.cost import COSTS
from fire.errors import InputError, require
from sweep.commands import exits
from sweep.commands.display import damage_lines
from sweep.search import best
from sweep.search.spec import AtMost
from sweep.store import Damage, Store


def main() -> None:
    """Run the command."""
    exits.main("sweep.search", lambda: answer(sys.argv[1:]))


def answer(arguments: list[str]) -> None:
    """Print what the arguments ask for. Raises InputError if there is no such network."""
    parser = exits.Parser(
        prog="python -m sweep.search",
        description="The best network that was trained to the end, within bounds: chosen by its validation accuracy, "
        "the mean over seeds. For each data set one.",
    )
    parser.add_argument("what", choices=["best"])
    parser.add_argument("results", type=Path, nargs="?", default=Path("results"), help="(default: results)")
    for name in COSTS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=float, metavar="MOST", help=f"upper bound on {name}")
    parser.add_argument("--data", help="of this data set only, such as fashion_mnist")
    chosen = parser.parse_args(arguments)
    at_most = AtMost(**{name: getattr(chosen, name) for name in COSTS})
    if not chosen.results.is_dir():
        raise InputError(f"the results must be a directory, got {str(chosen.results)!r}")
    damaged: list[Damage] = []
    found = best.candidates(Store(chosen.results).records(damaged.append), at_most)
    for line in damage_lines(damaged):
        print(line, file=sys.stderr)
    if not found:
        within = " with " + ", ".join(at_most.texts) if at_most.texts else ""
        raise InputError(f"the results must hold a finished network{within}, got none in {str(chosen.results)!r}")
    known = sorted({each.config.data.name for each in found})
    if chosen.data is not None:
        require(chosen.data in known, "--data", "one of " + ", ".join(known), chosen.data)
        found = [each for each in found if each.config.data.name == chosen.data]
    best_of: dict[str, best.Candidate] = {}
    for each in found:
        best_of.setdefault(each.data_set, each)
    for each in best_of.values():
        for line in best.lines(each):
            print(line)


if __name__ == "__main__":
    main()
