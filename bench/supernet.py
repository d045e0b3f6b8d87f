"""python -m bench.supernet --table FILE.parquet --out FILE.csv [data=... data.root=...]: accuracies by shared weights.

One training instead of one for each network. Every network of the space is a slice of the supernet: the first filters
of each layer (Yu et al. 2019, "Slimmable Neural Networks", arXiv:1812.08928). Each step trains the largest network of
the space, the smallest and two at random, by the sandwich rule; all but the largest learn the largest one's
probabilities (Yu and Huang 2019, arXiv:1903.05134). Batch normalisation is computed anew for each network of FILE, the
tabular benchmark, before its accuracy is taken. `python -m bench.map --supernet FILE.csv` compares it with the map.
"""

import argparse
import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench import tabular
from bench.replay import place_of
from bench.search import space_of
from fire import blocks
from fire.arch import SqueezeNetSpec
from fire.data import dataset
from fire.data.batches import Batches
from fire.data.dataset import DataSet
from fire.errors import SpecError
from fire.machine import hardware, native
from fire.machine.accelerate import accelerate
from fire.machine.process import prepare_process
from fire.model import build
from fire.train.evaluation import autocast, evaluate
from fire.train.optimizers import learning_rate
from fire.train.spec import TrainSpec
from sweep.search.space import Space

SANDWICHED = 2  # networks drawn in each step, beside the largest and the smallest
SEEN = 16  # training batches by which a network's batch normalisation is computed anew
CPU = torch.device("cpu")


class Channels(NamedTuple):
    """The places of a layer's channels among the supernet's, int64 of shape (channels,), and how many it has there."""

    places: Tensor
    among: int


class Part(NamedTuple):
    """A network's parameter in the supernet: the name of the whole, its rows (outputs) and its columns (inputs).

    Shapes: (rows, columns, height, width); (rows,) of biases and normalisation, which have no columns.
    """

    whole: str
    rows: Channels
    columns: Channels | None = None

    def of(self, whole: Tensor) -> Tensor:
        """A copy of the part."""
        rows = whole[self.rows.places]
        return rows if self.columns is None else rows[:, self.columns.places]

    def add(self, values: Tensor, whole: Tensor) -> None:
        """Add to the part, in place."""
        if self.columns is None:
            whole[self.rows.places] += values
        else:
            whole[self.rows.places[:, None], self.columns.places] += values


def parts(spec: SqueezeNetSpec, width: int, channels: int) -> dict[str, Part]:
    """Where each parameter of a network lies in a supernet of this many filters a layer, by the parameter's name.

    The outputs of a Fire module are the first e1x1 of one half of 2 * width channels, and the first e3x3 of the other.
    Stems of different kernels have weights of their own, and so have classifiers after different numbers of modules.
    """
    found: dict[str, Part] = {}

    def norm(name: str, whole: str, rows: Channels) -> None:
        for parameter in ("weight", "bias"):
            found[f"{name}.norm.{parameter}"] = Part(f"{whole}.norm.{parameter}", rows)

    def normed(name: str, rows: Channels, columns: Channels, whole: str = "") -> None:
        found[f"{name}.weight"] = Part(f"{whole or name}.weight", rows, columns)
        norm(name, whole or name, rows)

    inputs = _first(channels, channels)
    for block in spec.plan(channels):
        match block:
            case blocks.Conv(norm=True):
                outputs = _first(block.outputs, width)
                normed(block.name, outputs, inputs, f"{block.name}-{block.kernel}")
                inputs = outputs
            case blocks.Conv():
                outputs = _first(block.outputs, block.outputs)
                found[f"{block.name}.weight"] = Part(f"{block.name}.weight", outputs, inputs)
                found[f"{block.name}.bias"] = Part(f"{block.name}.bias", outputs)
            case blocks.Fire(norm=True):
                squeezed = _first(block.s1x1, width)
                halves = [_first(block.e1x1, width), _first(block.e3x3, width)]
                outputs = Channels(torch.cat([halves[0].places, width + halves[1].places]), 2 * width)
                normed(f"{block.name}.squeeze", squeezed, inputs)
                for branch, half in zip(("expand1x1", "expand3x3"), halves, strict=True):
                    found[f"{block.name}.{branch}.weight"] = Part(f"{block.name}.{branch}.weight", half, squeezed)
                norm(block.name, block.name, outputs)
                if block.bypass == "conv":
                    normed(f"{block.name}.bypass", outputs, inputs)
                inputs = outputs
            case blocks.MaxPool() | blocks.AveragePool() | blocks.Dropout():
                pass
            case _:
                raise SpecError(f"a supernet must be of Fire modules with batch normalisation, got {block!r}")
    return found


def _first(count: int, among: int) -> Channels:
    return Channels(torch.arange(count), among)


class Supernet:
    """The weights of all networks of a space, on the CPU."""

    def __init__(self, covering: Sequence[SqueezeNetSpec], channels: int = 3, seed: int = 0) -> None:
        """covering: networks that have every layer between them, none of them narrower than another of the space."""
        self._channels = channels
        self._width = max(getattr(block, "outputs", 0) for spec in covering for block in spec.plan(channels))
        self.parameters: dict[str, nn.Parameter] = {}
        for spec in covering:
            places = self.parts(spec)
            for name, parameter in build(spec, channels, seed=seed).named_parameters():
                self._grow(places[name], parameter, seed)

    def _grow(self, part: Part, parameter: Tensor, seed: int) -> None:
        """Add the whole of a part; its weights have the deviation of the part's, normalisation begins as torch's."""
        if part.whole in self.parameters:
            return
        columns = [] if part.columns is None else [part.columns.among]
        whole = torch.empty(part.rows.among, *columns, *parameter.shape[2:])
        if part.columns is None:
            nn.init.constant_(whole, float(parameter.detach()[0]))
        else:
            generator = torch.Generator().manual_seed(seed + len(self.parameters))
            nn.init.normal_(whole, 0.0, float(parameter.detach().std()), generator=generator)
        self.parameters[part.whole] = nn.Parameter(whole)

    def parts(self, spec: SqueezeNetSpec) -> dict[str, Part]:
        """Where each parameter of a network lies."""
        return parts(spec, self._width, self._channels)

    @torch.no_grad()
    def network(self, spec: SqueezeNetSpec) -> nn.Sequential:
        """A network with a copy of its weights."""
        network, places = build(spec, self._channels), self.parts(spec)
        for name, parameter in network.named_parameters():
            parameter.copy_(places[name].of(self.parameters[places[name].whole]))
        return network

    @torch.no_grad()
    def add_gradients(self, network: nn.Module, spec: SqueezeNetSpec) -> None:
        """Add the gradients of a network to those of its weights here."""
        places = self.parts(spec)
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None
            whole = self.parameters[places[name].whole]
            if whole.grad is None:
                whole.grad = torch.zeros_like(whole)
            places[name].add(parameter.grad, whole.grad)


def covering_of(space: Space) -> list[SqueezeNetSpec]:
    """The widest networks of the axes of experiment=tabular: all stems, numbers of modules and places of a bypass."""
    values = {axis.key.removeprefix("arch."): axis.values for axis in space.axes}
    base = space.any_point.config.arch
    assert isinstance(base, SqueezeNetSpec)
    most = {name: max(values[name]) for name in ("base_e", "incr_e", "conv1")}
    widest = replace(base, **most, bypass="complex", pools="none")
    varied = itertools.product(values["stem_kernel"], values["fires"], values["freq"])
    return [replace(widest, stem_kernel=kernel, fires=fires, freq=freq) for kernel, fires, freq in varied]


def arch_of(space: Space, index: int) -> SqueezeNetSpec | None:
    """The network of a point; None if it is not valid."""
    point = space.point(index)
    assert point is None or isinstance(point.config.arch, SqueezeNetSpec)
    return None if point is None else point.config.arch


def drawn_from(space: Space, random: np.random.Generator) -> Iterator[SqueezeNetSpec]:
    """Networks within the bounds of a space, drawn at random without end."""
    allowed = np.flatnonzero(space.allowed)
    while True:
        if arch := arch_of(space, int(random.choice(allowed))):
            yield arch


def ends(space: Space) -> tuple[SqueezeNetSpec, SqueezeNetSpec]:
    """The networks of the most and of the fewest multiply-accumulates within the bounds."""
    allowed = np.flatnonzero(space.allowed)
    order = allowed[np.argsort(space.costs["macs"][allowed], kind="stable")].tolist()
    largest, smallest = (
        next(arch for place in places if (arch := arch_of(space, place))) for places in (reversed(order), order)
    )
    return largest, smallest


class Training:
    """The supernet's training, by SGD with the schedule of a recipe, and the accuracies of its networks."""

    def __init__(self, supernet: Supernet, data: DataSet, recipe: TrainSpec) -> None:
        self.supernet, self.recipe = supernet, recipe
        self._batches = Batches(data.train, data, recipe, CPU)
        self._validation = Batches(data.validation, data, recipe, CPU)
        self._precision, self._kernels = hardware.fastest_precision("cpu"), native.fastest("cpu")

    def run(
        self, largest: SqueezeNetSpec, smallest: SqueezeNetSpec, draws: Iterator[SqueezeNetSpec], seed: int = 0
    ) -> list[float]:
        """Train for the recipe's epochs. Returns the mean loss of the largest network in each."""
        shared, recipe = list(self.supernet.parameters.values()), self.recipe
        weights, others = ([whole for whole in shared if (whole.dim() > 1) == decays] for decays in (True, False))
        groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others}]
        optimizer = torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.nesterov)
        steps = self._batches.steps(recipe.batch_size)
        means: list[float] = []
        for epoch in range(recipe.epochs):
            losses = []
            generator = torch.Generator().manual_seed(seed * recipe.epochs + epoch)
            for i, (images, labels) in enumerate(self._batches.shuffled(recipe.batch_size, generator)):
                logits = self._learn(largest, images, labels)
                losses.append(F.cross_entropy(logits, labels))
                for spec in (smallest, *itertools.islice(draws, SANDWICHED)):
                    self._learn(spec, images, logits.softmax(dim=1))
                if recipe.clip:
                    nn.utils.clip_grad_norm_(shared, recipe.clip)
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(recipe, epoch * steps + i, recipe.epochs * steps)
                optimizer.step()
                optimizer.zero_grad()
            means.append(float(torch.stack(losses).mean()))
            print(f"epoch {epoch + 1}/{recipe.epochs}: loss of the largest network {means[-1]:.4f}", flush=True)
        return means

    def _learn(self, spec: SqueezeNetSpec, images: Tensor, wanted: Tensor) -> Tensor:
        """Add a network's gradients for these labels or probabilities; its logits, which nothing is learned through."""
        network = self.supernet.network(spec).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        logits = self._logits(network, images)
        F.cross_entropy(logits, wanted).backward()
        self.supernet.add_gradients(network, spec)
        return logits.detach()

    def _logits(self, network: nn.Module, images: Tensor) -> Tensor:
        with autocast(CPU, self._precision):
            logits: Tensor = accelerate(network, self._kernels)(images)
        return logits.float()

    def top1(self, spec: SqueezeNetSpec) -> float:
        """The validation accuracy of a network with its part of the weights."""
        network = self.supernet.network(spec).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the mean over all that it sees
        shuffled = self._batches.shuffled(self.recipe.batch_size, torch.Generator().manual_seed(0))
        with torch.no_grad():
            for _, (images, _) in zip(range(SEEN), shuffled, strict=False):
                self._logits(network, images)
        return evaluate(network, self._validation, CPU, self._precision).top1


def main() -> None:
    """Train, write the accuracy of each network of the table by its key."""
    parser = argparse.ArgumentParser(prog="python -m bench.supernet", description="Accuracies by shared weights.")
    parser.add_argument("--table", type=Path, required=True, help="a file that python -m analysis.tabular wrote")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, help="default: as the table's networks")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    parser.add_argument("overrides", nargs="*", help="such as data=image_folder_32 data.root=FOLDER")
    chosen = parser.parse_args()
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    networks = tabular.load(chosen.table).networks
    space = space_of(tabular.DRAWN, overrides=chosen.overrides)
    config = space.any_point.config
    prepare_process("cpu", threads=1)  # as each network of the table
    recipe = replace(config.train, optimizer="sgd", epochs=chosen.epochs or config.train.epochs)
    data = dataset.load(config.data, chosen.data_dir)
    training, begun = Training(Supernet(covering_of(space), config.data.channels), data, recipe), time.monotonic()
    training.run(*ends(space), drawn_from(space, np.random.default_rng(0)))
    print(f"trained in {time.monotonic() - begun:.0f} s on one core", flush=True)
    places = [place_of(space, row) for row in networks.to_dict("records")]
    found = [training.top1(space.planned(space.overrides(place)).config.arch) for place in places]
    pd.DataFrame({"key": networks["key"], "top1": found}).to_csv(chosen.out, index=False)


if __name__ == "__main__":
    main()
