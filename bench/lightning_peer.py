"""The peer: a squeeze-ratio sweep as a Hydra multirun of Lightning, in the manner of lightning-hydra-template.

python -m bench.lightning_peer -m sr=0.125,0.25 epochs=1 images=5500 data_dir=data out=FILE
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import hydra
import lightning
import torch
from hydra.core.config_store import ConfigStore
from lightning.pytorch.loggers import CSVLogger
from omegaconf import MISSING, DictConfig
from torch import Tensor, nn
from torch.utils.data import DataLoader

from bench import plain
from bench.step import NETWORKS
from fire.data import dataset
from fire.data.spec import DataSpec

ConfigStore.instance().store(
    "peer",
    {
        "sr": 0.125,
        "seed": 0,
        "epochs": 1,
        "images": 0,
        "batch_size": 128,
        "lr": 0.2,
        "data_dir": MISSING,
        "out": MISSING,
    },
)


class Pictures(lightning.LightningDataModule):
    """The three sets, behind loaders with their defaults."""

    def __init__(self, cfg: DictConfig) -> None:
        super().__init__()
        self.batch_size = cfg.batch_size
        self.images = dataset.load(DataSpec(limit=cfg.images), Path(cfg.data_dir))

    def train_dataloader(self) -> DataLoader[Any]:
        return plain.loader(self.images.train, self.batch_size, train=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return plain.loader(self.images.validation, self.batch_size, train=False)

    def test_dataloader(self) -> DataLoader[Any]:
        return plain.loader(self.images.test, self.batch_size, train=False)


class Classifier(lightning.LightningModule):
    """The network, its loss, its optimizer."""

    def __init__(self, model: nn.Module, lr: float) -> None:
        super().__init__()
        self.model, self.lr = model, lr

    def training_step(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        loss = nn.functional.cross_entropy(self.model(batch[0]), batch[1])
        self.log("train/loss", loss, on_step=False, on_epoch=True, prog_bar=True)
        return loss

    def _score(self, batch: tuple[Tensor, Tensor], part: str) -> None:
        right = (self.model(batch[0]).argmax(1) == batch[1]).float().mean()
        self.log(f"{part}/acc", right, on_step=False, on_epoch=True, prog_bar=True)

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self._score(batch, "val")

    def test_step(self, batch: tuple[Tensor, Tensor]) -> None:
        self._score(batch, "test")

    def configure_optimizers(self) -> dict[str, Any]:
        steps = int(self.trainer.estimated_stepping_batches)
        optimizer, schedule = plain.optimizer_and_schedule(self.model, self.lr, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


@hydra.main(version_base="1.3", config_name="peer")
def main(cfg: DictConfig) -> None:
    """One run of the multirun: train, then test the best checkpoint."""
    lightning.seed_everything(cfg.seed, verbose=False)
    torch.set_float32_matmul_precision("high")
    spec = replace(NETWORKS["squeezenet_narrow"], sr=cfg.sr)
    folder = hydra.core.hydra_config.HydraConfig.get().runtime.output_dir
    trainer = lightning.Trainer(
        max_epochs=cfg.epochs,
        accelerator="cpu",
        logger=CSVLogger(folder),
        enable_progress_bar=False,
        default_root_dir=folder,
    )
    pictures = Pictures(cfg)
    trainer.fit(Classifier(plain.SqueezeNet(spec, channels=1), cfg.lr), datamodule=pictures)
    (scores,) = trainer.test(ckpt_path="best", datamodule=pictures, weights_only=False)
    with open(cfg.out, "a") as file:
        print(json.dumps({"sr": cfg.sr, "top1": scores["test/acc"]}), file=file)


if __name__ == "__main__":
    main()
