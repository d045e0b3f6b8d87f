"""What the pixels of image files become."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fire.data import decoding
from fire.errors import DataError
from tests.pictures import add, grey, listed, read, spec, truncate


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a.png", "RGB"),
        ("a.png", "L"),
        ("a.png", "RGBA"),
        ("a.png", "LA"),
        ("a.png", "P"),
        ("a.jpg", "RGB"),
        ("a.JPEG", "L"),
        ("a.jpg", "CMYK"),
        ("a.bmp", "RGB"),
        ("a.gif", "P"),
        ("a.webp", "RGB"),
        ("a.tif", "CMYK"),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_and_format_comes_out_as_the_same_grey(name, mode, channels, tmp_path):
    path = add(tmp_path, name, grey(90, 17, 33), mode)
    pixels = read(path, channels, 8, tmp_path)
    assert pixels.shape == (channels, 8, 8)
    assert np.abs(pixels.astype(int) - 90).max() <= 2  # lossy formats and CMYK are a little off


def test_palette_with_transparency(tmp_path):
    image = Image.fromarray(grey(90)).convert("P", palette=Image.Palette.ADAPTIVE)
    image.save(tmp_path / "a.png", transparency=bytes([0, 128] * 128))
    assert np.abs(read(tmp_path / "a.png", 3, 8, tmp_path).astype(int) - 90).max() <= 2


def test_16_bits_are_scaled_and_not_clipped(tmp_path):
    path = add(tmp_path, "a.png", np.full((20, 20), 65535 // 2, np.uint16))
    assert np.abs(read(path, 1, 8, tmp_path).astype(int) - 127).max() <= 1


def test_channels_keep_their_order(tmp_path):
    colour = np.zeros((9, 9, 3), np.uint8) + np.array([200, 100, 50], np.uint8)
    pixels = read(add(tmp_path, "a.png", colour), 3, 8, tmp_path)
    assert pixels.reshape(3, -1).mean(1).tolist() == [200, 100, 50]


def test_wide_image_is_resized_and_cut_to_its_middle(tmp_path):
    pixels = np.zeros((40, 120, 3), np.uint8)
    pixels[:, 60:] = 255  # left half black, right half white
    pixels[:, :30] = pixels[:, 90:] = 77  # beyond the central square, with room to spare
    assert (read(add(tmp_path, "a.png", pixels), 1, 40, tmp_path) == pixels[None, :, 40:80, 0]).all()
    small = read(add(tmp_path, "a.png", pixels), 1, 10, tmp_path)[0]
    assert (small[:, :4] == 0).all()
    assert (small[:, 6:] == 255).all()


def test_high_image_is_cut_to_its_middle(tmp_path):
    pixels = np.repeat(np.arange(60, dtype=np.uint8), 20).reshape(60, 20)
    assert (read(add(tmp_path, "a.png", pixels), 1, 20, tmp_path)[0, :, 0] == np.arange(20, 40)).all()


def test_small_image_is_enlarged(tmp_path):
    assert (read(add(tmp_path, "a.png", grey(50, 2, 3)), 3, 16, tmp_path) == 50).all()


@pytest.mark.parametrize("suffix", [".png", ".gif", ".webp", ".tif", ".bmp"])
def test_damaged_files_of_each_format_are_named(suffix, tmp_path):
    random = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    path = add(tmp_path, f"a{suffix}", random)
    truncate(path)
    with pytest.raises(DataError, match="images must be readable, got 1 unreadable of 1") as caught:
        decoding.decode([listed(path)], tmp_path / "out.npy", spec(tmp_path))
    assert str(path) in str(caught.value)


def test_many_corrupt_images_are_counted_and_three_named(tmp_path):
    files = []
    for i in range(5):
        (tmp_path / f"{i}.jpg").write_text("no image")
        files.append(listed(tmp_path / f"{i}.jpg"))
    with pytest.raises(DataError, match=r"got 5 unreadable of 5: .*0\.jpg.*1\.jpg.*2\.jpg.* and 2 more") as caught:
        decoding.decode(files, tmp_path / "out.npy", spec(tmp_path))
    assert "3.jpg" not in str(caught.value)
    with pytest.raises(DataError, match=r"^class folder train/0 must hold an image that can be read, got .*0\.jpg \("):
        decoding.decode(files, tmp_path / "out.npy", spec(tmp_path, on_corrupt="skip"))


# What EXIF's orientation says of the stored array: which side of the picture its first row and its first column are.
STORED = {
    1: lambda picture: picture,  # top, left
    2: lambda picture: picture[:, ::-1],  # top, right
    3: lambda picture: picture[::-1, ::-1],  # bottom, right
    4: lambda picture: picture[::-1],  # bottom, left
    5: lambda picture: picture.swapaxes(0, 1),  # left, top
    6: lambda picture: picture[:, ::-1].swapaxes(0, 1),  # right, top
    7: lambda picture: picture[::-1, ::-1].swapaxes(0, 1),  # right, bottom
    8: lambda picture: picture[::-1].swapaxes(0, 1),  # left, bottom
}


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
@pytest.mark.parametrize("orientation", STORED)
def test_images_are_turned_upright(orientation, suffix, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True, "exact": True} if suffix == ".webp" else {}
    stored = np.ascontiguousarray(STORED[orientation](picture))
    path = add(tmp_path, f"a{suffix}", stored, exif=exif, **options)
    assert np.array_equal(read(path, 3, 6, tmp_path), picture.transpose(2, 0, 1))


def test_an_image_with_damaged_exif_data_is_read(tmp_path):
    path = add(tmp_path, "a.jpg", grey(90), exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    assert np.abs(read(path, 3, 8, tmp_path).astype(int) - 90).max() <= 1


def ramp(unit: float, kind: type) -> np.ndarray:
    """0, 1, ..., 255 times the unit, in a square of 16."""
    return (np.arange(256) * unit).reshape(16, 16).astype(kind)


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("float of 0..1", ramp(1 / 255, np.float32)),
        ("float of 0..255", ramp(1, np.float32)),
        ("float of 0..65535", ramp(257, np.float32)),
        ("32 bits of 0..255", ramp(1, np.int32)),
        ("32 bits of 0..65535", ramp(257, np.int32)),
        ("16 bits", ramp(257, np.uint16)),
        ("8 bits", ramp(1, np.uint8)),
    ],
)
def test_numbers_of_every_kind_become_the_same_grey_levels(name, numbers, tmp_path):
    path = add(tmp_path, "a.tif", numbers)
    assert np.array_equal(read(path, 1, 16, tmp_path)[0], ramp(1, np.uint8))


@pytest.mark.parametrize("suffix", [".png", ".pgm", ".tif"])
def test_dark_16_bits_stay_dark(suffix, tmp_path):
    path = add(tmp_path, f"a{suffix}", np.full((16, 16), 200, np.uint16))
    assert (read(path, 1, 16, tmp_path) == 0).all()


@pytest.mark.parametrize(
    ("numbers", "given"),
    [
        (np.float32([[-0.5, 1], [0, 1]]), "-0.5..1"),
        (np.float32([[0, 1.5], [0, 1]]), "0..1.5"),
        (np.float32([[0, np.nan], [0, 1]]), "nan..nan"),
        (np.float32([[0, np.inf], [0, 1]]), "0..inf"),
        (np.int32([[0, 65536], [0, 1]]), "0..65536"),
        (np.int32([[-1, 255], [0, 1]]), "-1..255"),
    ],
    ids=str,
)
def test_numbers_that_do_not_say_what_is_white_are_refused(numbers, given, tmp_path):
    path = add(tmp_path, "a.tif", numbers)
    with pytest.raises(DataError) as caught:
        read(path, 1, 2, tmp_path)
    rule = f"32-bit numbers must be in 0..1, or whole and in 0..65535, got {given}"
    assert f"{path} ({rule})" in str(caught.value)


def test_numbers_of_different_ranges_are_refused(tmp_path):
    dark, bright = (add(tmp_path, f"{top}.tif", np.int32([[0, top], [0, 1]])) for top in (200, 60_000))
    with pytest.raises(DataError) as caught:
        decoding.decode([listed(dark), listed(bright)], tmp_path / "out.npy", spec(tmp_path, channels=1))
    assert str(caught.value) == (
        f"images of 32-bit numbers must have one range, got 0..255 in {dark} and 0..65535 in {bright}"
    )


@pytest.mark.parametrize(
    ("lab", "rgb"),
    # CSS Color Module Level 4, CIE Lab of the D50 white: white, black, gray, red
    [
        ((100, 0, 0), (255, 255, 255)),
        ((0, 0, 0), (0, 0, 0)),
        ((54.29, 80.80, 69.89), (255, 0, 0)),
        ((53.59, 0, 0), (128, 128, 128)),
    ],
)
def test_lab_becomes_rgb(lab, rgb, tmp_path):
    lightness, a, b = lab
    coded = bytes([round(lightness * 2.55), round(a) & 255, round(b) & 255])  # TIFF 6.0: a* and b* are signed
    Image.frombytes("LAB", (8, 8), coded * 64).save(tmp_path / "a.tif")
    found = read(tmp_path / "a.tif", 3, 8, tmp_path)
    assert np.abs(found.astype(int) - np.reshape(rgb, (3, 1, 1))).max() <= 6  # 8 bits of Lab are coarse
    weights = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's mode L
    assert np.abs(read(tmp_path / "a.tif", 1, 8, tmp_path) - np.dot(weights, rgb)).max() <= 6


def test_crop_and_squash_are_two_protocols(tmp_path):
    path = add(tmp_path, "a.png", np.uint8([[0, 70, 140, 210]] * 2))
    # The shorter side is 2 already: the two middle columns.
    assert read(path, 1, 2, tmp_path, resize="crop").tolist() == [[[70, 140]] * 2]
    # The whole width: a triangle of radius 2 around 1 and 3 has weights 3/4, 3/4, 1/4 at the nearest centres.
    left, right = (3 * 0 + 3 * 70 + 140) / 7, (70 + 3 * 140 + 3 * 210) / 7
    assert read(path, 1, 2, tmp_path, resize="squash").tolist() == [[[left, right]] * 2]


@pytest.mark.parametrize("resize", ["crop", "squash"])
def test_squares_are_the_same_with_both_protocols(resize, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8)).astype(np.uint8)
    assert np.array_equal(read(add(tmp_path, "a.png", pixels), 1, 8, tmp_path, resize=resize)[0], pixels)


def test_a_class_needs_an_image_that_can_be_read(tmp_path):
    files = [listed(add(tmp_path, f"{label}{i}.png", grey(label)), label) for label in range(2) for i in range(2)]
    for file in files[2:]:
        truncate(Path(file.path))
    with pytest.raises(DataError, match=r"^class folder train/1 must hold an image that can be read, got .*10\.png \("):
        decoding.decode(files, tmp_path / "out.npy", spec(tmp_path, on_corrupt="skip"))
