"""The file of a compressed network: all that is needed to use it, and a check of every byte.

    magic     4 bytes
    version   1 byte
    coder     its name, one of fire.weights.integers.CODERS, after its length in 1 byte
    header    the specification, the preprocessing and the classes: JSON (fire/weights/header.py) through deflate,
              after its length in 4 bytes
    tables    a row for each tensor: 1 byte for its kind, then nothing (float32), the number of values in its codebook
              but for 0.0, or its step and the bounds of its integers. Names and shapes follow from the specification
    payload   one stream of the coder: all codebooks, as the differences of their float32 bits; all plain tensors, as
              bits; then the integers of each of the others
    digest    the first 8 bytes of SHA-256 of the tensors in float32: every machine decodes the same bits, or refuses
    checksum  CRC-32 of all before it

Numbers are little-endian.
"""

import hashlib
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fire.errors import InputError, require
from fire.files import reading, write
from fire.weights import header, integers
from fire.weights.header import Header, Shapes
from fire.weights.integers import Bounds
from fire.weights.quantised import Compressed, Floats, Quantised, to_float

MAGIC = b"\x89FCN"  # no text begins with its first byte
VERSION = 2
CHECKS = 8 + 4  # bytes of the digest and the checksum
PLAIN, CODEBOOK, *GRIDS = range(5)  # kinds of tensors; the three of a grid differ in the width of their bounds
ROWS = ("<B", "<BH", "<Bfbb", "<Bfhh", "<Bfii")  # by kind
LARGEST_CODEBOOK = 2**16
LARGEST_HEADER = 2**24  # bytes of JSON
FLOAT = (-(2**31), 2**31 - 1)  # the bits of a float32 as an integer
RULE = "a whole file of a compressed network"


def encode(compressed: Compressed, coder: str = "adaptive") -> bytes:
    """The content of the file. coder: one of fire.weights.integers.CODERS.

    Raises InputError if the tensors are not those of the specification, or beyond the bounds of the format.
    """
    text = header.dump(compressed.header)
    shapes = compressed.header.shapes
    if list(shapes) != list(compressed.tensors):
        raise InputError(f"tensors must be {', '.join(shapes)}, got {', '.join(compressed.tensors)}")
    tensors = {name: _checked(name, tensor, shapes[name]) for name, tensor in compressed.tensors.items()}
    rows = [_Row.of(tensor) for tensor in tensors.values()]
    quantised = [tensor for tensor in tensors.values() if isinstance(tensor, Quantised)]
    codebooks = [tensor.values[1:] for tensor in quantised if tensor.values.ndim]
    plain = [tensor.reshape(-1) for tensor in tensors.values() if not isinstance(tensor, Quantised)]
    arrays = [np.concatenate([np.zeros(0, np.float32), *part]).view(np.int32) for part in (codebooks, plain)]
    arrays[0] = np.diff(arrays[0], prepend=np.int32(0))  # modulo 2**32
    arrays += [tensor.integers for tensor in quantised]

    payload = integers.encode(coder, arrays, _bounds(rows, shapes))
    packed = zlib.compress(text.encode(), level=9, wbits=-15)
    data = MAGIC + bytes([VERSION, len(coder)]) + coder.encode() + struct.pack("<I", len(packed)) + packed
    data += b"".join(row.packed() for row in rows) + payload + _digest(tensors)
    return data + struct.pack("<I", zlib.crc32(data))


def decode(data: bytes) -> Compressed:
    """What `encode` was given. Raises InputError if the data is no file that it made."""
    found = _read(data)
    shapes = found.header.shapes
    try:
        arrays = integers.decode(found.coder, found.payload, _bounds(found.rows, shapes))
    except InputError as error:
        raise InputError(f"the payload must be as its coder writes it: {error}") from error
    codebooks = np.cumsum(arrays[0], dtype=np.int32).view(np.float32)
    plain = arrays[1].view(np.float32)
    coded = iter(arrays[2:])
    tensors: dict[str, Quantised | Floats] = {}
    for row, (name, shape) in zip(found.rows, shapes.items(), strict=True):
        if row.kind == PLAIN:
            size = math.prod(shape)
            tensors[name] = plain[:size].reshape(shape)
            plain = plain[size:]
        elif row.kind == CODEBOOK:
            book = np.concatenate([np.zeros(1, np.float32), codebooks[: row.high]])
            tensors[name] = Quantised(integers=next(coded), values=book)
            codebooks = codebooks[row.high :]
        else:
            tensors[name] = Quantised(integers=next(coded), values=np.array(row.step, np.float32))
        _checked(name, tensors[name], shape)
    if _digest(tensors) != found.digest:
        raise InputError(f"the digest of the tensors must be {found.digest.hex()}, got {_digest(tensors).hex()}")
    return Compressed(header=found.header, tensors=tensors)


def overhead_bytes(data: bytes) -> int:
    """The bytes of a file that are not its payload. Raises InputError as `decode` does, but does not decode."""
    return len(data) - len(_read(data).payload)


def save(path: Path, compressed: Compressed, coder: str = "adaptive") -> None:
    """Write the file, whole or not at all. Raises as `encode` does."""
    write(path, encode(compressed, coder))


def load(path: Path) -> Compressed:
    """Read a file that `save` wrote. Raises InputError if it is not one, or not whole."""
    with reading("weights", path, RULE):
        return decode(path.read_bytes())


def load_header(path: Path) -> Header:
    """The header alone of a file that `save` wrote. Raises InputError if it is not one, or not whole."""
    with reading("weights", path, RULE):
        return _read(path.read_bytes()).header


class _Row(NamedTuple):
    """How a tensor is stored. For a codebook, high is the number of its values but for 0.0."""

    kind: int
    step: float = 0.0
    low: int = 0
    high: int = 0

    @classmethod
    def of(cls, tensor: Quantised | Floats) -> "_Row":
        """The row of a tensor."""
        if not isinstance(tensor, Quantised):
            return cls(PLAIN)
        if tensor.values.ndim:
            return cls(CODEBOOK, high=len(tensor.values) - 1)
        low, high = int(tensor.integers.min(initial=0)), int(tensor.integers.max(initial=0))
        widths = [np.iinfo(kind) for kind in (np.int8, np.int16, np.int32)]
        kind = next(kind for kind, width in zip(GRIDS, widths, strict=True) if width.min <= low and high <= width.max)
        return cls(kind, float(tensor.values), low, high)

    def packed(self) -> bytes:
        """Its bytes in the file."""
        if self.kind == PLAIN:
            return struct.pack(ROWS[PLAIN], PLAIN)
        if self.kind == CODEBOOK:
            return struct.pack(ROWS[CODEBOOK], CODEBOOK, self.high)
        return struct.pack(ROWS[self.kind], *self)

    @classmethod
    def unpacked(cls, data: bytes, place: int, name: str, shape: tuple[int, ...]) -> "_Row":
        """The row that begins at that place. Raises InputError if it is none for a tensor of that shape."""
        kind = data[place] if place < len(data) else 0
        if kind >= len(ROWS):
            raise InputError(f"the kind of {name} must be below {len(ROWS)}, got {kind}")
        try:
            fields = struct.unpack_from(ROWS[kind], data, place)
        except struct.error as error:
            raise InputError(f"the tables must have a row for {name}") from error
        if kind == CODEBOOK:
            size = math.prod(shape)
            if fields[1] > size:
                raise InputError(f"the codebook of {name} must have at most {size} values, got {fields[1]}")
            return cls(kind, high=fields[1])
        row = cls(*fields)
        if not row.low <= 0 <= row.high:
            raise InputError(f"0 must be within the bounds of {name}, got {row.low} to {row.high}")
        return row


class _File(NamedTuple):
    """The parts of a file whose checksum holds."""

    coder: str
    header: Header
    rows: list[_Row]
    payload: bytes
    digest: bytes


def _read(data: bytes) -> _File:
    if data[: len(MAGIC)] != MAGIC:
        raise InputError(f"the magic must be {MAGIC!r}, got {data[: len(MAGIC)]!r}")
    place = len(MAGIC) + 2
    if len(data) < place + CHECKS:
        raise InputError(f"it must have at least {place + CHECKS} bytes, got {len(data)}")
    version, length = data[len(MAGIC) : place]
    if version != VERSION:
        raise InputError(f"the version must be {VERSION}, got {version}")
    expected, checksum = zlib.crc32(data[:-4]), int.from_bytes(data[-4:], "little")
    if checksum != expected:
        raise InputError(f"the checksum must be {expected:08x}, got {checksum:08x}")
    body, digest = data[:-CHECKS], data[-CHECKS:-4]
    coder = body[place : place + length].decode(errors="replace")
    require(coder in integers.CODERS, "coder", f"one of {', '.join(integers.CODERS)}", coder)
    place += length
    packed_bytes = int.from_bytes(body[place : place + 4], "little")
    place += 4 + packed_bytes
    about = header.parse(_inflated(body[place - packed_bytes : place]))
    rows = []
    for name, shape in about.shapes.items():
        rows.append(_Row.unpacked(body, place, name, shape))
        place += struct.calcsize(ROWS[rows[-1].kind])
    return _File(coder=coder, header=about, rows=rows, payload=body[place:], digest=digest)


def _inflated(packed: bytes) -> str:
    try:
        stream = zlib.decompressobj(wbits=-15)
        content = stream.decompress(packed, LARGEST_HEADER)
        if stream.eof and not stream.unused_data:
            return content.decode()
    except (zlib.error, UnicodeDecodeError):
        pass
    raise InputError("the header must be deflated text")


def _bounds(rows: list[_Row], shapes: Shapes) -> list[Bounds]:
    """The arrays of the payload: codebooks, plain tensors, and the integers of the others."""
    codebooks = sum(row.high for row in rows if row.kind == CODEBOOK)
    plain = sum(math.prod(shape) for row, shape in zip(rows, shapes.values(), strict=True) if row.kind == PLAIN)
    coded = [
        Bounds(shape, row.low, row.high) for row, shape in zip(rows, shapes.values(), strict=True) if row.kind != PLAIN
    ]
    return [Bounds((codebooks,), *FLOAT), Bounds((plain,), *FLOAT), *coded]


def _checked(name: str, tensor: Quantised | Floats, shape: tuple[int, ...]) -> Quantised | Floats:
    """The tensor. Raises InputError if it is of another shape or type, is not finite, or has too many values."""
    content = tensor.integers if isinstance(tensor, Quantised) else tensor
    if content.shape != shape:
        raise InputError(f"{name} must be of shape {shape}, got {content.shape}")
    if isinstance(tensor, Quantised):
        most = min(math.prod(shape), LARGEST_CODEBOOK - 1)
        if tensor.values.ndim and len(tensor.values) - 1 > most:
            raise InputError(f"the codebook of {name} must have at most {most} values, got {len(tensor.values) - 1}")
    elif tensor.dtype != np.float32:
        raise InputError(f"{name} must be of type float32, got {tensor.dtype}")
    elif not np.isfinite(tensor).all():
        raise InputError(f"{name} must be finite")
    return tensor


def _digest(tensors: Mapping[str, Quantised | Floats]) -> bytes:
    digest = hashlib.sha256()
    for tensor in tensors.values():
        digest.update(to_float(tensor).astype("<f4", copy=False).tobytes())
    return digest.digest()[:8]
