"""Which files of a folder are images, of which class, and what is left out."""

import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fire.data import dataset, folders
from fire.data.spec import DataSpec
from fire.errors import DataError
from tests.pictures import add, grey, spec, truncate, two_classes


@pytest.fixture
def root(tmp_path) -> Path:
    return two_classes(tmp_path / "images")


def test_labels_follow_the_sorted_class_names(root, tmp_path):
    loaded = dataset.load(spec(root), tmp_path)
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


@pytest.fixture
def damaged(root) -> Path:
    """In the middle of the first class of train/: a JPEG of which half is missing."""
    random = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    path = add(root, "train/ant/0b.jpg", random)
    truncate(path)
    return path


def test_truncated_jpeg_is_named(root, damaged, tmp_path):
    with pytest.raises(DataError) as caught:
        dataset.load(spec(root), tmp_path)
    message = str(caught.value)
    assert message.startswith(f"images must be readable, got 1 unreadable of 7: {damaged} (")
    assert "data.on_corrupt=skip" in message
    assert "\n" not in message


def test_skipped_images_are_counted_and_labels_stay_aligned(root, damaged, tmp_path):
    loaded = dataset.load(spec(root, on_corrupt="skip"), tmp_path)
    assert loaded.skipped == 1
    assert loaded.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert loaded.train.images[:, 0, 0, 0].tolist() == [0, 10, 20, 100, 110, 120]


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
        dataset.load(spec(root, classes=10), tmp_path)


def test_fewer_test_images_are_of_all_classes(root, tmp_path):
    for limit, labels in ((2, [0, 1]), (4, [0, 0, 1, 1]), (9, [0, 0, 0, 1, 1, 1])):
        test = dataset.load(spec(root, limit=limit), tmp_path).test
        assert test.labels[test.rows].tolist() == labels


def test_images_without_class_folders_are_refused(tmp_path):
    (tmp_path / "val").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "val" / "0.png")
    with pytest.raises(DataError, match=r"val must hold class folders with images, got none"):
        folders.scan_part(tmp_path, "val")


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".JPG", ".jp2", ".avif", ".webp", ".tga", ".pcx", ".ico", ".qoi"])
def test_all_that_pillow_reads_is_read(suffix, tmp_path):
    if suffix.lower() not in folders.suffixes():
        pytest.skip("this Pillow was built without it")
    root = two_classes(tmp_path / "images", suffix)
    listing = folders.scan(root)
    assert [file.name for file in listing.test] == [
        f"val/{name}/{i}{suffix}" for name in ("ant", "zebra") for i in range(3)
    ]
    assert not listing.left_out
    means = dataset.load(spec(root), tmp_path).test.images.mean((1, 2, 3))
    assert np.abs(means - [0, 10, 20, 100, 110, 120]).max() <= 2


def test_every_suffix_of_pillow_is_an_image_or_is_known_not_to_be_decoded():
    Image.init()
    openable = {suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN}
    left_out = {".bufr", ".eps", ".ps", ".grib", ".h5", ".hdf", ".mpg", ".mpeg", ".wmf", ".emf"}
    assert folders.suffixes() == openable - left_out


def test_images_lie_at_any_depth(root):
    # As Tiny ImageNet has them: train/<class>/images/*.JPEG beside train/<class>/<class>_boxes.txt.
    for name in ("ant", "zebra"):
        folder = root / "train" / name
        (folder / "images" / "more").mkdir(parents=True)
        for i, place in enumerate(("images", "images", "images/more")):
            (folder / f"{i}.png").rename(folder / place / f"{i}.png")
        (folder / f"{name}_boxes.txt").write_text("0.png 0 0 19 19\n")
    listing = folders.scan(root)
    assert [file.name.removeprefix("train/") for file in listing.train] == [
        f"{name}/images/{path}" for name in ("ant", "zebra") for path in ("0.png", "1.png", "more/2.png")
    ]
    assert [file.label for file in listing.train] == [0, 0, 0, 1, 1, 1]
    assert listing.left_out == Counter({".txt": 2})


def test_what_is_no_image_and_no_class_is_left_out_and_counted(root):
    for folder in (".ipynb_checkpoints", "lost+found", "@eaDir", "__MACOSX", "$RECYCLE.BIN", ".Trash-1000"):
        add(root, f"train/{folder}/0.png", grey(0))
        add(root, f"val/ant/{folder}/0.png", grey(0))
    for name in (".DS_Store", "._0.png", "Thumbs.db", "LABELS", "figure.eps", "table.h5"):
        (root / "train" / "ant" / name).write_bytes(b"\0\5\x16\7")
    (root / "val" / "zebra" / "gone.png").symlink_to(root / "nowhere.png")
    (root / "val" / "zebra" / "itself").symlink_to("itself")
    (root / "val" / "zebra" / "round").symlink_to(root / "val")
    os.mkfifo(root / "val" / "zebra" / "pipe.png")
    add(root, "train/beside.png", grey(0))
    (root / "train" / "README").write_text("no class")
    listing = folders.scan(root)
    assert listing.class_names == ("ant", "zebra")
    assert (len(listing.train), len(listing.test)) == (6, 6)
    assert listing.left_out == Counter(
        {
            "hidden": 2 + 2 + 2,
            "system folder": 4 + 4,
            ".db": 1,
            ".eps": 1,
            ".h5": 1,
            "without suffix": 2,
            "broken link": 2,
            "link to a folder above": 1,
            "special file": 1,
            "beside the class folders": 1,
        }
    )


def test_links_that_lead_round_in_circles_are_left_out(root):
    (root / "train" / "ant" / "deep").mkdir()
    (root / "train" / "ant" / "deep" / "up").symlink_to("..")
    (root / "train" / "ant" / "other").symlink_to(root / "train" / "zebra")
    listing = folders.scan(root)
    assert [file.name for file in listing.train if file.label == 0][3:] == [
        f"train/ant/other/{i}.png" for i in range(3)
    ]
    assert listing.left_out == Counter({"link to a folder above": 1})


def test_the_summary_has_the_most_frequent_first():
    left_out = Counter({".txt": 3, "hidden": 1200, "broken link": 1})
    assert folders.summary(left_out) == "1,200 hidden, 3 .txt, 1 broken link"
    many = Counter({f".{i}": 2 for i in range(7)})
    assert folders.summary(many) == "2 .0, 2 .1, 2 .2, 2 .3, 2 .4, 4 for other reasons"
    assert folders.summary(Counter()) == ""


def test_composed_and_decomposed_accents_are_one_class(root, tmp_path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"  # as Linux and macOS write it
    (root / "train" / "ant").rename(root / "train" / decomposed)
    (root / "val" / "ant").rename(root / "val" / composed)
    assert dataset.load(spec(root), tmp_path).class_names == (composed, "zebra")
    (root / "val" / "zebra").rename(root / "val" / decomposed)
    with pytest.raises(DataError, match=r"val must hold each class once, got two folders 'café'"):
        folders.scan(root)


def test_names_that_are_no_utf_8_are_escaped(root, tmp_path):
    latin = os.fsdecode(b"caf\xe9")
    for part in ("train", "val"):
        (root / part / "ant").rename(root / part / latin)
        (root / part / latin / "0.png").rename(root / part / latin / f"{latin}.png")
    loaded = dataset.load(spec(root), tmp_path)
    assert loaded.class_names == ("caf\\xe9", "zebra")
    assert [file.name for file in folders.scan(root).test][2] == "val/caf\\xe9/caf\\xe9.png"
    truncate(root / "train" / latin / "1.png")
    with pytest.raises(DataError) as caught:
        dataset.load(spec(root), tmp_path)
    assert "caf\\xe9/1.png (" in str(caught.value)
    str(caught.value).encode()


def test_messages_have_one_line_whatever_a_name_is(root):
    (root / "val" / "zebra").rename(root / "val" / "ze\nbra")
    (root / "train" / "ant" / "notes.t\nxt").write_text("")
    with pytest.raises(DataError, match=r"got 'ze\\nbra' in val only$"):
        folders.scan(root)
    (root / "train" / "zebra").rename(root / "train" / "ze\nbra")
    assert dataset.remarks(spec(root), root.parent / "data") == [
        f"{root}: 6 training and 6 test images; left out: 1 .t\\nxt"
    ]
    for path in (root / "val" / "ze\nbra").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"class folder [^\n]*ze\\nbra must hold images, got none$"):
        folders.scan(root)


def test_a_folder_that_cannot_be_read_is_named(root, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("zebra"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError) as caught:
        folders.scan(root)
    assert str(caught.value) == f"{root}/train/zebra must be a readable folder (Permission denied)"


def test_remarks_say_what_is_left_out(root):
    assert dataset.remarks(spec(root), root.parent / "data") == []
    (root / "train" / "ant" / "notes.txt").write_text("")
    (line,) = dataset.remarks(spec(root), root.parent / "data")
    assert line == f"{root}: 6 training and 6 test images; left out: 1 .txt"
    assert dataset.remarks(DataSpec(), root) == []


@pytest.mark.parametrize(
    ("validation", "held_out"), [(5, 5), (0.5, 3), (0.34, 2), (0.01, 1), (0.99, 5)], ids=str
)  # of 6, one of which must be left on either side
def test_validation_may_be_a_fraction(validation, held_out, root, tmp_path):
    loaded = dataset.load(spec(root, validation=validation), tmp_path)
    assert (len(loaded.train), len(loaded.validation)) == (6 - held_out, held_out)
    assert sorted([*loaded.train.rows, *loaded.validation.rows]) == list(range(6))


def test_a_number_that_leaves_nothing_to_train_on_is_refused_before_decoding(root):
    with pytest.raises(DataError) as caught:
        dataset.remarks(spec(root, validation=5000), root.parent)
    assert str(caught.value) == (
        "data.validation must be below the 6 training images there are, such as 0.1 for a tenth or 1, got 5000"
    )
