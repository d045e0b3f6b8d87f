"""How a trained network is made small: the specification of compression. Standard library only."""

from dataclasses import dataclass

from fire.fields import check, number, one_of, whole

MOST_LOST = 0.003  # of validation accuracy: what a smaller file may lose and still count as good as its network


def _compresses(spec: "CompressSpec") -> bool:
    return spec.method != "none"


def _prunes(spec: "CompressSpec") -> bool:
    return spec.method == "deep_compression"


@dataclass(frozen=True, kw_only=True)
class CompressSpec:
    """A method of compression and its few knobs. Raises SpecError on bad values.

    Both methods first change the weights for `epochs`, then hold the codes fixed and tune what the codes stand for
    (codebooks, steps) and the biases for `final_epochs`.
    """

    method: str = one_of("none", "deep_compression", "entropy", doc="chosen by its group: compress=METHOD")
    epochs: int = whole(3, least=1, doc="in which the weights change", when=_compresses)
    final_epochs: int = whole(1, least=0, doc="in which the codes stay and their values are tuned", when=_compresses)
    # Pruning wants about three times the learning rate of the entropy method: docs/log.md.
    lr: float = number(
        0.005, interval="(0, inf)", doc="of Adam at its peak, over each tensor's root mean square", when=_compresses
    )
    final_lr: float = number(
        0.005,
        interval="(0, inf)",
        doc="the same in the final epochs",
        when=lambda spec: _compresses(spec) and spec.final_epochs > 0,
    )
    distillation: float = number(
        0.7, interval="[0, 1]", doc="part of the loss that asks for the float network's answers", when=_compresses
    )
    bias_bits: int = whole(8, least=2, most=16, doc="of the uniform grid of biases", when=_compresses)
    pruning: str = one_of(
        "sensitivity", "table", doc="where it costs least; or the densities of the papers", when=_prunes
    )
    density: float = number(
        0.3,
        interval="(0, 1]",
        doc="part of all weights that pruning=sensitivity keeps",
        when=lambda spec: _prunes(spec) and spec.pruning == "sensitivity",
    )
    conv_bits: int = whole(5, least=1, most=8, doc="of a codebook's index in convolutions", when=_prunes)
    fc_bits: int = whole(5, least=1, most=8, doc="the same in linear layers", when=_prunes)
    rate: float = number(
        0.1,
        interval="[0, inf)",
        doc="price in nats of one bit a weight, averaged over the weights",
        when=lambda spec: spec.method == "entropy",
    )
    coder: str = one_of(
        "auto",
        "adaptive",
        "huffman",
        doc="of the file; auto: huffman for deep_compression, else adaptive",
        when=_compresses,
    )

    def __post_init__(self) -> None:
        check(self, "compress.")
