"""The committed compressed files: decoded, each is what the record beside it says."""

import json
import zlib

import numpy as np
import pytest

from fire.weights import fcn
from fire.weights.quantised import to_float
from tests.sweeping import ROOT

FILES = sorted((ROOT / "docs" / "results").glob("*/network.fcn"))
OF_THE_FILE = ("file_bytes", "overhead_bytes", "nonzero")  # fields of a record


def coder_of(data: bytes) -> str:
    """The name at byte 6, after its length, as fire/weights/fcn.py lays the file out."""
    return data[6 : 6 + data[5]].decode()


def parts(data: bytes) -> tuple[bytes, bytes, bytes]:
    """What is before the header, the header inflated, and what is behind it but for the checksum."""
    place = 6 + data[5] + 4
    end = place + int.from_bytes(data[place - 4 : place], "little")
    return data[: place - 4], zlib.decompress(data[place:end], wbits=-15), data[end:-4]


def test_there_are_files_of_both_coders():
    assert len(FILES) >= 25
    assert {coder_of(path.read_bytes()) for path in FILES} == {"adaptive", "huffman"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_a_file_is_what_its_record_says(path):
    data, record = path.read_bytes(), json.loads((path.parent / "record.json").read_text())
    tensors = [to_float(tensor) for tensor in fcn.decode(data).tensors.values()]
    found = {
        "file_bytes": len(data),
        "overhead_bytes": fcn.overhead_bytes(data),
        "nonzero": sum(int(np.count_nonzero(tensor)) for tensor in tensors),
    }
    known = {name: record[name] for name in OF_THE_FILE if record.get(name) is not None}
    assert known, "the record must say something of the file"
    assert {name: found[name] for name in known} == known
    assert sum(tensor.size for tensor in tensors) == record["parameters"]


@pytest.mark.parametrize(
    "path", [path for path in FILES if coder_of(path.read_bytes()) == "adaptive"], ids=lambda path: path.parent.name
)
def test_what_a_file_of_the_adaptive_coder_holds_is_encoded_to_the_same_bytes(path):
    data = path.read_bytes()
    again = fcn.encode(fcn.decode(data), "adaptive")
    # Of the header the text: another version of zlib may deflate it otherwise. The checksum covers the header.
    assert parts(again) == parts(data)
