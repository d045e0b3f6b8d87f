"""The coders by name, each for a list of arrays: bytes that hold all of them, and back.

"huffman" is Deep Compression's, with fp32 numbers as they are. "range" is ours.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fire.compress import decisions, huffman
from fire.compress.adaptive import IntegerCoder
from fire.compress.floats import FloatCoder
from fire.compress.levels import CodeError

Kind = Literal["integers", "floats", "codebook"]
Array = NDArray[Any]


class Part(NamedTuple):
    """An array to be coded: int32 "integers" of any shape, fp32 "floats" or an ascending fp32 "codebook" of shape (N,).

    To a decoder the array says the type and the shape, and its content is not read.
    """

    kind: Kind
    array: Array


class Coded(NamedTuple):
    """The bytes, and of how many bits each part made them grow; what is not of a part makes whole bytes or words."""

    data: bytes
    bits: list[int]


class Coder(NamedTuple):
    """decode raises CodeError."""

    encode: Callable[[Sequence[Part]], Coded]
    decode: Callable[[bytes, Sequence[Part]], list[Array]]


def _encode_range(parts: Sequence[Part]) -> Coded:
    writer = decisions.Writer()
    integers, floats = IntegerCoder(), FloatCoder()
    sizes = [0]
    for part in parts:
        _code(writer, integers, floats, part)
        sizes.append(writer.bits)
    return Coded(writer.data(), np.diff(sizes).tolist())


def _decode_range(data: bytes, parts: Sequence[Part]) -> list[Array]:
    if len(data) % 4:
        raise CodeError(f"the bytes must be whole words of 4, got {len(data)}")
    reader = decisions.Reader(data)
    integers, floats = IntegerCoder(), FloatCoder()
    arrays = [_code(reader, integers, floats, part) for part in parts]
    if not reader.exhausted:
        raise CodeError("the bytes must end where the tensors do")
    return arrays


def _code(io: decisions.Io, integers: IntegerCoder, floats: FloatCoder, part: Part) -> Array:
    match part.kind:
        case "integers":
            return integers.code(io, part.array)
        case "floats":
            return floats.code(io, part.array)
        case "codebook":
            return floats.ascending(io, part.array)


def _encode_huffman(parts: Sequence[Part]) -> Coded:
    writer = huffman.Writer()
    sizes = [0]
    for kind, array in parts:
        if kind == "integers":
            entries = huffman.sparse(array)
            writer.coded(entries.gaps)
            writer.coded(entries.values)
        else:
            numbers = array.view(np.uint32).astype(np.int64)
            writer.numbers(numbers, np.full(len(numbers), 32))
        sizes.append(writer.bits)
    return Coded(writer.data(), np.diff(sizes).tolist())


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
CODERS = {"huffman": Coder(_encode_huffman, _decode_huffman), "range": Coder(_encode_range, _decode_range)}
