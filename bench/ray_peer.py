"""The peers under Ray Tune, two trials at a time: the plain loop, or our own run.

python -m bench.ray_peer plain|ours EPOCHS IMAGES SEED DATA_DIR OUT SR [SR ...]
"""

import json
import logging
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from bench import plain
from bench.step import NETWORKS
from fire.data import dataset
from fire.data.spec import DataSpec
from fire.machine.hardware import cores
from fire.train.spec import TrainSpec
from sweep.config import Options, RunConfig
from sweep.run import run

BATCH, LR = 128, 0.2


def train_plain(config: dict[str, Any]) -> None:
    """A trial of the plain loop, with a validation after each epoch, as people write it."""
    torch.manual_seed(config["seed"])
    images = dataset.load(DataSpec(limit=config["images"]), Path(config["data_dir"]))
    model = plain.SqueezeNet(replace(NETWORKS["squeezenet_narrow"], sr=config["sr"]), channels=1)
    parts = {
        name: plain.loader(getattr(images, name), BATCH, train=name == "train")
        for name in ("train", "validation", "test")
    }
    optimizer, schedule = plain.optimizer_and_schedule(model, LR, config["epochs"] * len(parts["train"]))
    for _ in range(config["epochs"]):
        model.train()
        for batch, labels in parts["train"]:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(batch), labels).backward()
            optimizer.step()
            schedule.step()
        plain.accuracy(model, parts["validation"])
    tune.report({"top1": plain.accuracy(model, parts["test"])})


def train_ours(config: dict[str, Any]) -> None:
    """A trial that is a run of ours."""
    record = run(
        RunConfig(
            arch=replace(NETWORKS["squeezenet_narrow"], sr=config["sr"]),
            data=DataSpec(limit=config["images"]),
            train=TrainSpec(epochs=config["epochs"], batch_size=BATCH, lr=LR),
            seed=config["seed"],
        ),
        Options(threads=1, data_dir=config["data_dir"], results_dir=config["results_dir"]),
    )
    tune.report({"top1": record.top1})


def main(kind: str, epochs: int, images: int, seed: int, data_dir: str, out: str, ratios: list[float]) -> None:
    """All trials, and their accuracies."""
    ray.init(num_cpus=cores(), include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources({"plain": train_plain, "ours": train_ours}[kind], {"cpu": 1}),
            param_space={
                "sr": tune.grid_search(ratios),
                "epochs": epochs,
                "images": images,
                "seed": seed,
                "data_dir": str(Path(data_dir).resolve()),
                "results_dir": f"{folder}/results",
            },
            run_config=tune.RunConfig(storage_path=f"{folder}/ray", verbose=0),
        )
        found = tuner.fit()
    lines = [json.dumps({"sr": result.config["sr"], "top1": result.metrics["top1"]}) for result in found]
    Path(out).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    kind, *numbers = sys.argv[1:5]
    main(kind, *map(int, numbers), *sys.argv[5:7], [float(sr) for sr in sys.argv[7:]])
