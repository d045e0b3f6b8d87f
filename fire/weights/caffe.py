"""The authors' released SqueezeNet: v1.0 trained on ImageNet, after Deep Compression with 8-bit codes.

compressed_SqueezeNet.net of songhan/SqueezeNet-Deep-Compression, 675,763 bytes, read as its decode.py has it:
26 x uint32, the number of stored entries of each layer; then for each layer a codebook of 256 x float32, a bias of
float32 a filter, the entries' codes of 8 bits, and the gaps before them of 4 bits, the low one of a byte first.
"""

import struct
from pathlib import Path

import numpy as np

from fire.arch import SqueezeNetSpec
from fire.errors import InputError
from fire.files import reading
from fire.weights.header import Header, Preprocessing
from fire.weights.integers import Sparse, dense
from fire.weights.quantised import Compressed, Floats, Quantised

CODEBOOK = 256
# Theirs is 0..255 minus the mean of each channel, blue first. Ours is red first: conv1's channels are turned round.
# Caffe's ImageNet is of pictures squashed to 256x256, whatever their shape.
PREPROCESSING = Preprocessing(
    stored_size=256, resize="squash", image_size=227, mean=[123.0, 117.0, 104.0], scale=[1.0, 1.0, 1.0]
)
# ImageNet's classes in the order of their synsets, which the file does not name.
HEADER = Header(
    spec=SqueezeNetSpec(conv10_pad=1), preprocessing=PREPROCESSING, class_names=tuple(str(i) for i in range(1000))
)


def read(path: Path) -> Compressed:
    """The network of that file. Raises InputError if it is not one, or not whole.

    The tensors are the file's exactly, but for conv1, whose input channels are red, green, blue instead of blue, green,
    red.
    """
    with reading("weights", path, "the authors' compressed SqueezeNet"):
        return parse(path.read_bytes())


def parse(data: bytes) -> Compressed:
    """The network of the file's content. Raises InputError if it is anything else."""
    shapes = HEADER.shapes
    layers = [name.removesuffix(".weight") for name in shapes if name.endswith(".weight")]
    place = 4 * len(layers)
    if len(data) < place:
        raise InputError(f"it must begin with {len(layers)} counts of 4 bytes, got {len(data)} bytes")
    counts = struct.unpack(f"<{len(layers)}I", data[:place])
    expected = place + sum(
        4 * CODEBOOK + 4 * shapes[f"{layer}.bias"][0] + count + (count + 1) // 2
        for layer, count in zip(layers, counts, strict=True)
    )
    if len(data) != expected:
        raise InputError(f"it must be of {expected} bytes by its counts, got {len(data)}")

    tensors: dict[str, Quantised | Floats] = {}
    for layer, count in zip(layers, counts, strict=True):
        shape = shapes[f"{layer}.weight"]
        codebook = np.frombuffer(data, "<f4", CODEBOOK, place).astype(np.float32)
        place += codebook.nbytes
        bias = np.frombuffer(data, "<f4", shape[0], place).astype(np.float32)
        place += bias.nbytes
        codes = np.frombuffer(data, np.uint8, count, place).astype(np.int32)
        place += count
        pairs = np.frombuffer(data, np.uint8, (count + 1) // 2, place)
        place += len(pairs)
        gaps = np.stack([pairs & 15, pairs >> 4], axis=1).reshape(-1).astype(np.int64)
        if gaps[count:].any():
            raise InputError(f"the half byte behind the gaps of {layer} must be 0, got {gaps[count]}")
        if not (np.isfinite(codebook).all() and np.isfinite(bias).all()) or codebook[0].view(np.int32) != 0:
            raise InputError(f"the values of {layer} must be finite and its codebook's first 0.0")
        try:
            integers = dense(Sparse(codes, gaps[:count]), shape)
        except InputError as error:
            raise InputError(f"{layer}: {error}") from error
        if layer == "conv1":
            integers = np.ascontiguousarray(integers[:, ::-1])
        tensors[f"{layer}.weight"] = Quantised(integers=integers, values=codebook)
        tensors[f"{layer}.bias"] = bias
    return Compressed(header=HEADER, tensors=tensors)
