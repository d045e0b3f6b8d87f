"""The authors' released file, if it is there; and files like it that are broken."""

import hashlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from fire.errors import InputError
from fire.weights import caffe, fcn
from fire.weights.integers import sparse
from fire.weights.quantised import to_float

ROOT = Path(__file__).parents[1]
PATH = Path(os.environ.get("SQUEEZENET_RELEASED", ROOT / "compressed_SqueezeNet.net"))
needs_file = pytest.mark.skipif(
    not PATH.is_file(),
    reason="needs compressed_SqueezeNet.net of songhan/SqueezeNet-Deep-Compression: its path in SQUEEZENET_RELEASED",
)


@pytest.fixture(scope="module")
def content() -> bytes:
    data = PATH.read_bytes()
    assert len(data) == 675_763
    assert hashlib.sha256(data).hexdigest().startswith("e4ab6960")
    return data


@needs_file
def test_the_file_is_the_papers_network(content):
    """The facts are counts of the file that its own decode.py makes; 1,248,424 parameters are the paper's."""
    network = caffe.read(PATH)
    tensors = {name: to_float(tensor) for name, tensor in network.tensors.items()}
    assert sum(tensor.size for tensor in tensors.values()) == 1_248_424
    weights = [tensor for name, tensor in tensors.items() if name.endswith("weight")]
    assert sum(np.count_nonzero(weight) for weight in weights) == 415_921
    assert sum(struct.unpack("<26I", content[:104])) == 422_083
    # Fillers and all, our reading of the format is the authors': stored again, every layer has its number of entries.
    stored = [network.tensors[name].integers for name in tensors if name.endswith("weight")]
    stored[0] = stored[0][:, ::-1]
    assert [len(sparse(weight).values) for weight in stored] == list(struct.unpack("<26I", content[:104]))


@needs_file
def test_conv1_takes_red_first(content):
    found = to_float(caffe.read(PATH).tensors["conv1.weight"])
    codebook = np.frombuffer(content, "<f4", 256, 104)
    first_code = content[104 + 1024 + 4 * 96]
    first_gap = content[104 + 1024 + 4 * 96 + struct.unpack("<I", content[:4])[0]] & 15
    assert found[0, 2].reshape(-1)[first_gap] == codebook[first_code]  # of blue, which is the file's first channel


@needs_file
@pytest.mark.parametrize(("coder", "most"), [("adaptive", 540_000), ("huffman", 560_000)])
def test_the_same_network_in_our_format(coder, most):
    network = caffe.read(PATH)
    data = fcn.encode(network, coder)
    assert len(data) <= most
    found = fcn.decode(data)
    for name, tensor in network.tensors.items():
        assert np.array_equal(to_float(found.tensors[name]).view(np.int32), to_float(tensor).view(np.int32))
    assert fcn.encode(found, coder) == data
    assert fcn.overhead_bytes(data) <= 0.03 * len(data)


@needs_file
def test_the_network_tells_images_apart(generator):
    network = caffe.read(PATH).network()
    images = 50 * torch.randn(2, 3, 227, 227, generator=generator).clamp(-2, 2)
    with torch.no_grad():
        scores = network(images)
    assert scores.shape == (2, 1000)
    assert scores.isfinite().all()
    assert (scores.std(dim=1) > 0.1).all()


@needs_file
@pytest.mark.parametrize("cut", [0, 1, 103, 104, 50_000, 675_762])
def test_a_cut_file_is_refused(content, cut, tmp_path):
    (tmp_path / "cut.net").write_bytes(content[:cut])
    with pytest.raises(InputError) as caught:
        caffe.read(tmp_path / "cut.net")
    assert str(caught.value).startswith(
        f"weights must be the authors' compressed SqueezeNet, got '{tmp_path / 'cut.net'}': it "
    )


def empty_file(count=0, **first) -> bytearray:
    """As the authors would write a network of zeros; of conv1 may be given codes and gaps."""
    filters = [96] + [
        n for s, e in ((16, 64),) * 2 + ((32, 128),) * 2 + ((48, 192),) * 2 + ((64, 256),) * 2 for n in (s, e, e)
    ]
    data = bytearray(struct.pack("<26I", count, *[0] * 25))
    for i, outputs in enumerate([*filters, 1000]):
        data += bytes(4 * 256 + 4 * outputs)
        if i == 0:
            data += first.get("codes", b"") + first.get("gaps", b"")
    return data


def test_a_file_of_zeros_is_a_network_of_zeros():
    assert not any(to_float(tensor).any() for tensor in caffe.parse(bytes(empty_file())).tensors.values())


def test_entries_by_hand():
    """Three entries of conv1, (96, 3, 7, 7): at 2, at 2 + 0 + 1 = 3 and at 3 + 15 + 1 = 19 = 2 * 7 + 5, all of blue.

    A byte has the gap of two entries, that of the first in its low half: 2 and 0, then 15 and nothing.
    """
    data = empty_file(3, codes=b"\x01\x02\x03", gaps=b"\x02\x0f")
    data[104:120] = bytes.fromhex("00000000 0000003f 0000a0bf 00004040")  # float32: 0, 0.5, -1.25, 3
    data[104 + 1024 + 4 * 95 : 104 + 1024 + 4 * 96] = bytes.fromhex("000080be")  # -0.25, the last filter's bias
    tensors = {name: to_float(tensor) for name, tensor in caffe.parse(bytes(data)).tensors.items()}
    weight, bias = np.zeros((96, 3, 7, 7), np.float32), np.zeros(96, np.float32)
    weight[0, 2, 0, 2], weight[0, 2, 0, 3], weight[0, 2, 2, 5] = 0.5, -1.25, 3.0  # channel 2 of red, green, blue
    bias[95] = -0.25
    assert np.array_equal(tensors.pop("conv1.weight"), weight)
    assert np.array_equal(tensors.pop("conv1.bias"), bias)
    assert len(tensors) == 50, "of the other 25 layers"
    assert not any(tensor.any() for tensor in tensors.values())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data + b"\0", "it must be of 42632 bytes by its counts, got 42633"),
        (lambda data: data[:50], "it must begin with 26 counts of 4 bytes, got 50 bytes"),
        (lambda data: struct.pack("<I", 2**32 - 1) + data[4:], "bytes by its counts"),
        (lambda data: data[:104] + struct.pack("<f", 1.0) + data[108:], "its codebook's first 0.0"),
        (lambda data: data[:108] + struct.pack("<f", np.nan) + data[112:], "the values of conv1 must be finite"),
        (lambda data: data[:-4] + struct.pack("<f", np.inf), "the values of conv10 must be finite"),
    ],
)
def test_a_broken_file_is_refused(change, reason):
    with pytest.raises(InputError) as caught:
        caffe.parse(bytes(change(empty_file())))
    assert reason in str(caught.value)


def test_entries_beyond_the_layer_and_a_half_byte_too_much_are_refused():
    many = 14112 // 16 + 1
    with pytest.raises(InputError, match="conv1: entries must lie in the tensor of 14112 weights"):
        caffe.parse(bytes(empty_file(many, codes=bytes(many), gaps=b"\xff" * (many // 2) + b"\x0f")))
    with pytest.raises(InputError, match="the half byte behind the gaps of conv1 must be 0, got 15"):
        caffe.parse(bytes(empty_file(1, codes=b"\1", gaps=b"\xff")))


def test_an_absent_file_is_refused_with_its_path(tmp_path):
    with pytest.raises(InputError, match=r"weights must be a readable file, got '.*absent\.net': No such file"):
        caffe.read(tmp_path / "absent.net")
