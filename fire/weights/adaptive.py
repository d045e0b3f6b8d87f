"""The coder "range": zeros are symbols like the others, and there are no tables.

A tensor is coded in passes, small ones first: one place of the kernel after the other, each spread evenly over filters
and channels. The probabilities of a pass come from what the passes before have shown, which the decoder knows too:
a weight is likelier large where others of its filter, its input channel and its kernel are, and likelier negative
where they are. What a pass adds to that knowledge is in fire/weights/decisions.py a count of zeros and ones, and here
sums of magnitudes and signs. docs/log.md has what each of these is worth.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fire.weights.decisions import Adaptive, Int32, Int64, Io, code_uniform
from fire.weights.quantised import Integers

FIRST = 64  # weights of the first pass; a later one has at most half as many as are known
MOST = 2**13  # weights of a pass: what it needs stays in the caches
SCALE = 8  # bits behind the point of means, ratios and logarithms
LARGE = 2**12  # magnitudes are summed as at most this, so that no sum overflows
LENGTHS = 32  # of a magnitude, in bits
MODELLED = 3  # bits of a magnitude behind its first one; those after them are as good as random

# A mean begins as the one of so many weights of average size.
GROUP_PRIOR = 24
KERNEL_PRIOR = 8
SIGN_PRIOR = 8  # a group's signs begin as so many of each
# By squared distance in the kernel: what a neighbour counts for the expected magnitude, and for the expected sign.
# Fitted on released weights of v1.0: beyond a neighbour that is an edge away, the signs of diagonal ones speak against.
MAGNITUDE_WEIGHTS = {1: 3, 2: 2, 4: 2, 5: 1, 8: 1}
SIGN_WEIGHTS = {1: 4, 2: -1, 4: 1}

# Limits of classes. The expected magnitude over the mean, by half octaves; the logarithm of how much likelier negative
# than positive by filter and channel, and the weighted sum of the neighbours over the mean magnitude.
EXPECTED = np.array([22, 32, 45, 64, 90, 128, 181, 256, 362, 512, 724, 1024, 1448, 2048, 2896], np.int64)
SIGN_RATIOS = np.array([-320, -160, -80, -30, 30, 80, 160, 320], np.int64)
NEIGHBOURS = np.array([-24, -12, -6, -2, 2, 6, 12, 24], np.int64)
CONTEXTS = len(EXPECTED) + 1
SIGN_CONTEXTS = len(NEIGHBOURS) + 1


class IntegerCoder:
    """Learns from tensor to tensor, of vectors (biases) and of weights apart."""

    def __init__(self) -> None:
        self.models = {vectors: _Model() for vectors in (True, False)}

    def code(self, io: Io, told: Integers) -> Integers:
        """A tensor of any shape, of integers of at most 31 bits; the decoder's gives the shape."""
        if not told.size:
            return told.copy()
        model = self.models[told.ndim < 2]
        model.begin()
        tensor = _Tensor(told.shape)
        ordered = told.reshape(tensor.integers.shape)[tensor.order].astype(np.int64)
        for place, kernels in tensor.passes():
            tensor.code(io, model, place, kernels, ordered[kernels, place])
        decoded = np.empty(tensor.integers.shape, np.int32)
        decoded[tensor.order] = tensor.integers
        return decoded.reshape(told.shape)


class _Model:
    """The probabilities of the decisions that make an integer."""

    def __init__(self) -> None:
        self.nonzero = Adaptive(CONTEXTS)
        self.negative = Adaptive((len(SIGN_RATIOS) + 1) * SIGN_CONTEXTS)
        self.longer = Adaptive(2 * LENGTHS * CONTEXTS)
        parts = [self.longer.part(i * CONTEXTS, (i + 1) * CONTEXTS) for i in range(2 * LENGTHS)]
        self.upwards, self.downwards = parts[:LENGTHS], parts[LENGTHS:]
        self.bits = Adaptive(2 * LENGTHS << MODELLED)

    def begin(self) -> None:
        """A new tensor is alike, but not the same."""
        self.nonzero.fade(30)
        self.negative.fade(100)
        self.longer.fade(30)
        self.bits.fade(50)

    def magnitudes(self, io: Io, context: Int64, negative: Int32, typical: int, told: Int64) -> Int64:
        """Magnitudes of at least 1: their lengths in bits, and then the bits behind the first.

        typical: the length at which to begin asking whether it is longer, upwards or downwards, until it is found.
        """
        told_length = bit_length(told)
        length = np.full(len(told), typical)
        up = self.upwards[typical].code(io, context, told_length > typical) == 1
        rising, falling = np.flatnonzero(up), np.flatnonzero(~up)
        length[rising] += 1
        for limit in range(typical + 1, LENGTHS - 1):
            if not rising.size:
                break
            up = self.upwards[limit].code(io, context[rising], told_length[rising] > limit) == 1
            rising = rising[up]
            length[rising] += 1
        for limit in range(typical - 1, 0, -1):
            if not falling.size:
                break
            down = self.downwards[limit].code(io, context[falling], told_length[falling] > limit) == 0
            falling = falling[down]
            length[falling] -= 1

        magnitude = np.ones(len(told), np.int64)
        more = np.flatnonzero(length > 1)
        for place in range(MODELLED):
            if not more.size:
                break
            behind = length[more] - 2 - place
            node = ((length[more] << 1) + negative[more] << MODELLED) + magnitude[more]
            magnitude[more] = 2 * magnitude[more] + self.bits.code(io, node, told[more] >> behind & 1)
            more = more[behind > 0]
        if not more.size:
            return magnitude
        rest = np.maximum(length - 1 - MODELLED, 0)
        magnitude <<= rest
        return magnitude + code_uniform(io, rest, told & ((1 << rest) - 1))


class _Group:
    """What is known of groups of weights, of each filter for instance."""

    def __init__(self, groups: int) -> None:
        self.magnitudes = np.zeros(groups, np.int64)
        self.counts = np.zeros(groups, np.int64)
        self.negative = np.full(groups, SIGN_PRIOR)
        self.positive = np.full(groups, SIGN_PRIOR)

    def add(self, group: Int64, nonzero: Int64, magnitude: Int64, negative: Int32) -> None:
        """Weights of these groups, (N,); those at some places, (M,), are not zero, but so large and of that sign."""
        many = len(self.counts)
        self.counts += np.bincount(group, minlength=many)
        group = group[nonzero]
        self.magnitudes += np.bincount(group, magnitude, many).astype(np.int64)  # exact: far below 2**53
        signs = np.bincount(2 * group + negative, minlength=2 * many)
        self.positive += signs[::2]
        self.negative += signs[1::2]

    def ratios(self, mean: int) -> Int64:
        """Of each group's mean magnitude to the overall one, both with SCALE bits behind the point."""
        return (((self.magnitudes << SCALE) + GROUP_PRIOR * mean) // (self.counts + GROUP_PRIOR) << SCALE) // mean

    def signs(self) -> Int64:
        """The logarithm of how much likelier negative than positive, for each group."""
        return _logarithm(self.negative) - _logarithm(self.positive)


class _Tensor:
    """A tensor as far as it is known: (filters, channels, kernel...), or of fewer dimensions."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        filters, channels = (*shape, 1)[:2]
        kernels = np.arange(filters * channels)
        # A sequence of low discrepancy in two dimensions: any stretch of the order is spread over filters and channels.
        key = (kernels // channels * 49472 + kernels % channels * 37342).astype(np.uint16)
        self.order = np.argsort(key, kind="stable")
        self.filter_of, self.channel_of = self.order // channels, self.order % channels
        self.integers = np.zeros((len(kernels), int(np.prod(shape[2:]))), np.int64)  # in that order
        self.filters, self.channels = _Group(filters), _Group(channels)
        self.magnitude = self.nonzero = self.count = 0
        self.magnitude_weights, self.sign_weights = neighbours(shape[2:])

    def passes(self) -> Iterator[tuple[int, slice]]:
        """Which weights are coded at once: those of that place in these kernels, counted in the tensor's order."""
        for place in range(self.integers.shape[1]):
            start = 0
            while start < len(self.order):
                end = start + min(max(FIRST, self.count // 2), MOST)
                yield place, slice(start, end)
                start = end

    def code(self, io: Io, model: _Model, place: int, kernels: slice, told: Int64) -> None:
        """The weights of a pass."""
        filters, channels = self.filter_of[kernels], self.channel_of[kernels]
        mean = max(1, (self.magnitude << SCALE) // max(1, self.count))
        expected = self.filters.ratios(mean)[filters] * self.channels.ratios(mean)[channels] >> SCALE
        around = np.zeros(len(told), np.int64)
        if place:
            known = self.integers[kernels, :place]
            weights = self.magnitude_weights[place, :place]
            near = (np.abs(known) @ weights << 2 * SCALE) // mean
            expected = (near + KERNEL_PRIOR * expected) // (int(weights.sum()) + KERNEL_PRIOR)
            around = (known @ self.sign_weights[place, :place] << SCALE) // mean
        context = np.searchsorted(EXPECTED, expected)
        nonzero = np.flatnonzero(model.nonzero.code(io, context, told != 0))

        context, told = context[nonzero], told[nonzero]
        ratio = self.filters.signs()[filters[nonzero]] + self.channels.signs()[channels[nonzero]]
        sign_context = np.searchsorted(SIGN_RATIOS, ratio) * SIGN_CONTEXTS
        sign_context += np.searchsorted(NEIGHBOURS, -around[nonzero])
        negative = model.negative.code(io, sign_context, told < 0)
        typical = max(1, (self.magnitude // max(1, self.nonzero)).bit_length())
        magnitude = model.magnitudes(io, context, negative, typical, np.abs(told))
        self.integers[kernels, place][nonzero] = magnitude * (1 - 2 * negative)

        magnitude = np.minimum(magnitude, LARGE)
        self.filters.add(filters, nonzero, magnitude, negative)
        self.channels.add(channels, nonzero, magnitude, negative)
        self.magnitude += int(magnitude.sum())
        self.nonzero += len(nonzero)
        self.count += len(filters)


def neighbours(kernel: tuple[int, ...]) -> tuple[Int64, Int64]:
    """What each place of a kernel, (H, W) or of fewer dimensions, counts for each other: two arrays (H * W, H * W)."""
    sides = np.indices(kernel).reshape(len(kernel), int(np.prod(kernel)))
    distance = ((sides[:, :, None] - sides[:, None, :]) ** 2).sum(axis=0)
    magnitude, sign = np.zeros_like(distance), np.zeros_like(distance)
    for weights, counts in ((MAGNITUDE_WEIGHTS, magnitude), (SIGN_WEIGHTS, sign)):
        for squared, weight in weights.items():
            counts[distance == squared] = weight
    return magnitude, sign


def bit_length(numbers: Int64) -> Int64:
    """Bits of numbers of at least 0 and below 2**53; 0 has none."""
    lengths: NDArray[np.int32] = np.frexp(numbers.astype(np.float64))[1]
    return lengths.astype(np.int64)


def _logarithm(numbers: Int64) -> Int64:
    """To base 2, with SCALE bits behind the point, on a line between powers of 2: as integers have it exactly."""
    whole = bit_length(numbers) - 1
    return (whole << SCALE) + ((numbers << SCALE) >> whole) - (1 << SCALE)
