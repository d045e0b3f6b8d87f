"""Image files that are small and would cost much, or that decoders fail on."""

import errno
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from fire.data import decoding
from fire.errors import DataError
from tests.pictures import add, grey, listed, read, spec

THIN = """
import resource, sys
from pathlib import Path
from PIL import Image
from tests.pictures import read
folder = Path(sys.argv[1])
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 2**29
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for size in ((1, 60_000), (60_000, 1)):
    Image.new("L", size, 90).save(folder / "a.png")
    for resize in ("crop", "squash"):
        assert (read(folder / "a.png", 3, 256, folder, resize=resize) == 90).all()
"""


def test_thin_images_take_less_than_half_a_gigabyte(tmp_path):
    done = subprocess.run([sys.executable, "-c", THIN, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_middle_of_a_thin_image_is_kept(tmp_path):
    pixels = np.zeros((1_000_001, 1), np.uint8)
    pixels[500_000] = 200
    assert (read(add(tmp_path, "a.png", pixels), 1, 1, tmp_path) == 200).all()
    assert (read(add(tmp_path, "b.png", pixels.T), 1, 1, tmp_path) == 200).all()


def claims(wide: int, high: int) -> bytes:
    """A PNG file that says it is of this size, and ends."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", wide, high, 8, 0, 0, 0, 0)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(50_000, 50_000), (2**31 - 1, 2**31 - 1), (100_000_000, 1), (0, 5)], ids=str)
@pytest.mark.parametrize("on_corrupt", ["error", "skip"])
def test_absurd_sizes_are_an_error_of_one_line(size, on_corrupt, tmp_path):
    (tmp_path / "a.png").write_bytes(claims(*size))
    good = add(tmp_path, "b.png", grey(7))
    files = [listed(tmp_path / "a.png"), listed(good)]
    wanted = spec(tmp_path, on_corrupt=on_corrupt)
    if on_corrupt == "skip":
        assert decoding.decode(files, tmp_path / "out.npy", wanted) == [1]
        assert (np.load(tmp_path / "out.npy") == 7).all()
    else:
        with pytest.raises(DataError) as caught:
            decoding.decode(files, tmp_path / "out.npy", wanted)
        assert "got 1 unreadable of 2: " in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("error", [OverflowError("no\nsuch size"), AssertionError(), KeyError(3)])
def test_whatever_a_decoder_raises_is_an_error_of_one_line(error, tmp_path, monkeypatch):
    def fail(*arguments, **options):
        raise error

    path = add(tmp_path, "a.png", grey(7))
    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(DataError, match=rf"got 1 unreadable of 1: {path} \({type(error).__name__}[^\n]*$"):
        decoding.decode([listed(path)], tmp_path / "out.npy", spec(tmp_path))


def test_formats_that_other_programs_would_decode_are_not(tmp_path):
    # Pillow hands PostScript over to Ghostscript, whatever the file's name says.
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n")
    with Image.open(path) as opened:
        assert opened.format == "EPS"
    with pytest.raises(DataError, match="cannot identify image file"):
        decoding.decode([listed(path)], tmp_path / "out.npy", spec(tmp_path))


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EMFILE, "Too many open files")])
def test_an_image_that_there_is_no_memory_for_is_not_skipped(error, tmp_path, monkeypatch):
    paths = [add(tmp_path, name, grey(7)) for name in ("a.png", "b.png")]

    def fail(path, **options):
        if path == str(paths[0]):
            raise error
        return opened(path, **options)

    opened = Image.open
    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(DataError, match=rf"memory and open files to be decoded, got {paths[0]} \([^\n]*\)$"):
        decoding.decode(list(map(listed, paths)), tmp_path / "out.npy", spec(tmp_path, on_corrupt="skip"))
