"""The coder "range": zeros are symbols like the others, and there are no tables.

A tensor is coded in a few passes, each spread evenly over it. The probabilities of a pass come from what the passes
before have shown, which the decoder knows too: large weights are likelier in a filter, in an input channel and in a
kernel where others are large.
"""

from collections.abc import Iterator

import numpy as np

from fire.compress.decisions import Adaptive, Int64, Io, code_uniform
from fire.compress.levels import Integers

# Of 64 equal parts of a tensor, how many are coded at once: few at first, when there is most to learn.
PASSES = (1, 1, 1, 1, 2, 2, 4, 4, 8, 8, 8, 8, 8, 8)
SCALE = 8  # bits behind the point of means and ratios
LARGE = 2**12  # magnitudes are counted as at most this, so that no sum overflows
PRIOR = 4  # a mean begins as the one of so many weights of average size
# The expected magnitude over the mean of the tensor's, by thirds of octaves.
CLASSES = np.array([2 ** (SCALE - 3), 40, 50, 64, 80, 101, 128, 161, 203, 256, 322, 406, 512, 645, 812], np.int64)
LENGTHS = 32  # of a magnitude, in bits
MODELLED = 4  # bits of a magnitude behind its first one; those after them are as good as random


def code_integers(io: Io, shape: tuple[int, ...], integers: Integers) -> Integers:
    """A tensor of integers; the decoder is told a tensor of that shape with anything in it."""
    tensor = _Tensor(shape)
    told = integers.reshape(-1).astype(np.int64)
    for index in tensor.passes():
        tensor.code(io, index, told[index])
    return tensor.integers.astype(np.int32).reshape(shape)


class _Means:
    """Sums of magnitudes in groups of weights, by filter for instance, and how many weights they are of."""

    def __init__(self, groups: int) -> None:
        self.sums = np.zeros(groups, np.int64)
        self.counts = np.zeros(groups, np.int64)

    def add(self, group: Int64, magnitude: Int64) -> None:
        self.sums += np.bincount(group, magnitude, len(self.sums)).astype(np.int64)  # exact: far below 2**53
        self.counts += np.bincount(group, minlength=len(self.sums))

    def ratios(self, mean: int) -> Int64:
        """Of each group's mean to the overall one, both with SCALE bits behind the point."""
        return (((self.sums << SCALE) + PRIOR * mean) // (self.counts + PRIOR) << SCALE) // mean


class _Tensor:
    """What is known of a tensor of weights: (filters, input channels, kernel...), or of any other shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        filters, channels = (*shape, 1, 1)[:2]
        self.integers = np.zeros(int(np.prod(shape)), np.int64)
        self.kernel = self.integers.size // max(1, filters * channels)
        self.channel_count = channels
        self.filters, self.channels = _Means(filters), _Means(channels)
        self.kernels = _Means(filters * channels if self.kernel > 1 else 0)
        self.overall = _Means(1)
        contexts = len(CLASSES) + 1
        self.nonzero = Adaptive(contexts)
        self.length = Adaptive(LENGTHS * contexts)
        self.bits = Adaptive(LENGTHS << MODELLED)

    def passes(self) -> Iterator[Int64]:
        """Which weights are coded at once, (N,) indices."""
        weight = np.arange(self.integers.size)
        kernel = weight // self.kernel
        parts = sum(PASSES)
        # Odd factors without a pattern: a filter, a channel and a kernel each have weights in all parts.
        part = (
            kernel // self.channel_count * 37 + kernel % self.channel_count * 59 + weight % self.kernel * 23
        ) % parts
        order = np.argsort(part, kind="stable")
        ends = np.searchsorted(part[order], np.cumsum(PASSES))
        yield from (indices for indices in np.split(order, ends) if indices.size)

    def code(self, io: Io, index: Int64, told: Int64) -> None:
        """The weights of a pass."""
        kernel = index // self.kernel
        filter_, channel = kernel // self.channel_count, kernel % self.channel_count
        mean = max(1, int((self.overall.sums[0] << SCALE) // max(1, self.overall.counts[0])))
        expected = self.filters.ratios(mean)[filter_] * self.channels.ratios(mean)[channel] >> SCALE
        if self.kernel > 1:
            known = self.kernels.sums[kernel] << 2 * SCALE
            expected = (known // mean + PRIOR * expected) // (self.kernels.counts[kernel] + PRIOR)
        context = np.searchsorted(CLASSES, expected)

        nonzero = self.nonzero.code(io, context, (told != 0).astype(np.int64)) == 1
        coded, context, told = index[nonzero], context[nonzero], told[nonzero]
        negative = code_uniform(io, np.ones(len(coded), np.int64), (told < 0).astype(np.int64)) == 1
        magnitude = self._magnitude(io, context, np.abs(told))
        self.integers[coded] = np.where(negative, -magnitude, magnitude)

        size = np.minimum(np.abs(self.integers[index]), LARGE)
        self.filters.add(filter_, size)
        self.channels.add(channel, size)
        self.overall.add(np.zeros_like(index), size)
        if self.kernel > 1:
            self.kernels.add(kernel, size)

    def _magnitude(self, io: Io, context: Int64, told: Int64) -> Int64:
        """Magnitudes of at least 1: the length in bits, in unary, then the bits behind the first."""
        told_length = np.frexp(told.astype(np.float64))[1]
        length = np.ones(len(told), np.int64)
        longer = np.arange(len(told))
        for bits in range(1, LENGTHS - 1):
            decisions = (told_length[longer] > bits).astype(np.int64)
            longer = longer[self.length.code(io, bits * (len(CLASSES) + 1) + context[longer], decisions) == 1]
            length[longer] += 1
        magnitude = np.ones(len(told), np.int64)
        for place in range(MODELLED):
            more = np.flatnonzero(length - 1 > place)
            bit = (told[more] >> np.maximum(length[more] - 2 - place, 0)) & 1
            bit = self.bits.code(io, (length[more] << MODELLED) + magnitude[more], bit)
            magnitude[more] = 2 * magnitude[more] + bit
        rest = np.maximum(length - 1 - MODELLED, 0)
        return (magnitude << rest) + code_uniform(io, rest, told & ((1 << rest) - 1))
