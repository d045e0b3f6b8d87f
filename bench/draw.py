"""python -m bench.draw: the networks of conf/experiment/tabular.yaml, drawn before any of them was trained.

They are within four times the budgets of experiment=mlperf_tiny. Their sizes are spread evenly on a logarithmic scale:
a draw from all points would hardly have a large one. Points of one size are sorted by multiply-accumulates and cut into
thirds of equally many, each of which gives as many networks.
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from bench.search import space_of
from sweep.search.space import Space

TIMES = 4  # the budgets
SIZES, MACS, EACH = 8, 3, 4  # classes of size, classes of MACs in each, networks drawn of each
SEED = 0


def draw(space: Space) -> list[int]:
    """Points of the space, the smallest first, no two of which are the same network."""
    random = np.random.default_rng(SEED)
    chosen: list[int] = []
    drawn: set[int | None] = {None}  # None: not valid
    for cell in _cells(space):
        found: list[int] = []
        for point in random.permutation(cell).tolist():
            if len(found) == EACH:
                break
            network = space.network(point)
            if network not in drawn:
                drawn.add(network)
                found.append(point)
        chosen += found
    return sorted(chosen, key=lambda point: int(space.costs["weight_bytes"][point]))


def _cells(space: Space) -> list[NDArray[np.intp]]:
    """The points by size, and those of one size in equal parts by multiply-accumulates: SIZES x MACS arrays."""
    size, macs = space.costs["weight_bytes"], space.costs["macs"]
    points = np.flatnonzero(space.allowed)
    edges = np.geomspace(size[points].min(), size[points].max() + 1, SIZES + 1)[1:-1]
    classes = np.digitize(size[points], edges)
    by_size = [points[classes == number] for number in range(SIZES)]
    return [cell for same in by_size for cell in np.array_split(same[np.argsort(macs[same], kind="stable")], MACS)]


def main() -> None:
    """Print the list as the experiment has it."""
    argparse.ArgumentParser(prog="python -m bench.draw", description=__doc__).parse_args()
    space = space_of("tabular")
    for point in draw(space):
        settings = (f"{key}: {value}" for key, value in space.overrides(point).items())
        print(f"    - {{{', '.join(settings)}}}")


if __name__ == "__main__":
    main()
