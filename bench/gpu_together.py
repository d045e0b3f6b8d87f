"""Several different networks trained at once by one process on one GPU: a CUDA graph and a stream for each network.

The images stay on the device as uint8. A step finds its batch by a counter on the device, mirrors it, and moves the
weights as the recipe quick does, with Muon and SGD; it asks the host for nothing, so that it can be captured once and
replayed. On the processor the same step runs without a graph. It lies in bench/, beside what it is compared with: no
GPU has run it yet.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fire.data.batches import Batches
from fire.data.dataset import DataSet
from fire.data.streaming import Streamed
from fire.errors import require, unknown
from fire.machine.accelerate import accelerate
from fire.train.evaluation import autocast
from fire.train.optimizers import learning_rate, orthogonal
from fire.train.spec import TrainSpec

REPORT_SECONDS = 1.0
WARM = 3  # steps before the capture: libraries choose their algorithms in the first ones
NOT_HERE = ("shift", "erase", "mixup", "half_size_until", "ema", "weights")  # settings that the step does not know


@dataclass(frozen=True, kw_only=True, eq=False)
class Resident:
    """Training images (N, C, S, S) uint8 and labels (N,) on the device, which all networks share."""

    images: Tensor
    labels: Tensor
    mean: Tensor
    scale: Tensor
    mirror: bool

    @classmethod
    def of(cls, data: DataSet, spec: TrainSpec, device: torch.device) -> "Resident":
        """The training images of a data set, to be normalised as the recipe says."""
        images, labels, rows = data.train
        assert not isinstance(images, Streamed), "too many images to be kept on a GPU"
        require(data.spec.stored_size == data.spec.image_size, "data.image_size", "stored_size", data.spec.image_size)
        batches = Batches(data.train, data, spec, torch.device("cpu"))
        return cls(
            images=torch.from_numpy(images[rows]).to(device),
            labels=torch.from_numpy(labels[rows]).to(device),
            mean=torch.tensor(batches.mean, device=device).view(1, -1, 1, 1),
            scale=torch.tensor(batches.scale, device=device).view(1, -1, 1, 1),
            mirror=spec.mirror and data.spec.mirror,
        )

    def normalised(self, images: Tensor) -> Tensor:
        """Images as the network wants them: fp32, channels_last."""
        normalised = torch.empty(images.shape, device=images.device, memory_format=torch.channels_last)
        return torch.mul(images.float() - self.mean, self.scale, out=normalised)


class Trainer:
    """One network and all that its step changes. The order of images depends on the seed alone.

    spec: the recipe, without what NOT_HERE names. precision: "bf16" or "fp32". Raises SpecError for another recipe.
    """

    def __init__(
        self,
        network: nn.Sequential,
        data: Resident,
        spec: TrainSpec,
        *,
        seed: int,
        precision: str,
        capture: bool = True,
    ) -> None:
        """capture: whether the step becomes a graph, on a GPU."""
        for name in NOT_HERE:
            require(not getattr(spec, name), f"train.{name}", "0 for networks trained together", getattr(spec, name))
        device = data.images.device
        self.network = network.to(device=device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        self._faster = accelerate(self.network, "torch")
        self._data, self._spec, self._precision = data, spec, precision
        self.steps = len(data.images) // spec.batch_size  # an epoch
        require(self.steps > 0, "train.batch_size", f"at most {len(data.images)}", spec.batch_size)
        self._muon, self._decayed, self._rest = _grouped(network, spec)
        self._parameters = [*self._muon, *self._decayed, *self._rest]
        self._momenta = [torch.zeros_like(parameter) for parameter in self._parameters]
        steps = spec.epochs * self.steps
        rates = [learning_rate(spec, step, steps) / spec.lr for step in range(steps)]
        self._rates = torch.tensor(rates, device=device)  # as parts of the peak's
        self._taken = torch.zeros(1, dtype=torch.long, device=device)
        self._within = torch.arange(spec.batch_size, device=device)
        self._generator = torch.Generator(device).manual_seed(seed)
        self._order = torch.arange(len(data.images), device=device)
        self._mirrored = torch.zeros(len(data.images), dtype=torch.bool, device=device)
        self.loss = torch.zeros((), device=device)  # of the last step
        self._stream: torch.cuda.Stream | None = None
        self._graph: torch.cuda.CUDAGraph | None = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)
            self._stream.wait_stream(torch.cuda.current_stream())  # which fills the tensors above
            self._graph = self._captured(self._stream) if capture else None

    @torch.no_grad()
    def begin_epoch(self) -> None:
        """Choose the order of the images and which are mirrored."""
        with self._own_stream():
            count, device = len(self._order), self._order.device
            self._order.copy_(torch.randperm(count, generator=self._generator, device=device))
            if self._data.mirror:
                self._mirrored.copy_(torch.rand(count, generator=self._generator, device=device) < 0.5)

    def go(self) -> None:
        """Take the next step, or have the GPU take it when it can."""
        with self._own_stream():
            if self._graph is None:
                self.step()
            else:
                self._graph.replay()

    def step(self) -> None:
        """The step itself: all of it on the device."""
        images, labels = self._batch()
        with autocast(images.device, self._precision):
            logits = self._faster(images)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=self._spec.label_smoothing)
        gradients = list(torch.autograd.grad(loss, self._parameters))
        with torch.no_grad():
            self._move(gradients)
            self.loss.copy_(loss)
            self._taken += 1

    def _batch(self) -> tuple[Tensor, Tensor]:
        """The images and labels of this step."""
        places = self._taken % self.steps * self._spec.batch_size + self._within
        rows = self._order.index_select(0, places)
        images = self._data.images.index_select(0, rows)
        if self._data.mirror:
            mirrored = self._mirrored.index_select(0, places)[:, None, None, None]
            images = torch.where(mirrored, images.flip(-1), images)
        return self._data.normalised(images), self._data.labels.index_select(0, rows)

    def _move(self, gradients: list[Tensor]) -> None:
        """Move the weights along the gradients, in the order of the parameters, which are changed."""
        spec, muons = self._spec, len(self._muon)
        rate = self._rates.index_select(0, self._taken).squeeze(0)
        if spec.clip:
            norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
            torch._foreach_mul_(gradients, (spec.clip / (norm + 1e-6)).clamp(max=1.0))
        if muons:
            self._move_by_muon(gradients[:muons], self._momenta[:muons], rate * spec.muon_lr)
        parameters, gradients, momenta = self._parameters[muons:], gradients[muons:], self._momenta[muons:]
        if self._decayed and spec.weight_decay:
            decayed = len(self._decayed)
            torch._foreach_add_(gradients[:decayed], self._decayed, alpha=spec.weight_decay)
        if spec.momentum:
            torch._foreach_mul_(momenta, spec.momentum)
            torch._foreach_add_(momenta, gradients)
            if spec.nesterov:
                torch._foreach_add_(gradients, momenta, alpha=spec.momentum)
            else:
                gradients = [momentum.clone() for momentum in momenta]
        torch._foreach_mul_(gradients, rate * spec.lr)
        torch._foreach_sub_(parameters, gradients)

    def _move_by_muon(self, gradients: list[Tensor], momenta: list[Tensor], rate: Tensor) -> None:
        """As fire.train.optimizers.ConvMuon does, with a learning rate that lies on the device."""
        torch._foreach_lerp_(momenta, gradients, 1 - self._spec.momentum)
        updates = torch._foreach_lerp(gradients, momenta, self._spec.momentum) if self._spec.nesterov else momenta
        matrices = orthogonal([update.flatten(1) for update in updates])
        for weight, matrix in zip(self._muon, matrices, strict=True):
            outputs, inputs = matrix.shape
            weight.mul_(1 - rate * self._spec.muon_weight_decay)
            weight.sub_(matrix.view(weight.shape) * (rate * max(1, outputs / inputs) ** 0.5))

    def _captured(self, stream: torch.cuda.Stream) -> torch.cuda.CUDAGraph:
        """The step as a graph; all that the steps on the way to it have changed is put back."""
        changed = [*self._parameters, *self.network.buffers(), *self._momenta, self._taken, self.loss]
        before = [tensor.detach().clone() for tensor in changed]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(min(WARM, len(self._rates))):
                self.step()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            self.step()
        with torch.no_grad():
            for tensor, value in zip(changed, before, strict=True):
                tensor.copy_(value)
        torch.cuda.synchronize()
        return graph

    def _own_stream(self) -> contextlib.AbstractContextManager[object]:
        return contextlib.nullcontext() if self._stream is None else torch.cuda.stream(self._stream)


def _grouped(network: nn.Module, spec: TrainSpec) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """What Muon moves, and what SGD moves with and without weight decay, as fire.train.optimizers.build_optimizers."""
    layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    convolutions = [layer.weight for layer in layers[:-1] if isinstance(layer, nn.Conv2d)]
    match spec.optimizer:
        case "muon":
            muon: list[Tensor] = list(convolutions)
        case "sgd":
            muon = []
        case other:
            raise unknown("train.optimizer", other)
    chosen = {id(weight) for weight in muon}
    rest = [parameter for parameter in network.parameters() if id(parameter) not in chosen]
    return muon, [each for each in rest if each.ndim > 1], [each for each in rest if each.ndim <= 1]


def losses(trainers: Sequence[Trainer]) -> list[float]:
    """The loss of each network's last step, in nats. Waits for the GPU."""
    if trainers[0].loss.is_cuda:
        torch.cuda.synchronize()  # they are written on streams of their own
    return torch.stack([trainer.loss for trainer in trainers]).tolist()


def train(
    trainers: Sequence[Trainer], epochs: int, report: Callable[[list[float]], None] = lambda losses: None
) -> None:
    """Train all networks for some epochs, a step of each in turn. report: gets their losses once a second.

    They share the data and the batch size, so that their epochs have as many steps.
    """
    reported = time.perf_counter()
    for _ in range(epochs):
        for trainer in trainers:
            trainer.begin_epoch()
        for _ in range(trainers[0].steps):
            for trainer in trainers:
                trainer.go()
            if time.perf_counter() - reported > REPORT_SECONDS:
                report(losses(trainers))
                reported = time.perf_counter()
    report(losses(trainers))
