"""The file of a compressed network: every byte its decoder needs, each of them checked.

    magic, 4 bytes; version, 1 byte; coder, 1 byte
    header    the specification, the preprocessing, the names of the classes: fire/weights/header.py
    tables    for each tensor, whose name and shape the specification implies: its kind and its step or the size of
              its codebook
    payload   codebooks, integers and plain fp32 tensors, in one stream of the coder: fire/weights/coders.py
    digest    of the tensors, the first 8 bytes of SHA-256: what is decoded is what was encoded, or it is an error

Header, tables and payload have their length before them and behind them the CRC-32 of all since the one before.
Integers are little-endian. Equal networks make equal bytes, wherever they are made.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fire.errors import InputError
from fire.files import reading, write
from fire.weights import header
from fire.weights.coders import CODERS, Array, Part
from fire.weights.floats import keys
from fire.weights.header import Header
from fire.weights.quantised import CodeError, Compressed, Floats, Integers, Levels, values

MAGIC = b"\x89FCN"  # its first byte is in no text
VERSION = 1
GRID, CODEBOOK, PLAIN = range(3)  # kinds of tensors
DIGEST_BYTES = 8
LARGEST_CODEBOOK = 2**16
RULE = "a whole file of a compressed network"


class FileError(InputError):
    """The file is no whole file of a compressed network."""


class Sizes(NamedTuple):
    """Bytes of a file; each section with its length."""

    header: int
    tables: int
    payload: int
    checksums: int

    @property
    def overhead(self) -> int:
        """All but the payload."""
        return self.header + self.tables + self.checksums


def encode(compressed: Compressed, coder: str = "range") -> bytes:
    """The content of the file. coder: "range" or "huffman".

    Raises InputError if the tensors are not those of the specification, or out of the format's bounds.
    """
    if coder not in CODERS:
        raise InputError(f"coder must be one of {', '.join(CODERS)}, got {coder!r}")
    about = Header(header.folded(compressed.spec), compressed.preprocessing, compressed.class_names)
    head = header.dump(about)  # which refuses what is out of bounds, before anything follows from it
    shapes = header.shapes(about)
    if list(shapes) != list(compressed.tensors):
        raise InputError(f"tensors must be {', '.join(shapes)}, got {', '.join(compressed.tensors)}")
    tables = bytearray()
    parts: list[Part] = []
    for name, shape in shapes.items():
        table, own = _split(name, compressed.tensors[name], shape)
        tables += table
        parts += own
    payload = CODERS[coder].encode(parts)
    try:
        CODERS[coder].require_plausible(parts, len(payload))
    except CodeError as error:
        raise InputError(f"the payload must be one that can be decoded: {error}") from error

    data = bytearray(MAGIC + bytes([VERSION, list(CODERS).index(coder)]))
    start = 0
    for section in (head, bytes(tables), payload):
        data += struct.pack("<I", len(section)) + section
        data += struct.pack("<I", zlib.crc32(data[start:]))
        start = len(data)
    data += _digest({name: values(tensor) for name, tensor in compressed.tensors.items()})
    return bytes(data)


def sizes(data: bytes) -> Sizes:
    """Where the bytes of a file are. Raises FileError if its sections are not whole."""
    sections = _sections(data)
    head, tables, payload = (4 + len(section) for section in (sections.header, sections.tables, sections.payload))
    head += len(MAGIC) + 2
    return Sizes(header=head, tables=tables, payload=payload, checksums=len(data) - head - tables - payload)


def decode(data: bytes) -> Compressed:
    """What `encode` was given, with codebooks in canonical order: used values only, 0.0, then ascending.

    Raises FileError if the data is anything else, but for what the range coder cannot tell: behind its last word
    another one may stand that no number needs.
    """
    try:
        return _decode(data)
    except FileError:
        raise
    except InputError as error:
        raise FileError(str(error)) from error


def save(path: Path, compressed: Compressed, coder: str = "range") -> None:
    """Write the file, whole or not at all. Raises as `encode` does."""
    write(path, encode(compressed, coder))


def load(path: Path) -> Compressed:
    """Read a file that `save` wrote. Raises InputError if it is not one, or not whole."""
    with reading("weights", path, RULE):
        return decode(path.read_bytes())


def load_header(path: Path) -> Header:
    """The header alone of a file that `save` wrote. Raises InputError if that or a checksum is not right."""
    with reading("weights", path, RULE):
        return header.parse(_sections(path.read_bytes()).header)


def _split(name: str, tensor: Levels | Floats, shape: tuple[int, ...]) -> tuple[bytes, list[Part]]:
    """A tensor's table, and its parts of the payload."""
    content = tensor.integers if isinstance(tensor, Levels) else tensor
    if content.shape != shape:
        raise InputError(f"{name} must be of shape {shape}, got {content.shape}")
    if values(tensor).dtype != np.float32:
        raise InputError(f"{name} must be of type float32, got {values(tensor).dtype}")
    if not np.isfinite(values(tensor)).all():
        raise InputError(f"{name} must be finite")
    if not isinstance(tensor, Levels):
        return struct.pack("<B", PLAIN), [Part("floats", tensor.reshape(-1))]
    if tensor.values.ndim == 0:
        return struct.pack("<Bf", GRID, tensor.values), [Part("integers", tensor.integers)]
    codebook, signed = _canonical(tensor)
    negative = int(np.searchsorted(keys(codebook), 0))
    if len(codebook) > LARGEST_CODEBOOK:
        raise InputError(f"{name}'s codebook must have at most {LARGEST_CODEBOOK} values, got {len(codebook)}")
    table = struct.pack("<BHH", CODEBOOK, negative, len(codebook) - negative)
    return table, [Part("codebook", codebook), Part("integers", signed)]


def _canonical(tensor: Levels) -> tuple[Floats, Integers]:
    """The values that occur but for 0.0, ascending; for each weight its value's place, counted from 0.0 at 0."""
    key, index = np.unique(keys(tensor.values), return_inverse=True)
    used = np.unique(index[tensor.integers])
    used = used[key[used] != 0]
    place = np.zeros(len(key), np.int32)
    place[used] = np.arange(len(used)) - np.searchsorted(key[used], 0)
    place[key > 0] += 1
    place[key == 0] = 0
    first = np.zeros(len(key), np.int64)
    first[index] = np.arange(len(index))
    return tensor.values[first[used]], place[index[tensor.integers]]


class _Scanner:
    """Takes the file apart from its beginning."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = self.checked = 0

    def take(self, count: int, what: str) -> bytes:
        if count > len(self.data) - self.place:
            raise FileError(f"{what} must be of {count} bytes, got {len(self.data) - self.place}")
        self.place += count
        return self.data[self.place - count : self.place]

    def section(self, what: str) -> bytes:
        (length,) = struct.unpack("<I", self.take(4, f"the length of the {what}"))
        content = self.take(length, f"the {what}")
        expected = zlib.crc32(self.data[self.checked : self.place])
        (checksum,) = struct.unpack("<I", self.take(4, f"the checksum of the {what}"))
        if checksum != expected:
            raise FileError(f"the checksum of the {what} must be {expected:08x}, got {checksum:08x}")
        self.checked = self.place
        return content


class _Sections(NamedTuple):
    """The parts of a file whose checksums hold."""

    coder: int
    header: bytes
    tables: bytes
    payload: bytes
    digest: bytes


def _sections(data: bytes) -> _Sections:
    scanner = _Scanner(data)
    magic = scanner.take(len(MAGIC), "the magic")
    if magic != MAGIC:
        raise FileError(f"the magic must be {MAGIC!r}, got {magic!r}")
    version, coder = scanner.take(2, "version and coder")
    if version != VERSION:
        raise FileError(f"the version must be {VERSION}, got {version}")
    if coder >= len(CODERS):
        raise FileError(f"the coder must be below {len(CODERS)}, got {coder}")
    head, tables, payload = (scanner.section(name) for name in ("header", "tables", "payload"))
    digest = scanner.take(DIGEST_BYTES, "the digest")
    if scanner.place != len(data):
        raise FileError(f"nothing must follow the digest, got {len(data) - scanner.place} bytes")
    return _Sections(coder=coder, header=head, tables=tables, payload=payload, digest=digest)


def _decode(data: bytes) -> Compressed:
    coder, head, tables, payload, digest = _sections(data)
    about = header.parse(head)
    shapes = header.shapes(about)
    if header.dump(about) != head:
        raise FileError("the header must be as this program writes it")
    rows = list(_rows(tables, list(shapes)))
    requests = [part for row, shape in zip(rows, shapes.values(), strict=True) for part in row.parts(shape)]
    codec = list(CODERS.values())[coder]
    try:
        codec.require_plausible(requests, len(payload))
        arrays = iter(codec.decode(payload, requests))
    except CodeError as error:
        raise FileError(f"the payload must be as its coder writes it: {error}") from error
    tensors = {name: row.tensor(arrays, shape) for row, (name, shape) in zip(rows, shapes.items(), strict=True)}
    reconstructed = _digest({name: values(tensor) for name, tensor in tensors.items()})
    if reconstructed != digest:
        raise FileError(f"the digest of the tensors must be {digest.hex()}, got {reconstructed.hex()}")
    return Compressed(**about._asdict(), tensors=tensors)


class _Row(NamedTuple):
    """A tensor's table."""

    kind: int
    step: float = 0.0
    negative: int = 0
    positive: int = 0

    def parts(self, shape: tuple[int, ...]) -> list[Part]:
        """What is to be decoded. Raises FileError if the codebook has values that no weight can have."""
        # Of no memory: only their types and shapes are read.
        integers = Part("integers", np.broadcast_to(np.int32(0), shape))
        if self.kind == GRID:
            return [integers]
        if self.kind == PLAIN:
            return [Part("floats", np.broadcast_to(np.float32(0), int(np.prod(shape))))]
        used = self.negative + self.positive
        if used > integers.array.size:
            raise FileError(f"a codebook must be of at most {integers.array.size} values, one a weight, got {used}")
        return [Part("codebook", np.broadcast_to(np.float32(0), used)), integers]

    def tensor(self, arrays: Iterator[Array], shape: tuple[int, ...]) -> Levels | Floats:
        """The tensor of the next arrays."""
        if self.kind == GRID:
            return Levels(integers=next(arrays), values=np.array(self.step, np.float32))
        if self.kind == PLAIN:
            plain: Floats = next(arrays).reshape(shape)
            return plain
        codebook, signed = next(arrays), next(arrays)
        if signed.min() < -self.negative or signed.max() > self.positive:
            raise FileError(f"codes must be in [{-self.negative}, {self.positive}], got {signed.min()}, {signed.max()}")
        integers = np.where(signed < 0, signed + self.negative + 1, signed + self.negative * (signed > 0))
        return Levels(integers=integers.astype(np.int32), values=np.concatenate([np.zeros(1, np.float32), codebook]))


def _rows(tables: bytes, names: Sequence[str]) -> Iterator[_Row]:
    scanner = _Scanner(tables)
    for name in names:
        (kind,) = scanner.take(1, f"the kind of {name}")
        if kind == GRID:
            (step,) = struct.unpack("<f", scanner.take(4, f"the step of {name}"))
            yield _Row(kind, step=step)
        elif kind == CODEBOOK:
            negative, positive = struct.unpack("<HH", scanner.take(4, f"the size of {name}'s codebook"))
            yield _Row(kind, negative=negative, positive=positive)
        elif kind == PLAIN:
            yield _Row(kind)
        else:
            raise FileError(f"the kind of {name} must be 0, 1 or 2, got {kind}")
    if scanner.place != len(tables):
        raise FileError(f"tables must end with the last tensor, got {len(tables) - scanner.place} more bytes")


def _digest(tensors: Mapping[str, Floats]) -> bytes:
    digest = hashlib.sha256()
    for tensor in tensors.values():
        digest.update(np.ascontiguousarray(tensor, "<f4").tobytes())
    return digest.digest()[:DIGEST_BYTES]
