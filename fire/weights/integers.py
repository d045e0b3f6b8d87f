"""The coders of a compressed network's integers: arrays become bytes, and bytes the same arrays again.

"adaptive" is a range coder that counts how often each integer has occurred. "huffman" is Deep Compression's (Han et al.
2015, arXiv:1510.00149): the gaps between the weights that are not zero, and their values, each in Huffman codes.
"""

import math
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import constriction
import numpy as np
from numpy.typing import NDArray

from fire.errors import InputError, unknown

CODERS = ("adaptive", "huffman")  # these names are in files
Integers = NDArray[np.int32]
Symbols = NDArray[np.uint32]  # integers counted from the lowest one that their bounds allow

FIRST_BLOCK = 64
MOST_COUNTS = 2**12  # kinds of symbols that are counted one by one; larger numbers are split into digits
DIGIT = np.uint32(2**8)  # the base of the digits
GAP_BITS = 4


class Bounds(NamedTuple):
    """What a decoder has to know of an array: its shape, and between which integers all of its own are.

    low is at most 0, and high at least 0.
    """

    shape: tuple[int, ...]
    low: int
    high: int

    @property
    def size(self) -> int:
        """The number of integers in the array."""
        return math.prod(self.shape)

    @property
    def kinds(self) -> int:
        """The number of different integers that are allowed."""
        return self.high - self.low + 1


class Sparse(NamedTuple):
    """The stored entries of a pruned array, (N,) each: their values, 0 for a filler, and the gaps before them."""

    values: Integers
    gaps: NDArray[np.int64]


def encode(coder: str, arrays: Sequence[Integers], bounds: Sequence[Bounds]) -> bytes:
    """The bytes of arrays with these bounds. coder: one of CODERS. Raises InputError for another one."""
    match coder:
        case "adaptive":
            return _encode_adaptive(arrays, bounds)
        case "huffman":
            return _encode_huffman(arrays, bounds)
        case _:
            raise unknown("coder", coder)


def decode(coder: str, data: bytes, bounds: Sequence[Bounds]) -> list[Integers]:
    """The arrays that `encode` was given. Raises InputError if the bytes cannot be theirs.

    One thing goes unnoticed: the last word of the coder "adaptive" may be followed by one that no integer needs.
    """
    match coder:
        case "adaptive":
            return _decode_adaptive(data, bounds)
        case "huffman":
            return _decode_huffman(data, bounds)
        case _:
            raise unknown("coder", coder)


def _symbols(integers: Integers, bound: Bounds) -> Symbols:
    return integers.reshape(-1).view(np.uint32) - np.uint32(bound.low % 2**32)


def _integers(symbols: Symbols, bound: Bounds) -> Integers:
    if symbols.size and symbols.max() >= bound.kinds:
        raise InputError(f"integers must be at most {bound.high}, got {bound.low + int(symbols.max())}")
    return (symbols + np.uint32(bound.low % 2**32)).view(np.int32)


# The coder "adaptive"


def _encode_adaptive(arrays: Sequence[Integers], bounds: Sequence[Bounds]) -> bytes:
    encoder = constriction.stream.queue.RangeEncoder()
    for integers, bound in zip(arrays, bounds, strict=True):
        _encode_symbols(encoder, _symbols(integers, bound), bound.kinds)
    words: NDArray[np.uint32] = encoder.get_compressed()
    return words.astype("<u4").tobytes()


def _decode_adaptive(data: bytes, bounds: Sequence[Bounds]) -> list[Integers]:
    if len(data) % 4:
        raise InputError(f"the bytes must be whole words of 4, got {len(data)}")
    decoder = constriction.stream.queue.RangeDecoder(np.frombuffer(data, "<u4").astype(np.uint32))
    found = []
    for bound in bounds:
        try:
            symbols = _decode_symbols(decoder, bound.size, bound.kinds)
        except AssertionError as error:  # constriction's, for data that no encoder writes
            raise InputError(str(error)) from error
        found.append(_integers(symbols, bound).reshape(bound.shape))
    if not decoder.maybe_exhausted():
        raise InputError("the bytes must end where the arrays do")
    return found


def _encode_symbols(encoder: Any, symbols: Symbols, kinds: int) -> None:
    if kinds > MOST_COUNTS:
        _encode_symbols(encoder, symbols // DIGIT, (kinds - 1) // int(DIGIT) + 1)
        _encode_symbols(encoder, symbols % DIGIT, int(DIGIT))
    elif kinds > 1:
        counts = np.zeros(kinds, np.int64)
        for start, end in _blocks(len(symbols)):
            block = symbols[start:end].astype(np.int32)
            encoder.encode(block, _model(counts))
            counts += np.bincount(block, minlength=kinds)


def _decode_symbols(decoder: Any, size: int, kinds: int) -> Symbols:
    if kinds > MOST_COUNTS:
        digits = _decode_symbols(decoder, size, (kinds - 1) // int(DIGIT) + 1)
        return digits * DIGIT + _decode_symbols(decoder, size, int(DIGIT))
    found = np.zeros(size, np.uint32)
    if kinds > 1:
        counts = np.zeros(kinds, np.int64)
        for start, end in _blocks(size):
            block = decoder.decode(_model(counts), end - start)
            counts += np.bincount(block, minlength=kinds)
            found[start:end] = block
    return found


def _blocks(size: int) -> Iterator[tuple[int, int]]:
    """The start and the end of each block: after the first, a block is half as long as all before it."""
    start = 0
    while start < size:
        end = min(size, start + max(FIRST_BLOCK, start // 2))
        yield start, end
        start = end


def _model(counts: NDArray[np.int64]) -> Any:
    """Probabilities in proportion to counts + 1/2 (Krichevsky and Trofimov 1981).

    All machines agree on them: doubled, they are whole numbers, and perfect=False scales these without logarithms.
    """
    return constriction.stream.model.Categorical((2 * counts + 1).astype(np.float64), perfect=False)


# The coder "huffman"


def _encode_huffman(arrays: Sequence[Integers], bounds: Sequence[Bounds]) -> bytes:
    streams = []
    for integers, bound in zip(arrays, bounds, strict=True):
        values = integers.reshape(-1)
        if _is_sparse(bound):
            values, gaps = sparse(integers)
            streams.append(deflate(gaps.astype(np.uint8).tobytes()))
        streams.append(deflate(_symbols(values, bound).astype(_word(bound)).tobytes()))
    return b"".join(streams)


def _decode_huffman(data: bytes, bounds: Sequence[Bounds]) -> list[Integers]:
    found = []
    for bound in bounds:
        gaps = None
        if _is_sparse(bound):
            gaps, data = _inflate(data, np.dtype(np.uint8), bound)
        symbols, data = _inflate(data, _word(bound), bound)
        values = _integers(symbols.astype(np.uint32), bound)
        if gaps is not None:
            values = dense(Sparse(values, gaps.astype(np.int64)), bound.shape)
        elif len(values) != bound.size:
            raise InputError(f"there must be {bound.size} integers, got {len(values)}")
        found.append(values.reshape(bound.shape))
    if data:
        raise InputError("the bytes must end where the arrays do")
    return found


def _is_sparse(bound: Bounds) -> bool:
    """Whether zeros are left out. Biases and codebooks, which have one dimension, are not pruned."""
    return len(bound.shape) > 1


def _word(bound: Bounds) -> np.dtype[Any]:
    """The smallest type that holds the symbols."""
    return np.min_scalar_type(bound.kinds - 1).newbyteorder("<")


def deflate(data: bytes) -> bytes:
    """The bytes in Huffman codes alone, without searching for repetitions (RFC 1951)."""
    stream = zlib.compressobj(level=9, wbits=-15, memLevel=9, strategy=zlib.Z_HUFFMAN_ONLY)
    return stream.compress(data) + stream.flush()


def _inflate(data: bytes, word: np.dtype[Any], bound: Bounds) -> tuple[NDArray[Any], bytes]:
    """The words of the next stream, of which there are at most as many as integers in the array; and what follows."""
    stream = zlib.decompressobj(wbits=-15)
    most = bound.size * word.itemsize
    try:
        content = stream.decompress(data, most + 1)
    except zlib.error as error:
        raise InputError(str(error)) from error
    if not stream.eof or len(content) > most or len(content) % word.itemsize:
        raise InputError(f"a stream must end after at most {bound.size} words of {word.itemsize} bytes")
    return np.frombuffer(content, word), stream.unused_data


def sparse(integers: Integers, gap_bits: int = GAP_BITS) -> Sparse:
    """The entries that are not zero, and fillers; Han et al. 2015, figure 2.

    The gap is the number of zeros between an entry and the stored one before. One of 2**gap_bits or more is bridged
    by fillers: zeros that are stored after 2**gap_bits - 1 others.
    """
    flat = integers.reshape(-1)
    places = np.flatnonzero(flat)
    gaps = np.diff(places, prepend=-1) - 1
    fillers = gaps >> gap_bits
    last = np.cumsum(fillers + 1) - 1  # the place of an entry after its fillers
    values = np.zeros(last[-1] + 1 if last.size else 0, np.int32)
    stored = np.full(len(values), (1 << gap_bits) - 1)
    values[last] = flat[places]
    stored[last] = gaps & ((1 << gap_bits) - 1)
    return Sparse(values, stored)


def dense(entries: Sparse, shape: tuple[int, ...]) -> Integers:
    """The array of these entries. Raises InputError if they reach beyond it, or are no entries."""
    if len(entries.values) != len(entries.gaps):
        raise InputError(f"there must be a gap for each value, got {len(entries.gaps)} for {len(entries.values)}")
    if entries.gaps.size and not 0 <= entries.gaps.min() <= entries.gaps.max() < 1 << GAP_BITS:
        raise InputError(f"gaps must be of {GAP_BITS} bits")
    flat = np.zeros(math.prod(shape), np.int32)
    places = np.cumsum(entries.gaps + 1) - 1
    if places.size and places[-1] >= flat.size:
        raise InputError(f"entries must lie in the tensor of {flat.size} weights, got one at {places[-1]}")
    flat[places] = entries.values
    return flat.reshape(shape)
