"""The table of the smallest compressed files, on runs made by hand."""

import numpy as np
import pytest

from analysis import export, report, smallest
from analysis.results import read
from fire.compress.spec import CompressSpec
from fire.train.spec import TrainSpec
from sweep.store import Store
from tests.records import record

DEEP = {density: CompressSpec(method="deep_compression", density=density) for density in (0.2, 0.4)}
ENTROPY = {rate: CompressSpec(method="entropy", rate=rate) for rate in (0.03, 0.1)}
# seed, compression, bytes, validation accuracy; the networks themselves have 0.900.
FILES = [
    (0, DEEP[0.4], 8000, 0.899),
    (0, DEEP[0.2], 4000, 0.880),
    (0, ENTROPY[0.03], 2000, 0.897),  # just the 0.3 points that it may lose
    (0, ENTROPY[0.1], 1000, 0.8969),
    (1, DEEP[0.4], 8000, 0.901),
    (1, DEEP[0.2], 4000, 0.898),
    (1, ENTROPY[0.03], 4000, 0.900),
    (1, ENTROPY[0.1], 1000, 0.899),
    (2, ENTROPY[0.03], 1900, 0.8),
]


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(tmp_path / "results")
    for seed in range(3):
        store.write(record(f"float{seed}", seed=seed, top1=0.88, validation_top1=0.9))
    for number, (seed, compress, size, validation_top1) in enumerate(FILES):
        store.write(
            record(
                f"file{number}",
                seed=seed,
                compress=compress,
                top1=0.87,
                validation_top1=validation_top1,
                float_key=f"float{seed}",
                float_top1=0.88,
                file_bytes=size,
            )
        )
    return store


def test_the_table_by_hand(store):
    deep, entropy = smallest.table(smallest.compressed(read(store.root).runs)).to_dict("records")
    assert (deep["compression"], deep["tried"], deep["n"], deep["seeds"]) == ("Deep Compression", 2, 2, 2)
    assert deep["bytes"] == pytest.approx((8000 * 4000) ** 0.5)
    half = 12.7062 * np.log(2) / 2  # Student's t of 1 degree of freedom; log 8000 and log 4000 differ by log 2
    assert deep["bytes_low"] == pytest.approx(deep["bytes"] / np.exp(half), rel=1e-4)
    assert deep["settings"] == "density 0.2 (1); density 0.4 (1)"
    assert (entropy["compression"], entropy["n"], entropy["seeds"]) == ("entropy", 2, 3), "no file of seed 2 counts"
    assert (entropy["bytes"], entropy["settings"]) == (pytest.approx(2e6**0.5), "rate 0.03 (1); rate 0.1 (1)")
    assert (entropy["top1"], entropy["drop"]) == (pytest.approx(0.87), pytest.approx(0.01)), "on the test images"
    assert entropy["ratio"] == pytest.approx(0.25), "2000 / 8000 and 1000 / 4000"
    assert entropy["pairs"] == 2
    assert entropy["ratio_low"] == pytest.approx(0.25)
    assert entropy["p"] == 0


def test_files_of_a_network_that_was_trained_again_since_do_not_count(store):
    store.write(record("float1", seed=1, top1=0.89, validation_top1=0.9))
    rows = smallest.table(smallest.compressed(read(store.root).runs)).to_dict("records")
    assert [(row["compression"], row["n"]) for row in rows] == [("Deep Compression", 1), ("entropy", 1)]
    assert np.isnan(rows[1]["p"])


def test_a_network_without_a_file_that_counts_has_a_row_of_dashes(tmp_path):
    store = Store(tmp_path)
    store.write(record("float", top1=0.9))
    for number, compress in enumerate(ENTROPY.values()):
        fields = {"float_key": "float", "float_top1": 0.9, "file_bytes": 10}
        store.write(record(f"file{number}", compress=compress, top1=0.5, **fields))
    (row,) = export.readable(smallest.table(smallest.compressed(read(store.root).runs))).to_dict("records")
    assert (row["n"], row["bytes"], row["reduction"], row["drop, points"]) == ("0", "-", "-", "-")


def test_rows_name_the_settings_in_which_recipes_of_one_length_differ(tmp_path):
    store = Store(tmp_path)
    for lr in (0.1, 0.2):
        train = TrainSpec(epochs=3, lr=lr)
        store.write(record(f"float{lr}", train=train, top1=0.9))
        for number, compress in enumerate(ENTROPY.values()):
            fields = {"float_key": f"float{lr}", "float_top1": 0.9, "file_bytes": 10}
            store.write(record(f"file{lr}{number}", train=train, compress=compress, top1=0.9, **fields))
    names = {row["network"] for row in smallest.table(smallest.compressed(read(store.root).runs)).to_dict("records")}
    assert names == {"SqueezeNet, lr 0.1", "SqueezeNet, lr 0.2"}


def test_a_ratio_says_of_how_many_networks_it_is(store):
    for number in (0, 1):  # Deep Compression's files of seed 0
        store.folder(f"file{number}").joinpath("record.json").unlink()
    _, entropy = smallest.table(smallest.compressed(read(store.root).runs)).to_dict("records")
    assert (entropy["n"], entropy["pairs"], entropy["ratio"]) == (2, 1, pytest.approx(0.25))
    assert np.isnan(entropy["ratio_low"])


def test_the_section_says_that_files_were_computed_otherwise(store):
    fields = {"seed": 2, "top1": 0.87, "float_key": "float2", "float_top1": 0.88, "file_bytes": 9, "precision": "bf16"}
    store.write(record("another", compress=ENTROPY[0.1], **fields))
    (section,) = smallest.of(read(store.root))
    assert "precision bf16 (1), not recorded (9)" in section.notes[1]


def test_one_setting_is_no_choice(store, tmp_path, unrendered):
    assert "The smallest files" in report.write(read(store.root), tmp_path / "report").read_text()
    for number in (1, 2, 3, 5, 6, 7, 8):
        store.folder(f"file{number}").joinpath("record.json").unlink()
    assert smallest.compressed(read(store.root).runs) == []
    assert "The smallest files" not in report.write(read(store.root), tmp_path / "other").read_text()
