"""Numbers of the SqueezeNet paper: Iandola et al. 2016, arXiv:1602.07360v4, figure 3 and tables 2 and 3; ImageNet.

Accuracies are fractions of 1. Points of figure 3 whose top-5 the paper does not print were read off the plot, to about
0.002. Sizes are computed from the network's parameters in fp32; the paper prints the same, in MiB, rounded up.
"""

from typing import NamedTuple

from fire.cost import MIB


class Point(NamedTuple):
    """A point of figure 3: the metaparameter's value, parameters and top-5 accuracy."""

    value: float
    parameters: int
    top5: float

    @property
    def size_mib(self) -> float:
        """Size in fp32."""
        return 4 * self.parameters / MIB


FIGURE_3 = {
    "sr": (
        Point(0.125, 1_248_424, 0.803),
        Point(0.25, 1_967_080, 0.834),  # read off
        Point(0.5, 3_404_392, 0.853),
        Point(0.75, 4_841_704, 0.860),
        Point(1.0, 6_279_016, 0.862),  # read off
    ),
    "pct_3x3": (
        Point(0.01, 1_478_248, 0.763),
        Point(0.125, 1_929_832, 0.806),  # read off
        Point(0.25, 2_421_352, 0.839),  # read off
        Point(0.375, 2_912_872, 0.845),  # read off
        Point(0.5, 3_404_392, 0.853),
        Point(0.625, 3_895_912, 0.855),  # read off
        Point(0.75, 4_387_432, 0.852),  # read off
        Point(0.875, 4_878_952, 0.853),  # read off
        Point(0.99, 5_330_536, 0.853),
    ),
}


class Bypass(NamedTuple):
    """A row of table 3. printed_mb: the paper has 7.7 for complex, whose weights take 6.06 MiB."""

    bypass: str
    top1: float
    top5: float
    printed_mb: float


TABLE_3 = (
    Bypass("none", 0.575, 0.803, 4.8),
    Bypass("simple", 0.604, 0.825, 4.8),
    Bypass("complex", 0.588, 0.820, 7.7),
)


class Compression(NamedTuple):
    """A row of table 2, sizes as printed. method: ours of the same idea, "none" for fp32; None where there is none."""

    network: str
    approach: str
    method: str | None
    printed_mb: float
    reduction: int
    top1: float
    top5: float


TABLE_2 = (
    Compression("alexnet", "fp32", "none", 240, 1, 0.572, 0.803),
    Compression("alexnet", "SVD", None, 48, 5, 0.560, 0.794),
    Compression("alexnet", "network pruning", None, 27, 9, 0.572, 0.803),
    Compression("alexnet", "Deep Compression, 5 to 8 bits", "deep_compression", 6.9, 35, 0.572, 0.803),
    Compression("squeezenet", "fp32", "none", 4.8, 50, 0.575, 0.803),
    Compression("squeezenet", "Deep Compression, 8 bits, 33 %", None, 0.66, 363, 0.575, 0.803),
    Compression("squeezenet", "Deep Compression, 6 bits, 33 %", "deep_compression", 0.47, 510, 0.575, 0.803),
)
