"""Networks with accuracies made up by a rule, which the tests of maps share."""

import itertools
import math
from typing import Any

from fire.arch import SqueezeNetSpec
from fire.data.spec import DataSpec
from fire.train.spec import TrainSpec
from sweep.config import RunConfig
from sweep.record import Record
from tests.records import record_of

DATA = DataSpec(name="fashion_mnist", channels=1, stored_size=28, image_size=28)
TRAIN = TrainSpec(epochs=3, lr=0.2)
SR, PCT = (0.125, 0.25, 0.5, 0.75, 1.0), (0.01, 0.25, 0.5, 0.75, 0.99)


def config(*, data: DataSpec = DATA, train: TrainSpec = TRAIN, seed: int = 0, **arch: Any) -> RunConfig:
    """A run of a narrow network."""
    narrow = {"version": "small", "norm": "batch", "classes": 10, "base_e": 32, "incr_e": 32, "conv1": 32}
    return RunConfig(arch=SqueezeNetSpec(**narrow | arch), data=data, train=train, seed=seed)


def truth(of: RunConfig) -> float:
    """A made-up accuracy: a larger network is better, and SR 0.4 is the best at equal size."""
    cost = of.cost
    return 1 - math.exp(-2 - 0.15 * math.log(cost.macs / 1e7) - 0.1 * math.log(cost.parameters / 1e5)) * (
        1 + 0.3 * (of.arch.sr - 0.4) ** 2
    )


def trained(**shared: Any) -> list[Record]:
    """Finished runs of 25 networks over SR and pct_3x3."""
    configs = [config(sr=sr, pct_3x3=pct, **shared) for sr, pct in itertools.product(SR, PCT)]
    return [record_of(each, truth(each)) for each in configs]
