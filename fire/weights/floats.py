"""Arrays of fp32 numbers for the coder "range": biases as they are, and ascending codebooks. Nothing is lost."""

import numpy as np
from numpy.typing import NDArray

from fire.weights.adaptive import bit_length
from fire.weights.decisions import Adaptive, Int64, Io, code_uniform
from fire.weights.quantised import CodeError, Floats

TOP = 12  # bits of a number that are worth a model: sign, exponent and the first three of the fraction
INFINITY = 0x7F800000  # its place
FIRST_PART = 64  # numbers of the first part; a later one has half as many as are known
WIDTHS = 34  # lengths in bits of a difference of two keys, and 0


def keys(numbers: Floats) -> Int64:
    """The number's place among all fp32 numbers in ascending order, 0.0 at 0 and -0.0 at -1."""
    bits = np.ascontiguousarray(numbers, np.float32).view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFFFFFF) - 1, bits)


def from_keys(places: Int64) -> Floats:
    """The numbers at these places. Raises CodeError if one is not finite."""
    if places.size and not -INFINITY - 1 < places.min() <= places.max() < INFINITY:
        raise CodeError("numbers must be finite")
    return np.where(places < 0, (-places - 1) | 0x80000000, places).astype(np.uint32).view(np.float32)


class FloatCoder:
    """Learns from call to call."""

    def __init__(self) -> None:
        self.top = [Adaptive(1 << bit) for bit in range(TOP)]
        self.distance = Adaptive(WIDTHS * WIDTHS)

    def code(self, io: Io, told: Floats) -> Floats:
        """Any finite numbers, (N,), in a few parts, each with what the ones before have shown."""
        place = keys(told) + 2**31
        ends = [FIRST_PART]
        while ends[-1] < len(place):
            ends.append(ends[-1] * 3 // 2)
        decoded = [self._part(io, part) for part in np.split(place, ends)]
        return from_keys(np.concatenate(decoded) - 2**31)

    def _part(self, io: Io, told: Int64) -> Int64:
        node = np.zeros(len(told), np.int64)
        for bit, model in enumerate(self.top):
            node = 2 * node + model.code(io, node, told >> (31 - bit) & 1)
        rest = np.full(len(told), 32 - TOP)
        return (node << (32 - TOP)) + code_uniform(io, rest, told & ((1 << (32 - TOP)) - 1))

    def ascending(self, io: Io, told: Floats, sizes: list[int]) -> Floats:
        """Codebooks, each ascending and of so many numbers, one after the other, (N,).

        First the ends of each, then ever again those in the middle. Each is predicted on the line between its
        neighbours; coded is how many fp32 numbers it lies beside that. All codebooks at once, which is faster.
        """
        known = np.zeros(len(told), np.float32)
        books = [(stop - size, stop) for stop, size in zip(np.cumsum(sizes).tolist(), sizes, strict=True) if size]
        ends = np.unique(np.array([(start, stop - 1) for start, stop in books], np.int64))
        known[ends] = self.code(io, told[ends])
        stride = 1 << max(sizes, default=0).bit_length()
        while stride > 1:
            stride //= 2
            lines = [(np.arange(start + stride, stop - 1, 2 * stride), stop - 1) for start, stop in books]
            middle = np.concatenate([line for line, _ in lines]) if lines else ends
            last = np.repeat([end for _, end in lines], [len(line) for line, _ in lines])
            left, right = middle - stride, np.minimum(middle + stride, last)
            known[middle] = self._between(io, known[left], known[right], stride / (right - left), told[middle])
        return known

    def _between(self, io: Io, left: Floats, right: Floats, share: NDArray[np.float64], told: Floats) -> Floats:
        # In fp64, whose sums, products and roundings every machine makes alike.
        low, high = left.astype(np.float64), right.astype(np.float64)
        predicted = keys((low + (high - low) * share).astype(np.float32))
        width = bit_length(np.abs(keys(right) - keys(left)))
        beside = keys(told) - predicted
        told_length = bit_length(np.abs(beside))
        length = width.copy()  # at most, as it lies between them
        shorter = np.flatnonzero(length)
        while shorter.size:
            context = width[shorter] * WIDTHS + width[shorter] - length[shorter]
            less = self.distance.code(io, context, told_length[shorter] < length[shorter]) == 1
            shorter = shorter[less]
            length[shorter] -= 1
            shorter = shorter[length[shorter] > 0]
        signed = np.minimum(length, 1)
        negative = code_uniform(io, signed, (beside < 0).astype(np.int64)) == 1
        behind = np.maximum(length - 1, 0)
        magnitude = (signed << behind) + code_uniform(io, behind, np.abs(beside) & ((1 << behind) - 1))
        return from_keys(predicted + np.where(negative, -magnitude, magnitude))
