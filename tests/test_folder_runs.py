"""Runs on image folders, from the command line to the record."""

import os
import re
import shutil

import numpy as np
import pytest

from fire.data import contents
from fire.errors import DataError
from sweep.__main__ import answer
from sweep.export import _main as export_command
from sweep.preparation import check, make_ready
from sweep.record import Record
from sweep.run import run
from sweep.store import Store
from tests.pictures import add, age, grey, truncate
from tests.sweeping import Launch, answered, options, planner, point


@pytest.fixture
def root(tmp_path):
    """Two classes, dark and bright, 8 training and 2 test images each, in a format of fixed size."""
    noise = np.random.default_rng(0)
    for part, count in (("train", 8), ("val", 2)):
        for label, name in enumerate(("bright", "dark")):
            for i in range(count):
                pixels = noise.integers(0, 60, (20, 24, 3)) + 180 * (1 - label)
                add(tmp_path / "images", f"{part}/{name}/{i}.bmp", pixels.astype(np.uint8))
    return tmp_path / "images"


def arguments(root, *more: str) -> list[str]:
    network = ("arch=squeezenet_narrow", "arch.base_e=16", "arch.incr_e=16", "arch.conv1=16", "arch.fires=2")
    recipe = ("train.epochs=1", "train.batch_size=4", "train.precision=fp32", "threads=1")
    sizes = ("data.stored_size=20", "data.image_size=20")
    places = (f"data.root={root}", f"data_dir={root.parent}/data", f"results_dir={root.parent}/results")
    return ["data=image_folder", *network, *recipe, *sizes, *places, *more]


def planned(root, *more: str) -> Launch:
    """As a launch of its own plans it."""
    planner.cache_clear()
    return Launch(point(*arguments(root, *more)).config, options(*arguments(root, *more)))


def trained(root, *more: str) -> Record:
    record = run(*planned(root, *more))
    assert record.status == "finished", record.error
    return record


def test_other_images_of_the_same_names_and_sizes_are_another_data_set(root):
    before = planned(age(root)).config
    copy = shutil.copytree(root, root.parent / "copy")
    for path in root.rglob("dark/*.bmp"):
        add(root, str(path.relative_to(root)), grey(50, 20, 24))
    assert planned(copy).config.key == before.key != planned(root).config.key


def test_the_points_of_a_launch_read_their_folder_once(root, monkeypatch):
    read = []

    def read_contents(files, step):
        read.append(sum(1 for _ in files))
        return [""] * read[-1]

    monkeypatch.setattr(contents, "_read", read_contents)
    planner.cache_clear()
    keys = {point(*arguments(root, f"seed={seed}", f"arch.sr={sr}")).key for seed in range(10) for sr in (0.25, 0.5)}
    assert (len(keys), read) == (20, [20])
    planner.cache_clear()


def test_records_and_plans_say_what_was_left_out(root, capsys):
    (root / "train" / "dark" / ".DS_Store").write_bytes(b"")
    (root / "train" / "dark" / "gone.png").symlink_to("nowhere")
    (root / "val" / "notes.txt").write_text("")
    truncate(root / "train" / "bright" / "3.bmp")
    line = f"{root}: 16 training and 4 test images; left out: 1 .txt, 1 broken link, 1 hidden"
    skipping = ["data.on_corrupt=skip", "dry_run=true"]
    assert answered(*arguments(root, *skipping))[1].splitlines()[0] == line
    planned_run = [point(*arguments(root, "data.on_corrupt=skip"))]
    places = options(*arguments(root))
    check(planned_run, places)
    make_ready(planned_run, planned_run, places)
    out = capsys.readouterr().out
    assert out.splitlines() == [line, "unreadable images left out, as data.on_corrupt=skip has it: 1"]
    record = trained(root, "data.on_corrupt=skip")
    assert (record.images_skipped, record.left_out) == (1, "1 .txt, 1 broken link, 1 hidden")
    assert Store(root.parent / "results").read(record.key) == record


@pytest.mark.parametrize("more", [["-m", "seed=0,1"], ["dry_run=true"]], ids=["sweep", "dry run"])
def test_too_few_images_for_validation_are_refused_before_anything_is_decoded(more, root):
    code, out, err = answered(*arguments(root, "data.validation=5000", *more))
    assert (code, out) == (2, "")
    rule = "data.validation must be below the 16 training images there are, such as 0.1 for a tenth or 1, got 5000"
    assert err == f"sweep: {rule}\n"
    assert not list((root.parent / "data" / "cache").glob("image_folder*"))


@pytest.mark.parametrize("harm", ["classes differ", "corrupt", "absurd", "class of corrupt images"])
def test_folders_that_cannot_be_used_are_one_line_before_anything_is_trained(harm, root):
    skip = ["data.on_corrupt=skip"] if harm == "class of corrupt images" else []
    if harm == "classes differ":
        add(root, "val/grey/0.bmp", grey(128))
    for path in sorted((root / "val" / "dark").iterdir())[: 2 if skip else 1]:
        if harm == "absurd":
            path.write_bytes(b"P6 99999999 99999999 255\n")
        elif harm != "classes differ":
            truncate(path)
    code, out, err = answered(*arguments(root, *skip))
    assert (code, out) == (2, "")
    assert re.fullmatch(r"sweep: [^\n]+\n", err)
    message = {
        "classes differ": "must hold the same classes, got 'grey' in val only",
        "corrupt": f"got 1 unreadable of 4: {root}/val/dark/0.bmp (",
        "absurd": f"got 1 unreadable of 4: {root}/val/dark/0.bmp (",
        "class of corrupt images": "class folder val/dark must hold an image that can be read",
    }
    assert message[harm] in err
    assert not list((root.parent / "results").glob("*/config.yaml"))


def test_classes_in_latin_1_are_trained_and_written(root):
    for part in ("train", "val"):
        (root / part / "dark").rename(root / part / os.fsdecode(b"caf\xe9"))
    record = trained(root)
    weights = (root.parent / "results" / record.key / "weights.safetensors").read_bytes()
    assert rb"\"class_names\": [\"bright\", \"caf\\\\xe9\"]" in weights


def test_sweeps_on_two_folders_are_two_sweeps(root, capsys):
    other = shutil.copytree(root, root.parent / "other")
    add(other, "train/dark/more.bmp", grey(50, 20, 24))
    for folder in (root, other, root):
        answer(["-m", *arguments(folder), "seed=0,1"])
    sweeps = list(Store(root.parent / "results").sweeps())
    assert len({sweep.keys for sweep in sweeps}) == len(sweeps) == 2
    printed = capsys.readouterr().out
    assert [f"2 runs, {before} finished before" in printed for before in (0, 2)] == [True, True]


def test_a_file_of_weights_is_exported_on_a_folder_of_its_classes(root, capsys):
    pytest.importorskip("onnxscript")
    record = trained(root)
    weights = root.parent / "results" / record.key / "weights.safetensors"
    export_command([str(weights), "data=image_folder", f"data.root={root}", f"data_dir={root.parent}/data"])
    assert weights.with_name("weights.onnx").is_file()
    assert f"test top-1 {100 * record.top1:.2f} %" in capsys.readouterr().out


def test_data_that_are_gone_are_no_failure_of_the_run(root):
    made = Launch(point(*arguments(root)).config, options(*arguments(root)))
    root.rename(root.with_name("moved"))
    with pytest.raises(DataError, match="must be an existing folder"):
        run(*made)
    assert Store(made.options.results_dir).read(made.config.key) is None
