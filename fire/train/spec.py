"""How a network is trained. Standard library only."""

from dataclasses import dataclass

from fire.errors import require
from fire.fields import check, number, one_of, setting, whole

MOST_INITIAL = 0.01  # share of untrained weights in averaged ones, beyond which the average misleads


def _uses_muon(spec: "TrainSpec") -> bool:
    return spec.optimizer == "muon"


@dataclass(frozen=True, kw_only=True)
class TrainSpec:
    """The optimizer, its schedule, augmentation, and the arithmetic. Raises SpecError on bad values."""

    epochs: int = whole(5, least=1, doc="passes over the training images")
    batch_size: int = whole(128, least=1)
    optimizer: str = one_of("sgd", "muon", doc="muon: Muon for the convolutions but the last, SGD for the rest")
    lr: float = number(0.2, interval="(0, inf)", doc="of SGD, at the peak of the schedule")
    muon_lr: float = number(0.02, interval="(0, inf)", doc="of Muon, at the peak of the schedule", when=_uses_muon)
    muon_weight_decay: float = number(
        0.0, interval="[0, inf)", doc="a step, as a multiple of the learning rate", when=_uses_muon
    )
    schedule: str = one_of("onecycle", "linear", doc="up to lr, then down to 0, both linearly; or from lr down to 0")
    warmup: float = number(
        0.2,
        interval="[0, 1]",
        doc="part of a one-cycle schedule that goes up",
        when=lambda spec: spec.schedule == "onecycle",
    )
    momentum: float = number(0.9, interval="[0, 1)")
    nesterov: bool = setting(True, doc="Nesterov's momentum")
    weight_decay: float = number(5e-4, interval="[0, inf)", doc="on the weights of convolutions and linear layers")
    clip: float = number(0.0, interval="[0, inf)", note="0: no clipping", doc="largest norm of the gradients")
    label_smoothing: float = number(0.0, interval="[0, 1)")
    ema: float = number(0.0, interval="[0, 1)", doc="decay a step of averaged weights, which are kept; 0: none")
    weights: str = setting(
        "", doc="a file whose weights to start from, of any kind that fire.weights.formats knows", place=True
    )
    weights_fingerprint: str = setting("", doc="of that file, filled in when the configuration is loaded")
    init: str = one_of("he", "xavier", doc="He et al. 2015, or Caffe's filler; conv10 is Gaussian, std 0.01, with both")
    inputs: str = one_of("standard", "mean", doc="mean 0, variance 1 a channel; or only the mean taken off, in 0..255")
    mirror: bool = setting(True, doc="mirror half of the images, where the data set allows it")
    shift: int = whole(0, least=0, doc="random shifts of up to this many pixels, the border filled with zeros")
    erase: float = number(0.0, interval="[0, 1)", doc="side of a random erased square, part of the image's; 0: none")
    half_size_until: float = number(
        0.0,
        interval="[0, 1)",
        doc="images of half the side until this part of the steps is done, each faster; 0: never",
    )
    mixup: float = number(0.0, interval="[0, inf)", doc="alpha of MixUp (Zhang et al. 2018), such as 0.2; 0: none")
    precision: str = one_of("auto", "fp32", "bf16", doc="auto: bf16 where the hardware is faster with it, else fp32")
    kernels: str = one_of("auto", "compiled", "torch", doc="of norm and pools on a processor; auto: the faster")
    channels_last: bool = setting(True, doc="memory format of images and weights")

    def __post_init__(self) -> None:
        check(self, "train.")
        require(not self.nesterov or self.momentum > 0, "train.nesterov", "false without momentum", self.nesterov)
        works = self.channels_last or self.kernels != "compiled"
        require(works, "train.kernels", "auto or torch with train.channels_last=false", self.kernels)

    def initial_share(self, steps: int) -> float:
        """The share in the averaged weights, after these steps, of those after the first step; 0 without an average."""
        return self.ema ** (steps - 1) if self.ema else 0.0
