"""How a network is trained. Standard library only."""

from dataclasses import dataclass

from fire.errors import require

PRECISIONS = ("auto", "fp32", "bf16")
OPTIMIZERS = ("sgd", "muon")
KERNELS = ("auto", "compiled", "torch")


@dataclass(frozen=True, kw_only=True)
class TrainSpec:
    """The optimizer, its schedule, augmentation, and the arithmetic. Raises SpecError on bad values."""

    epochs: int = 5
    batch_size: int = 128
    optimizer: str = "sgd"  # sgd | muon: Muon for the convolutions but the last, SGD for the rest
    lr: float = 0.2  # of SGD, at the peak of the schedule
    muon_lr: float = 0.02  # of Muon, at the peak of the schedule
    muon_weight_decay: float = 0.0  # a step, as a multiple of the learning rate
    schedule: str = "onecycle"  # onecycle: up to lr, then down to 0, both linearly | linear: from lr down to 0
    warmup: float = 0.2  # part of a one-cycle schedule that goes up
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4  # on the weights of convolutions and linear layers
    clip: float = 0.0  # gradients are scaled down to this norm; 0: never
    label_smoothing: float = 0.0
    ema: float = 0.0  # decay a step of the averaged weights that are then evaluated and kept; 0: none
    weights: str = ""  # a file whose weights to start from, of any kind that fire.weights.formats knows
    weights_fingerprint: str = ""  # of that file, filled in when the configuration is loaded
    init: str = "he"  # he (He et al. 2015) | xavier (Caffe's filler); conv10 is Gaussian, std 0.01, with both
    inputs: str = "standard"  # standard: mean 0, variance 1 a channel | mean: only the mean taken off, in 0..255
    mirror: bool = True  # mirror half of the images, where the data set allows it
    shift: int = 0  # random shifts of up to so many pixels, the border filled with zeros
    erase: float = 0.0  # a random square of the image with this part of its side is erased; 0: none
    mixup: float = 0.0  # alpha of MixUp (Zhang et al. 2018), 0.2 for instance; 0: none
    precision: str = "auto"  # auto: bf16 where the hardware has it, else fp32 | fp32 | bf16
    kernels: str = "auto"  # of norm and pools on a processor: auto, the faster | compiled | torch
    channels_last: bool = True

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "train.epochs", "at least 1", self.epochs)
        require(self.batch_size >= 1, "train.batch_size", "at least 1", self.batch_size)
        require(self.optimizer in OPTIMIZERS, "train.optimizer", "one of " + ", ".join(OPTIMIZERS), self.optimizer)
        require(0 < self.lr < float("inf"), "train.lr", "above 0 and finite", self.lr)
        require(0 < self.muon_lr < float("inf"), "train.muon_lr", "above 0 and finite", self.muon_lr)
        finite = 0 <= self.muon_weight_decay < float("inf")
        require(finite, "train.muon_weight_decay", "at least 0 and finite", self.muon_weight_decay)
        require(self.schedule in ("onecycle", "linear"), "train.schedule", "one of onecycle, linear", self.schedule)
        require(0 <= self.warmup <= 1, "train.warmup", "in [0, 1]", self.warmup)
        require(0 <= self.momentum < 1, "train.momentum", "in [0, 1)", self.momentum)
        require(not self.nesterov or self.momentum > 0, "train.nesterov", "false without momentum", self.nesterov)
        finite = 0 <= self.weight_decay < float("inf")
        require(finite, "train.weight_decay", "at least 0 and finite", self.weight_decay)
        finite = 0 <= self.clip < float("inf")
        require(finite, "train.clip", "at least 0 and finite (0: no clipping)", self.clip)
        require(0 <= self.label_smoothing < 1, "train.label_smoothing", "in [0, 1)", self.label_smoothing)
        require(0 <= self.ema < 1, "train.ema", "in [0, 1)", self.ema)
        require(self.init in ("he", "xavier"), "train.init", "one of he, xavier", self.init)
        require(self.inputs in ("standard", "mean"), "train.inputs", "one of standard, mean", self.inputs)
        require(self.shift >= 0, "train.shift", "at least 0", self.shift)
        require(0 <= self.erase < 1, "train.erase", "in [0, 1)", self.erase)
        require(0 <= self.mixup < float("inf"), "train.mixup", "at least 0 and finite", self.mixup)
        require(self.precision in PRECISIONS, "train.precision", "one of " + ", ".join(PRECISIONS), self.precision)
        require(self.kernels in KERNELS, "train.kernels", "one of " + ", ".join(KERNELS), self.kernels)
