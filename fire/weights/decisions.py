"""Binary decisions with adaptive probabilities, range coded: what the coder "range" is made of.

All arithmetic on the way to a probability is on integers, so that every machine makes the same ones.
"""

from typing import Any, Protocol

import constriction
import numpy as np
from numpy.typing import NDArray

from fire.weights.quantised import CodeError

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]
Numbers = NDArray[np.integer[Any]] | NDArray[np.bool_]
BITS = 16  # of a probability
LEAST = 16  # probability, in units of 2**-BITS: a surprise costs at most 12 bits
# A row is two integers that sum to 2**BITS, so constriction's scaling of them to its range of 24 bits is exact.
BINARY = constriction.stream.model.Categorical(perfect=False)
WIDEST = 16  # bits that constriction takes at once with equal probabilities


class Io(Protocol):
    """One side of the coding: what encoder and decoder do alike is written once, for either.

    The encoder is told the numbers; the decoder disregards what it is told. Both return the numbers.
    """

    def binary(self, rows: Float64, bits: Numbers) -> Int32:
        """Bits, (N,), with the probabilities to be 0 and to be 1, (N, 2), in units of 2**-BITS."""
        ...

    def uniform(self, width: int, numbers: Numbers) -> Int32:
        """Numbers, (N,), of so many bits, all equally likely; the width is at most WIDEST."""
        ...


class Writer:
    """The encoding side."""

    def __init__(self) -> None:
        self.encoder = constriction.stream.queue.RangeEncoder()

    def binary(self, rows: Float64, bits: Numbers) -> Int32:
        symbols = bits.astype(np.int32)
        self.encoder.encode(symbols, BINARY, rows)
        return symbols

    def uniform(self, width: int, numbers: Numbers) -> Int32:
        symbols = numbers.astype(np.int32)
        self.encoder.encode(symbols, constriction.stream.model.Uniform(1 << width))
        return symbols

    def data(self) -> bytes:
        """All that was written: whole words of 4 bytes, little-endian."""
        words: NDArray[np.uint32] = self.encoder.get_compressed()
        return words.astype("<u4").tobytes()


class Reader:
    """The decoding side. Raises CodeError where the data cannot be what a Writer wrote."""

    def __init__(self, data: bytes) -> None:
        self.decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))

    def binary(self, rows: Float64, bits: Numbers) -> Int32:
        return self._decoded(BINARY, rows)

    def uniform(self, width: int, numbers: Numbers) -> Int32:
        return self._decoded(constriction.stream.model.Uniform(1 << width), len(numbers))

    def _decoded(self, model: object, parameters: Float64 | int) -> Int32:
        try:
            numbers: Int32 = self.decoder.decode(model, parameters)
        except AssertionError as error:
            raise CodeError(str(error)) from error
        return numbers

    @property
    def exhausted(self) -> bool:
        """Whether everything was read, as far as can be told."""
        done: bool = self.decoder.maybe_exhausted()
        return done


class Adaptive:
    """How often a bit was 0 and 1 in each of so many contexts. Half an observation of each is there from the beginning,
    as Krichevsky and Trofimov have it: the counts are twice those of the bits, and one."""

    def __init__(self, contexts: int) -> None:
        self.counts = np.ones((contexts, 2), np.int64)

    def part(self, start: int, stop: int) -> "Adaptive":
        """These contexts alone, counted from 0: small tables are fast. What one learns, the other knows."""
        found = Adaptive(0)
        found.counts = self.counts[start:stop]
        return found

    def fade(self, most: int) -> None:
        """Let no context have counts of a larger sum: what comes next may be different."""
        total = self.counts.sum(axis=1, keepdims=True)
        faded = np.maximum(1, self.counts * most // total)
        np.copyto(self.counts, faded, where=total > most)

    def code(self, io: Io, contexts: Int64, bits: Numbers) -> Int32:
        """Bits, (N,), in their contexts, (N,): all with what was known before the first of them."""
        if not contexts.size:
            return np.zeros(0, np.int32)
        rows = np.empty(self.counts.shape)
        ones = self.counts[:, 1] * ((1 << BITS) - 2 * LEAST) // (self.counts[:, 0] + self.counts[:, 1]) + LEAST
        rows[:, 1] = ones
        rows[:, 0] = (1 << BITS) - ones
        coded = io.binary(rows.take(contexts, axis=0), bits)
        self.counts += 2 * np.bincount(2 * contexts + coded, minlength=self.counts.size).reshape(-1, 2)
        return coded


def code_uniform(io: Io, widths: Int64, numbers: Int64) -> Int64:
    """Numbers, (N,), of so many bits each, (N,), all equally likely; any width up to 48."""
    decoded = np.zeros(len(widths), np.int64)
    for shift in (0, WIDEST, 2 * WIDEST):
        part = np.clip(widths - shift, 0, WIDEST)
        for width in np.flatnonzero(np.bincount(part[part > 0])).tolist():
            chosen = part == width
            decoded[chosen] |= (
                io.uniform(width, (numbers[chosen] >> shift) & ((1 << width) - 1)).astype(np.int64) << shift
            )
    return decoded
