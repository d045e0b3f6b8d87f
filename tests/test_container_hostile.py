"""Files of somebody who means harm: their checksums hold, and what they say does not."""

import json
import math
import struct
import zlib

import numpy as np
import pytest

from fire.weights import header
from fire.weights.fcn import MAGIC, FileError, decode, encode, sizes
from fire.weights.quantised import Compressed, Levels, values
from tests.test_container import CODER_NAMES, compressed


def sections(data: bytes) -> list[bytes]:
    found, place = [], 6
    for _ in range(3):
        (length,) = struct.unpack_from("<I", data, place)
        found.append(data[place + 4 : place + 4 + length])
        place += length + 8
    return [*found, data[place:]]


def assembled(head: bytes, tables: bytes, payload: bytes, digest: bytes, start: bytes = b"\x89FCN\x01\x01") -> bytes:
    data, checked = bytearray(start), 0
    for section in (head, tables, payload):
        data += struct.pack("<I", len(section)) + section
        data += struct.pack("<I", zlib.crc32(data[checked:]))
        checked = len(data)
    return bytes(data) + digest


def test_the_attacker_of_these_tests_can_write_the_file():
    data = encode(compressed())
    assert assembled(*sections(data)) == data


HEAD = {"family": "squeezenet", "arch": {"classes": 3}, "image_size": 28, "mean": [1.5], "scale": [0.5]}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"arch": {"classes": 10**9}}, "classes must be an integer in"),
        ({"arch": {"classes": 10**6}}, "parameters must be at most 67,108,864"),
        ({"arch": {"fires": 10**6}}, "fires must be an integer in"),
        ({"arch": {"bypass": "simple", "fires": 2**20}}, "fires must be an integer in"),
        ({"arch": {"base_e": 2**20}}, "parameters must be at most"),
        ({"arch": {"snap": 2**20}}, "parameters must be at most"),
        ({"arch": {"sr": 7.0}}, "sr must be in (0, 1], got 7.0"),
        ({"arch": {"sr": 1}}, "'sr' must be a field of squeezenet with a value of its type, got 1"),
        ({"arch": {"classes": True}}, "'classes' must be a field of squeezenet"),
        ({"arch": {"norm": "batch"}}, "norm must not be 'batch'"),
        ({"arch": {"sides": 4}}, "'sides' must be a field"),
        ({"arch": []}, "with its fields"),
        ({"family": "resnet"}, "family must be one of squeezenet, alexnet"),
        ({"family": ["squeezenet"]}, "family must be one of"),
        ({"family": "alexnet", "arch": {"version": "small", "classes": 3, "fc": 2**16}}, "parameters must be at most"),
        ({"image_size": 0}, "image_size must be an integer in"),
        ({"image_size": 4, "arch": {"version": "1.0", "classes": 3}}, "the network must suit its images"),
        ({"image_size": 10**9}, "image_size must be an integer in"),
        ({"stored_size": 20}, "stored_size must be at least 28, got 20"),
        ({"stored_size": 28.0}, "stored_size must be an integer in"),
        ({"arch": {"conv10_pad": 200_000, "classes": 3}}, "activations must be at most"),
        ({"scale": [1e-320]}, "scale must be of numbers above 0"),
        ({"mean": [1e308]}, "mean must be of finite floats"),
        ({"mean": []}, "mean must be a list of 1 to 64 numbers"),
        ({"mean": [1.5] * 65}, "mean must be a list of 1 to 64 numbers"),
        ({"mean": [1]}, "mean must be of finite floats"),
        ({"mean": [1e999]}, "Infinity is no number"),
        ({"scale": [0.5, 0.5]}, "scale must be of 1 channels, got 2"),
        ({"class_names": ["a", "b"]}, "class_names must be 3, got 2"),
        ({"class_names": "abc"}, "class_names must be a list of texts"),
        ({"class_names": [1, 2, 3]}, "class_names must be a list of texts"),
        ({"class_names": ["a", "b", "\ud800"]}, "class_names must be a list of texts"),
        ({"arch": {"fires": 512, "incr_e": 0}}, "the header must be as this program writes it"),
        ({"else": 1}, "the header must be an object of"),
    ],
    ids=str,
)
def test_absurd_headers_are_refused_before_anything_is_allocated(changes, reason):
    head = json.dumps(HEAD | changes).encode()
    with pytest.raises(FileError) as caught:
        decode(assembled(head, b"", b"", bytes(8)))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("head", [b"", b"{", b"[]", b"3", b"\xff", b"[" * 10**5, b"9" * 10**4, b'{"arch":NaN}'])
def test_headers_that_are_no_object_are_refused(head):
    with pytest.raises(FileError, match="the header must be"):
        decode(assembled(head, b"", b"", bytes(8)))


@pytest.mark.parametrize(
    "change", [lambda head: head + b" ", lambda head: head.replace(b'"family"', b'"family":"alexnet","family"', 1)]
)
def test_headers_that_say_the_same_in_other_words_are_refused(change):
    head, *rest = sections(encode(compressed()))
    with pytest.raises(FileError, match="the header must be as this program writes it"):
        decode(assembled(change(head), *rest))


FLOAT = struct.Struct("<f").pack


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (b"\x00" + FLOAT(0.0), "the step must be greater than 0, got 0.0"),
        (b"\x00" + FLOAT(-1.0), "the step must be greater than 0, got -1.0"),
        (b"\x00" + FLOAT(float("nan")), "values must be finite, got nan"),
        (b"\x00" + FLOAT(float("inf")), "values must be finite, got inf"),
        (b"\x00" + FLOAT(3e38), "the tensor must be finite, got the step 3e+38"),
        (b"\x03", "the kind of conv1.weight must be 0, 1 or 2, got 3"),
    ],
    ids=str,
)
def test_tables_that_make_no_sense_are_refused(table, reason):
    head, tables, payload, digest = sections(encode(compressed()))
    with pytest.raises(FileError) as caught:
        decode(assembled(head, table + tables[5:], payload, digest))
    assert reason in str(caught.value)


@pytest.mark.parametrize("change", [lambda tables: tables[:-1], lambda tables: tables + b"\0", lambda tables: b""])
def test_tables_of_another_length_are_refused(change):
    head, tables, payload, digest = sections(encode(compressed()))
    with pytest.raises(FileError):
        decode(assembled(head, change(tables), payload, digest))


KINDS = {"grid": b"\x00" + FLOAT(1.0), "codebook": b"\x01\x01\x00\x01\x00", "plain": b"\x02"}


@pytest.mark.parametrize(
    ("coder", "kind", "least"),
    [  # of 66 million numbers: what the cheapest decision costs, and what is stored as it is
        ("range", "grid", 66_272_893 * -math.log2(1 - 2**-12) / 8),
        ("range", "codebook", 66_272_893 * -math.log2(1 - 2**-12) / 8),
        ("range", "plain", 66_272_893 * 20 / 8),
        ("huffman", "grid", 66_272_893 / 2**16),
        ("huffman", "plain", 66_272_893 * 4),
    ],
)
def test_a_small_file_of_a_large_network_is_refused_before_it_is_decoded(coder, kind, least, monkeypatch):
    monkeypatch.setattr("fire.weights.decisions.Reader", None)
    monkeypatch.setattr("fire.weights.huffman.Reader", None)
    arch = {"sr": 1.0, "version": "small", "base_e": 435, "incr_e": 435, "classes": 3}
    head = header.dump(header.checked(HEAD | {"arch": arch}))
    tables = KINDS[kind] * len(header.shapes(header.parse(head)))
    start = MAGIC + bytes([1, CODER_NAMES.index(coder)])
    with pytest.raises(FileError, match=r"66,27\d,\d{3} numbers must have at least [\d,]+ bytes, got 1,000") as caught:
        decode(assembled(head, tables, bytes(1000), bytes(8), start))
    told = int(str(caught.value).partition("at least ")[2].partition(" ")[0].replace(",", ""))
    assert told == math.ceil(least)


@pytest.mark.parametrize("kind", ["grid", "codebook", "plain"])
@pytest.mark.parametrize("coder", CODER_NAMES)
def test_the_smallest_files_that_the_coders_write_are_not_refused(coder, kind):
    about = header.parse(json.dumps(HEAD | {"arch": {"base_e": 48, "incr_e": 48, "classes": 3}}).encode())
    tensors = {}
    for name, shape in header.shapes(about).items():
        step = {"grid": np.array(1, np.float32), "codebook": np.zeros(1, np.float32)}.get(kind)
        zeros = np.zeros(shape, np.int32)
        tensors[name] = zeros.astype(np.float32) if step is None else Levels(integers=zeros, values=step)
    original = Compressed(**about._asdict(), tensors=tensors)
    data = encode(original, coder)
    assert not any(values(tensor).any() for tensor in decode(data).tensors.values())
    assert sizes(data).payload < {"grid": 250, "codebook": 250, "plain": 850_000}[kind]


def test_a_codebook_has_at_most_a_value_a_weight():
    head, tables, payload, digest = sections(encode(compressed()))
    table = b"\x01\x24\x00\x01\x00"  # 37 values for conv1's 36 weights
    with pytest.raises(FileError, match="a codebook must be of at most 36 values, one a weight, got 37"):
        decode(assembled(head, table + tables[5:], payload, digest))


@pytest.mark.parametrize("coder", CODER_NAMES)
def test_any_payload_is_refused_by_the_digest_at_the_latest(coder):
    start = encode(compressed(), coder)[:6]
    head, tables, payload, digest = sections(encode(compressed(kind="codebook"), coder))
    rng = np.random.default_rng(0)
    for i in range(60):
        broken = bytearray(payload)
        if i % 3 == 0:
            broken[rng.integers(len(broken)) :] = rng.bytes(rng.integers(50) * 4)
        elif i % 3 == 1:
            broken = bytearray(rng.bytes(int(rng.integers(300)) * 4))
        else:
            broken[rng.integers(len(broken))] ^= 1 << int(rng.integers(8))
        with pytest.raises(FileError):
            decode(assembled(head, tables, bytes(broken), digest, start))


def test_version_and_coder_must_be_known():
    data = encode(compressed())
    with pytest.raises(FileError, match="the version must be 1, got 2"):
        decode(data[:4] + b"\x02" + data[5:])
    with pytest.raises(FileError, match="the coder must be below 2, got 9"):
        decode(data[:5] + b"\x09" + data[6:])
    assert data[:4] == MAGIC
