"""The coders by name, each for a list of arrays: bytes that hold all of them, and back.

"huffman" is Deep Compression's, with fp32 numbers as they are. "range" is ours.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from fire.weights import decisions, huffman
from fire.weights.adaptive import IntegerCoder
from fire.weights.floats import TOP, FloatCoder
from fire.weights.quantised import CodeError

UNWRITTEN = 8  # bytes: the range coder leaves out what the decoder fills in with zeros
Kind = Literal["integers", "floats", "codebook"]
Array = NDArray[Any]


class Part(NamedTuple):
    """An array to be coded: int32 "integers" of any shape, fp32 "floats" or an ascending fp32 "codebook" of shape (N,).

    To a decoder the array says the type and the shape, and its content is not read.
    """

    kind: Kind
    array: Array


class Coder(NamedTuple):
    """A coder and the fewest bits that it can spend on a number of each kind. decode raises CodeError."""

    encode: Callable[[Sequence[Part]], bytes]
    decode: Callable[[bytes, Sequence[Part]], list[Array]]
    least_bits: Mapping[Kind, float]

    def require_plausible(self, parts: Sequence[Part], size_bytes: int) -> None:
        """Raise CodeError if bytes of that number cannot hold the parts, before anything is decoded."""
        bits = sum(self.least_bits[part.kind] * part.array.size for part in parts)
        if bits > 8 * (size_bytes + UNWRITTEN):
            count = sum(part.array.size for part in parts)
            raise CodeError(f"{count:,} numbers must have at least {math.ceil(bits / 8):,} bytes, got {size_bytes:,}")


def _encode_range(parts: Sequence[Part]) -> bytes:
    writer = decisions.Writer()
    for _ in _code(writer, parts):
        pass  # each step writes
    return writer.data()


def _decode_range(data: bytes, parts: Sequence[Part]) -> list[Array]:
    if len(data) % 4:
        raise CodeError(f"the bytes must be whole words of 4, got {len(data)}")
    reader = decisions.Reader(data)
    found = {i: array for indices, arrays in _code(reader, parts) for i, array in zip(indices, arrays, strict=True)}
    if not reader.exhausted:
        raise CodeError("the bytes must end where the tensors do")
    return [found[i] for i in range(len(parts))]


def _code(io: decisions.Io, parts: Sequence[Part]) -> Iterator[tuple[list[int], list[Array]]]:
    """Which parts are coded together, and what they are: all codebooks, all plain numbers, each tensor of integers."""
    floats, integers = FloatCoder(), IntegerCoder()
    of_kind = {kind: [i for i, part in enumerate(parts) if part.kind == kind] for kind in get_args(Kind)}
    for kind in ("codebook", "floats"):
        sizes = [parts[i].array.size for i in of_kind[kind]]
        told = np.concatenate([np.zeros(0, np.float32), *(parts[i].array for i in of_kind[kind])])
        decoded = floats.ascending(io, told, sizes) if kind == "codebook" else floats.code(io, told)
        yield of_kind[kind], np.split(decoded, np.cumsum(sizes)[:-1])[: len(sizes)]
    for i in of_kind["integers"]:
        yield [i], [integers.code(io, parts[i].array)]


def _encode_huffman(parts: Sequence[Part]) -> bytes:
    writer = huffman.Writer()
    for kind, array in parts:
        if kind == "integers":
            entries = huffman.sparse(array)
            writer.coded(entries.gaps)
            writer.coded(entries.values)
        else:
            numbers = array.view(np.uint32).astype(np.int64)
            writer.numbers(numbers, np.full(len(numbers), 32))
    return writer.data()


def _decode_huffman(data: bytes, parts: Sequence[Part]) -> list[Array]:
    reader = huffman.Reader(data)
    arrays: list[Array] = []
    for kind, array in parts:
        if kind == "integers":
            gaps = reader.coded(array.size)
            entries = huffman.Sparse(reader.coded(array.size), gaps)
            arrays.append(huffman.dense(entries, array.shape))
        else:
            arrays.append(reader.words(len(array)).view(np.float32))
    if not reader.exhausted:
        raise CodeError("the bytes must end where the tensors do")
    return arrays


# Their ids in files are their places here.
CODERS = {
    # A tensor of one value costs no bits at all; the bound is ours.
    "huffman": Coder(_encode_huffman, _decode_huffman, {"integers": 2**-13, "floats": 32, "codebook": 32}),
    # A number is at least one decision, which costs least where it is no surprise; of a float 32 - TOP bits are not
    # modelled. A codebook's numbers may follow from their neighbours.
    "range": Coder(
        _encode_range,
        _decode_range,
        {"integers": -math.log2(1 - decisions.LEAST / 2**decisions.BITS), "floats": 32 - TOP, "codebook": 0},
    ),
}
