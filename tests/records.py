"""Records made by hand, and small stores of them."""

from pathlib import Path
from typing import Any

from fire.arch import ArchSpec, SqueezeNetSpec
from fire.compress.spec import CompressSpec
from fire.cost import COSTS
from fire.data.spec import DataSpec
from fire.train.spec import TrainSpec
from sweep.config import RunConfig
from sweep.manifests import Sweep
from sweep.record import Record
from sweep.store import Store

DATA = DataSpec(name="digits", channels=3, stored_size=224, image_size=224)
TRAIN = TrainSpec(epochs=3, lr=0.2)


def record_of(config: RunConfig, top1: float | None = 0.5, **fields: Any) -> Record:
    """A finished run of this configuration with the same accuracy on the validation and the test set."""
    known: dict[str, Any] = {
        "key": config.key,
        "status": "finished",
        "config": config,
        **{name: getattr(config.cost, name) for name in COSTS},
        "top1": top1,
        "validation_top1": top1,
    }
    return Record(**known | fields)


def record(
    key: str,
    *,
    arch: ArchSpec | None = None,
    data: DataSpec = DATA,
    train: TrainSpec = TRAIN,
    compress: CompressSpec | None = None,
    seed: int = 0,
    sr: float = 0.5,
    top1: float | None = 0.9,
    **fields: Any,
) -> Record:
    """A finished run under a key of one's own, of the digits for 3 epochs unless said; sr: of the network's default."""
    config = RunConfig(
        arch=arch or SqueezeNetSpec(sr=sr, classes=10),
        data=data,
        train=train,
        compress=compress or CompressSpec(),
        seed=seed,
    )
    return record_of(config, top1, **{"key": key, "train_seconds": 60.0} | fields)


def failed(key: str, **fields: Any) -> Record:
    """A run that failed."""
    return record(key, top1=None, status="failed", error="diverged", **fields)


def small_store(root: Path) -> Store:
    """Two seeds of sr=0.5, one run of 0.25, and a failed one of 0.125, in one sweep."""
    store = Store(root)
    store.write(record("a", sr=0.5, top1=0.80, seed=0))
    store.write(record("b", sr=0.5, top1=0.90, seed=1))
    store.write(record("c", sr=0.25, top1=0.70))
    store.write(failed("d", sr=0.125))
    store.write_sweep(sweep("sr", ("arch.sr",), "dcbae"))
    return store


def sweep(name: str, varied: tuple[str, ...], keys: Any, **fields: Any) -> Sweep:
    """A manifest of runs with these keys."""
    return Sweep(name=name, varied=varied, points=tuple(({}, key) for key in keys), **fields)
