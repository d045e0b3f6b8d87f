"""Files of somebody who means harm: their checksum holds, and what they say does not."""

import dataclasses
import struct
import zlib

import numpy as np
import pytest

from fire.errors import InputError
from fire.weights.fcn import MAGIC, decode, encode, overhead_bytes
from fire.weights.integers import CODERS
from fire.weights.quantised import Quantised, to_float
from tests.test_fcn import SPEC, assert_same, compressed


def sections(data: bytes) -> list[bytes]:
    """The coder's name, the header's text, tables and payload together, and the digest of a file."""
    name, head = data[6 : 6 + data[5]], 10 + data[5]
    (length,) = struct.unpack_from("<I", data, head - 4)
    return [name, zlib.decompress(data[head : head + length], wbits=-15), data[head + length : -12], data[-12:-4]]


def assembled(name: bytes, head: bytes, rest: bytes, digest: bytes, version: int = 2) -> bytes:
    packed = zlib.compress(head, level=9, wbits=-15)
    data = MAGIC + bytes([version, len(name)]) + name + struct.pack("<I", len(packed)) + packed + rest + digest
    return data + struct.pack("<I", zlib.crc32(data))


def test_the_attacker_of_these_tests_can_write_the_file():
    data = encode(compressed())
    assert assembled(*sections(data)) == data


def test_a_network_beyond_the_bounds_of_a_header_is_refused_before_anything_is_allocated():
    name, head, rest, digest = sections(encode(compressed()))
    head = head.replace(b'"base_e": 4', b'"base_e": 1048576')
    with pytest.raises(InputError, match="parameters must be at most 67,108,864, got"):
        decode(assembled(name, head, rest, digest))


@pytest.mark.parametrize(
    "packed", [b"", b"\xff" * 9, zlib.compress(b"\xff", wbits=-15), zlib.compress(b"{}", wbits=-15) + b"{"]
)
def test_a_header_that_is_no_deflated_text_is_refused(packed):
    data = MAGIC + b"\x02\x08adaptive" + struct.pack("<I", len(packed)) + packed + bytes(8)
    with pytest.raises(InputError, match=r"^the header must be deflated text$"):
        decode(data + struct.pack("<I", zlib.crc32(data)))


def test_a_header_that_would_inflate_to_more_than_16_mib_is_refused():
    name, _, rest, digest = sections(encode(compressed()))
    with pytest.raises(InputError, match=r"^the header must be deflated text$"):
        decode(assembled(name, b" " * (2**24 + 1), rest, digest))


GRID = struct.Struct("<Bfbb").pack


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (GRID(2, 0.0, -128, 127), "the step must be greater than 0, got 0.0"),
        (GRID(2, -1.0, -128, 127), "the step must be greater than 0, got -1.0"),
        (GRID(2, float("nan"), -128, 127), "values must be finite, got nan"),
        (GRID(2, float("inf"), -128, 127), "values must be finite, got inf"),
        (GRID(2, 3e38, -128, 127), "the tensor must be finite, got the step 3e+38"),
        (GRID(2, 1.0, 1, 127), "0 must be within the bounds of conv1.weight, got 1 to 127"),
        (GRID(2, 1.0, -128, -1), "0 must be within the bounds of conv1.weight, got -128 to -1"),
        (b"\x01\x25\x00", "the codebook of conv1.weight must have at most 36 values, got 37"),
        (b"\x05", "the kind of conv1.weight must be below 5, got 5"),
        (b"", "the tables must have a row for conv1.weight"),
    ],
    ids=str,
)
def test_tables_that_make_no_sense_are_refused(row, reason):
    original = compressed()
    integers = np.arange(36, dtype=np.int32).reshape(4, 1, 3, 3)
    integers.flat[:2] = -128, 127
    original.tensors["conv1.weight"] = Quantised(integers=integers, values=np.array(0.5, np.float32))
    name, head, rest, digest = sections(encode(original, "huffman"))
    with pytest.raises(InputError) as caught:
        decode(assembled(name, head, row + rest[7:] if row else b"", digest))
    assert reason in str(caught.value)


@pytest.mark.parametrize("cut", range(1, 80, 7))
def test_cut_tables_are_refused(cut):
    name, head, rest, digest = sections(encode(compressed()))
    with pytest.raises(InputError):
        decode(assembled(name, head, rest[:cut], digest))


@pytest.mark.parametrize("kind", ["grid", "codebook", "plain"])
@pytest.mark.parametrize("coder", CODERS)
def test_the_smallest_files_that_the_coders_write_are_not_refused(coder, kind):
    original = compressed(dataclasses.replace(SPEC, base_e=48, incr_e=48))
    for name, tensor in original.tensors.items():
        zeros = np.zeros_like(tensor.integers)
        step = {"grid": np.array(1, np.float32), "codebook": np.zeros(1, np.float32)}.get(kind)
        original.tensors[name] = zeros.astype(np.float32) if step is None else Quantised(integers=zeros, values=step)
    assert not any(to_float(tensor).any() for tensor in decode(encode(original, coder)).tensors.values())


@pytest.mark.parametrize("coder", CODERS)
def test_any_other_payload_is_refused_or_gives_the_same_tensors(coder):
    original = compressed(kind="codebook")
    data = encode(original, coder)
    name, head, rest, digest = sections(data)
    tables = len(rest) - (len(data) - overhead_bytes(data))
    rng = np.random.default_rng(0)
    for i in range(60):
        broken = bytearray(rest[tables:])
        if i % 3 == 0:
            broken[rng.integers(len(broken)) :] = rng.bytes(rng.integers(50) * 4)
        elif i % 3 == 1:
            broken = bytearray(rng.bytes(int(rng.integers(300)) * 4))
        else:
            broken[rng.integers(len(broken))] ^= 1 << int(rng.integers(8))
        try:
            found = decode(assembled(name, head, rest[:tables] + bytes(broken), digest))
        except InputError:
            continue
        assert_same(original, found)  # a bit that fills up the last byte of a stream is not read


def test_version_and_coder_must_be_known():
    name, *rest = sections(encode(compressed()))
    with pytest.raises(InputError, match=r"^the version must be 2, got 3$"):
        decode(assembled(name, *rest, version=3))
    for other in (b"zip", b"", b"\xff"):
        with pytest.raises(InputError, match=r"^coder must be one of adaptive, huffman, got '"):
            decode(assembled(other, *rest))
