"""The coder "huffman": Deep Compression's, Han et al. 2015 (arXiv:1510.00149), sections 2, 3 and 4.

Of a tensor are stored the weights that are not zero, and for each the gap to the one before, in 4 bits; where the gap
is longer, zeros are stored as fillers. Both streams go through a Huffman code of their own. Tables are the lengths
of canonical codes.
"""

import heapq
import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fire.weights.quantised import LARGEST, CodeError, Integers

GAP_BITS = 4
LONGEST = 24  # bits of a code: with 7 more to the next byte they fit in a word of 32
WIDEST = 33  # bits behind the leading zeros of a number in a table


class Sparse(NamedTuple):
    """The stored entries of a tensor: their values, 0 for a filler, and the gaps before them, (N,) each."""

    values: NDArray[np.int64]
    gaps: NDArray[np.int64]


def sparse(integers: Integers, gap_bits: int = GAP_BITS) -> Sparse:
    """The entries that are not zero, and fillers; Han et al. 2015, figure 2.

    The gap is the number of zeros between an entry and the stored one before. One of 2**gap_bits or more is bridged
    by fillers: zeros stored after 2**gap_bits - 1 others.
    """
    flat = integers.reshape(-1)
    places = np.flatnonzero(flat)
    gaps = np.diff(places, prepend=-1) - 1
    fillers = gaps >> gap_bits
    last = np.cumsum(fillers + 1) - 1  # of an entry and its fillers
    values = np.zeros(last[-1] + 1 if last.size else 0, np.int64)
    stored = np.full(len(values), (1 << gap_bits) - 1)
    values[last] = flat[places]
    stored[last] = gaps & ((1 << gap_bits) - 1)
    return Sparse(values, stored)


def dense(entries: Sparse, shape: tuple[int, ...]) -> Integers:
    """The tensor of these entries. Raises CodeError if they reach beyond it, or make no sense."""
    if len(entries.values) != len(entries.gaps):
        raise CodeError(f"there must be a gap for each value, got {len(entries.gaps)} for {len(entries.values)}")
    if entries.gaps.size and not 0 <= entries.gaps.min() <= entries.gaps.max() < 1 << GAP_BITS:
        raise CodeError(f"gaps must be of {GAP_BITS} bits")
    flat = np.zeros(int(np.prod(shape)), np.int32)
    places = np.cumsum(entries.gaps + 1) - 1
    if places.size and places[-1] >= flat.size:
        raise CodeError(f"entries must lie in the tensor of {flat.size} weights, got one at {places[-1]}")
    flat[places] = entries.values
    return flat.reshape(shape)


def code_lengths(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bits of each symbol's Huffman code, (N,), of how often each occurs, (N,), all at least once. One symbol has 0.

    A code of more than LONGEST bits is avoided by taking rare symbols for less rare, at hardly any cost.
    """
    while True:
        lengths = np.zeros(len(counts), np.int64)
        # The index second: ties are then the same everywhere.
        heap = [(count, symbol, [symbol]) for symbol, count in enumerate(counts.tolist())]
        heapq.heapify(heap)
        while len(heap) > 1:
            count_a, _, symbols_a = heapq.heappop(heap)
            count_b, index, symbols_b = heapq.heappop(heap)
            symbols_a += symbols_b
            lengths[symbols_a] += 1
            heapq.heappush(heap, (count_a + count_b, index, symbols_a))
        if lengths.max(initial=0) <= LONGEST:
            return lengths
        counts = (counts + 1) // 2


def codes(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The canonical codes of these lengths, (N,): ascending by length, then by symbol.

    Raises CodeError if there are no such codes, or if they would leave some unused.
    """
    room = 1 << LONGEST
    if len(lengths) and (lengths.max() > LONGEST or (room >> lengths).sum() != room):
        raise CodeError("lengths of codes must be those of a complete prefix code")
    order = np.argsort(lengths, kind="stable")
    starts = np.cumsum(room >> lengths[order]) - (room >> lengths[order])
    found = np.zeros(len(lengths), np.int64)
    found[order] = starts >> (LONGEST - lengths[order])
    return found


class Writer:
    def __init__(self) -> None:
        self.parts: list[NDArray[np.uint8]] = []

    def numbers(self, numbers: NDArray[np.int64], widths: NDArray[np.int64]) -> None:
        """Numbers, (N,), of so many bits each, (N,), the first bit first."""
        total = int(widths.sum())
        left = np.repeat(np.cumsum(widths), widths) - np.arange(total) - 1
        self.parts.append((np.repeat(numbers, widths) >> left & 1).astype(np.uint8))

    def gamma(self, numbers: NDArray[np.int64]) -> None:
        """Numbers of at least 0, in Elias' gamma code of the number after."""
        lengths = np.frexp((numbers + 1).astype(np.float64))[1].astype(np.int64)
        self.numbers(numbers + 1, 2 * lengths - 1)

    def coded(self, symbols: NDArray[np.int64]) -> None:
        """Symbols, (N,), with their number and their table: the values and the lengths of their codes."""
        values, index, counts = np.unique(symbols, return_inverse=True, return_counts=True)
        lengths = code_lengths(counts)
        self.gamma(np.array([len(symbols), len(values)]))
        if len(values):
            self.gamma(_zigzag(values[:1]))
            self.gamma(np.diff(values) - 1)
            self.gamma(_zigzag(np.diff(lengths, prepend=0)))
            self.numbers(codes(lengths)[index], lengths[index])

    def data(self) -> bytes:
        """All that was written, filled up with zeros to a byte."""
        return np.packbits(np.concatenate(self.parts)).tobytes() if self.parts else b""


class Reader:
    """Raises CodeError where the data cannot be what a Writer wrote."""

    def __init__(self, data: bytes) -> None:
        self.content = data + bytes(16)  # so that words may be read at the end
        self.total = 8 * len(data)
        self.place = 0

    def gamma(self, count: int) -> list[int]:
        """So many numbers of at least 0, in Elias' code."""
        numbers = []
        for _ in range(count):
            octet, bit = divmod(self.place, 8)
            word = int.from_bytes(self.content[octet : octet + 16], "big") << bit & (1 << 128) - 1
            zeros = 128 - word.bit_length()
            self.place += 2 * zeros + 1
            if zeros > WIDEST or self.place > self.total:
                raise CodeError(f"numbers must be of at most {WIDEST} bits and within the data")
            numbers.append((word >> (127 - 2 * zeros)) - 1)
        return numbers

    def coded(self, most: int) -> NDArray[np.int64]:
        """Symbols, (N,), with their table; N is at most `most`."""
        count, kinds = self.gamma(2)
        if count > most or kinds > count or (kinds == 0) != (count == 0):
            raise CodeError(f"symbols must be at most {most}, of at most as many kinds, got {count} of {kinds}")
        if not kinds:
            return np.zeros(0, np.int64)
        (first,) = self._signed(1)
        values = list(itertools.accumulate(self.gamma(kinds - 1), lambda a, b: a + b + 1, initial=first))
        lengths = list(itertools.accumulate(self._signed(kinds)))
        if max(abs(values[0]), abs(values[-1])) > LARGEST or not 0 <= min(lengths) <= max(lengths) <= LONGEST:
            raise CodeError("symbols and the lengths of their codes must be within their bounds")
        return np.array(values)[self._symbols(count, np.array(lengths))]

    def _signed(self, count: int) -> list[int]:
        return [number >> 1 if number & 1 == 0 else -(number + 1 >> 1) for number in self.gamma(count)]

    def _symbols(self, count: int, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
        starts = codes(lengths) << (LONGEST - lengths)
        order = np.argsort(starts, kind="stable")
        if len(lengths) == 1:
            return np.zeros(count, np.int64)
        found = []
        while count:
            # What a code starting at each bit would be; then from code to code. In parts: little is for nothing.
            part = min(count, 1 << 14)
            octet = self.place >> 3
            most = part * int(lengths.max()) // 8 + 8
            octets = np.frombuffer(self.content[octet : octet + most].ljust(most, b"\0"), np.uint8)
            words = octets[:-3].astype(np.uint32) << 24
            for i in (1, 2, 3):
                words |= octets[i : i - 3 or None].astype(np.uint32) << (24 - 8 * i)
            windows = (words[:, None] << np.arange(8, dtype=np.uint32) >> (32 - LONGEST)).reshape(-1)
            symbols = order[np.searchsorted(starts[order], windows, side="right") - 1]
            steps = lengths[symbols].astype(np.uint8).tobytes()
            place, places = self.place & 7, []
            if self.place + part * int(lengths.min()) > self.total:
                raise CodeError("the codes must be within the data")
            for _ in range(part):
                places.append(place)
                place += steps[place]
            found.append(symbols[places])
            self.place += place - places[0]
            count -= part
            if self.place > self.total:
                raise CodeError("the codes must be within the data")
        return np.concatenate(found)

    def words(self, count: int) -> NDArray[np.uint32]:
        """Numbers of 32 bits."""
        end = self.place + 32 * count
        if end > self.total:
            raise CodeError(f"{count} words must be within the data")
        octets = np.frombuffer(self.content[self.place >> 3 : (end + 7) >> 3], np.uint8)
        bits = np.unpackbits(octets)[self.place & 7 :][: 32 * count]
        self.place = end
        return np.packbits(bits).view(">u4").astype(np.uint32)

    @property
    def exhausted(self) -> bool:
        """Whether nothing but the zeros that fill the last byte is left."""
        return self.total - self.place < 8 and self.content[self.place >> 3] << (self.place & 7) & 0xFF == 0


def _zigzag(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, -1, 1, -2, 2 ... -> 0, 1, 2, 3, 4 ..."""
    return np.where(numbers < 0, -2 * numbers - 1, 2 * numbers)
