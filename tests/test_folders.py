import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fire import contents, data, decoding, folders
from fire.errors import DataError
from fire.recipe import DataSpec


def add(root: Path, name: str, pixels: np.ndarray, mode: str | None = None) -> Path:
    """An image file of these pixels, converted to the mode."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    (image.convert(mode, palette=Image.Palette.ADAPTIVE) if mode else image).save(path)
    return path


def grey(value: int, high: int = 20, wide: int = 20) -> np.ndarray:
    return np.full((high, wide, 3), value, np.uint8)


@pytest.fixture
def root(tmp_path) -> Path:
    """Two classes in folders made in the wrong order; an image's grey value tells which it is."""
    root = tmp_path / "images"
    for part in ("val", "train"):
        for label, name in ((1, "zebra"), (0, "ant")):
            for i in range(3):
                add(root, f"{part}/{name}/{i}.png", grey(100 * label + 10 * i))
    return root


def spec(root: Path, **fields) -> DataSpec:
    defaults = {"channels": 3, "classes": 2, "stored_size": 8, "image_size": 8, "validation": 1}
    return DataSpec(name="image_folder", root=str(root), **{**defaults, **fields})


def listed(path: Path, label: int = 0) -> folders.ImageFile:
    return folders.ImageFile(str(path), f"train/{label}/{path.name}", label, path.stat().st_size, 0, 0)


def read(path: Path, channels: int, size: int, tmp_path: Path, **fields) -> np.ndarray:
    shape = spec(tmp_path, channels=channels, stored_size=size, image_size=1, **fields)
    assert decoding.decode([listed(path)], tmp_path / "out.npy", shape) == [0]
    return np.load(tmp_path / "out.npy")[0]


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


def test_labels_follow_the_sorted_class_names(root, tmp_path):
    loaded = data.load(spec(root), tmp_path)
    assert loaded.class_names == ("ant", "zebra")
    assert loaded.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert loaded.test.images[:, 0, 0, 0].tolist() == [0, 10, 20, 100, 110, 120]
    assert loaded.train.images.shape == (6, 3, 8, 8)
    assert loaded.skipped == 0


def test_other_files_are_no_images(root):
    (root / "train" / "ant" / "notes.txt").write_text("not an image")
    (root / "train" / "README").write_text("no class")
    listing = folders.scan(root)
    assert len(listing.train) == 6
    assert listing.class_names == ("ant", "zebra")


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.fixture
def damaged(root) -> Path:
    """In the middle of the first class of train/: a JPEG of which half is missing."""
    random = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    path = add(root, "train/ant/0b.jpg", random)
    truncate(path)
    return path


def test_truncated_jpeg_is_named(root, damaged, tmp_path):
    with pytest.raises(DataError) as caught:
        data.load(spec(root), tmp_path)
    message = str(caught.value)
    assert message.startswith(f"images must be readable, got 1 unreadable of 7: {damaged} (")
    assert "data.on_corrupt=skip" in message
    assert "\n" not in message


def test_skipped_images_are_counted_and_labels_stay_aligned(root, damaged, tmp_path):
    loaded = data.load(spec(root, on_corrupt="skip"), tmp_path)
    assert loaded.skipped == 1
    assert loaded.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert loaded.train.images[:, 0, 0, 0].tolist() == [0, 10, 20, 100, 110, 120]


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


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("val", "data.root must hold train/<class>/* and val/<class>/*, got {root} without val/"),
        ("train", "data.root must hold train/<class>/* and val/<class>/*, got {root} without train/"),
        ("val/ant", "train and val in {root} must hold the same classes, got 'ant' in train only"),
        ("train/zebra", "{root}/train must hold at least 2 class folders, got 1"),
    ],
)
def test_folder_with_a_part_missing_is_refused(remove, message, root):
    shutil.rmtree(root / remove)
    with pytest.raises(DataError) as caught:
        folders.scan(root)
    assert str(caught.value) == message.format(root=root)


def test_empty_class_folder_is_named(root):
    for path in (root / "val" / "zebra").iterdir():
        path.unlink()
    with pytest.raises(DataError) as caught:
        folders.scan(root)
    assert str(caught.value).startswith(f"class folder {root / 'val' / 'zebra'} must hold images, got none")


def test_missing_root_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"data\.root must be an existing folder, got .*nowhere"):
        folders.scan(tmp_path / "nowhere")


def test_number_of_classes_must_be_the_configured_one(root, tmp_path):
    with pytest.raises(DataError, match=r"data\.classes must be 2 for image_folder, got 10"):
        data.load(spec(root, classes=10), tmp_path)


def fingerprint(root: Path) -> str:
    return contents.fingerprint(folders.scan(root), root.parent / "data")


def test_fingerprint_tells_contents_apart_and_not_places(root, tmp_path):
    before = fingerprint(root)
    assert fingerprint(shutil.copytree(root, tmp_path / "elsewhere")) == before
    path = root / "train" / "ant" / "0.png"
    path.rename(path.with_name("00.png"))
    renamed = fingerprint(root)
    path.with_name("00.png").rename(path)
    assert fingerprint(root) == before
    with open(path, "ab") as file:
        file.write(b"!")
    longer = fingerprint(root)
    (root / "val" / "ant").rename(root / "val" / "bee")
    (root / "train" / "ant").rename(root / "train" / "bee")
    assert len({before, renamed, longer, fingerprint(root)}) == 4


def test_fewer_test_images_are_of_all_classes(root, tmp_path):
    for limit, labels in ((2, [0, 1]), (4, [0, 0, 1, 1]), (9, [0, 0, 0, 1, 1, 1])):
        test = data.load(spec(root, limit=limit), tmp_path).test
        assert test.labels[test.rows].tolist() == labels


def test_a_folder_that_has_changed_is_not_taken_for_what_it_was(root, tmp_path):
    told = spec(root, fingerprint=fingerprint(root))
    data.load(told, tmp_path / "before")
    (root / "val" / "ant" / "2.png").unlink()
    with pytest.raises(
        DataError, match=rf"^data\.root must hold the images of fingerprint {told.fingerprint}, got \w+ in"
    ):
        data.load(told, tmp_path / "after")


def test_images_without_class_folders_are_refused(tmp_path):
    (tmp_path / "val").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "val" / "0.png")
    with pytest.raises(DataError, match=r"val must hold class folders with images, got none"):
        folders.scan_part(tmp_path, "val")
