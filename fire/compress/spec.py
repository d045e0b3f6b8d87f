"""How a trained network is made small: the specification of compression. Standard library only."""

from dataclasses import dataclass

from fire.errors import require

METHODS = ("none", "deep_compression", "entropy")
PRUNING = ("sensitivity", "table")


@dataclass(frozen=True, kw_only=True)
class CompressSpec:
    """A method of compression and its few knobs. Raises SpecError on bad values.

    Both methods first change the weights for `epochs`, then hold the codes fixed and tune what the codes stand for
    (codebooks, steps) and the biases for `final_epochs`.
    """

    method: str = "none"  # none | deep_compression (Han et al. 2015) | entropy: quantisation trained for few bits
    epochs: int = 3
    final_epochs: int = 1
    # Of Adam, as a multiple of each tensor's root mean square, at the peak of the schedule. Pruning wants about three
    # times as much as the entropy method: docs/log.md.
    lr: float = 0.005
    final_lr: float = 0.005  # the same while the codes are fixed
    distillation: float = 0.7  # part of the loss that asks for the float network's answers instead of the labels
    bias_bits: int = 8  # of the uniform grid that biases are put on, from where they may still learn
    pruning: str = "sensitivity"  # what each layer keeps: where pruning costs least | table: as published
    density: float = 0.3  # part of all weights that is kept; the table has densities of its own
    conv_bits: int = 5  # deep_compression: of a codebook's index in convolutions; 8 or 6 in the papers
    fc_bits: int = 5  # deep_compression: the same in linear layers
    rate: float = 0.1  # entropy: price in nats of one bit a weight, averaged over the weights

    @property
    def used(self) -> tuple[str, ...]:
        """The settings that this method reads: two specifications that agree in them lead to the same network."""
        if self.method == "none":
            return ("method",)
        common = ("method", "epochs", "final_epochs", "lr", "final_lr", "distillation", "bias_bits")
        if self.method == "entropy":
            return (*common, "rate")
        return (*common, "pruning", *(["density"] if self.pruning == "sensitivity" else []), "conv_bits", "fc_bits")

    def __post_init__(self) -> None:
        require(self.method in METHODS, "compress.method", "one of " + ", ".join(METHODS), self.method)
        require(self.epochs >= 1, "compress.epochs", "at least 1", self.epochs)
        require(self.final_epochs >= 0, "compress.final_epochs", "at least 0", self.final_epochs)
        require(0 < self.lr < float("inf"), "compress.lr", "above 0 and finite", self.lr)
        require(0 < self.final_lr < float("inf"), "compress.final_lr", "above 0 and finite", self.final_lr)
        require(0 <= self.distillation <= 1, "compress.distillation", "in [0, 1]", self.distillation)
        require(2 <= self.bias_bits <= 16, "compress.bias_bits", "in [2, 16]", self.bias_bits)
        require(self.pruning in PRUNING, "compress.pruning", "one of " + ", ".join(PRUNING), self.pruning)
        require(0 < self.density <= 1, "compress.density", "in (0, 1]", self.density)
        require(1 <= self.conv_bits <= 8, "compress.conv_bits", "in [1, 8]", self.conv_bits)
        require(1 <= self.fc_bits <= 8, "compress.fc_bits", "in [1, 8]", self.fc_bits)
        require(0 <= self.rate < float("inf"), "compress.rate", "at least 0 and finite", self.rate)
