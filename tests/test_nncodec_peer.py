"""The comparison with NNCodec: which file counts, where the search looks, ratios of the same network's files.

NNCodec itself is not needed: its files are made by arithmetic here.
"""

import sys
from dataclasses import replace

import pytest

from bench import nncodec_peer
from bench.nncodec_peer import Compared, candidates, compare, epochs, main, rows
from bench.nncodec_search import FINER, FINEST, SEARCHED, File, Settings, kept, ladder, least, search, smallest
from fire.compress.spec import CompressSpec
from fire.errors import InputError
from sweep.store import Store
from tests.records import record

FLOAT = 0.9
ALLOWED = least(FLOAT)
ENTROPY = CompressSpec(method="entropy", rate=0.02)


def file_of(settings: Settings, size: int, validation_top1: float = FLOAT) -> File:
    return File(made_by=settings, size=size, validation_top1=validation_top1)


def cliff(settings: Settings) -> File:
    """A byte less for each QP of both kinds. Beyond -21, or -17 without use_dq, accuracy falls by a point a QP.

    Training helps for two QPs more.
    """
    coarsest = (-21 if settings.use_dq else -17) + 2 * (settings.epochs > 0)
    drop = 0.01 * max(0, settings.qp - coarsest)
    return file_of(settings, 1000 - settings.qp - settings.nonweight_qp + 3 * (not settings.use_dq), FLOAT - drop)


def test_the_smallest_file_of_enough_accuracy_counts():
    files = [file_of(Settings(qp=-30), 30), file_of(Settings(qp=-20), 20, 0.897), file_of(Settings(qp=-10), 10, 0.89)]
    assert smallest(files, 0.897) == files[1]
    assert smallest(files[2:], 0.897) is None
    assert least(5000 / 5000) <= 4985 / 5000  # 15 of 5000 images are 0.3 points
    assert least(3959 / 5000) <= 3944 / 5000


def test_a_ladder_ends_far_below_and_looks_between_its_last_steps():
    files = ladder(cliff, Settings(qp=-26), ALLOWED)
    # -22 passes, -20, -18 lose 1 and 3 points, -16 loses 5; then the one between -22 and -20
    assert [file.made_by.qp for file in files] == [-26, -24, -22, -20, -18, -16, -21]
    assert smallest(files, ALLOWED) == files[-1]


def test_one_failure_does_not_end_a_ladder():
    def noisy(settings: Settings) -> File:
        return cliff(replace(settings, qp=-20)) if settings.qp == -26 else cliff(settings)

    assert smallest(ladder(noisy, Settings(qp=-26), ALLOWED), ALLOWED).made_by.qp == -21


def test_a_ladder_in_which_nothing_passes_has_no_file():
    files = ladder(lambda settings: file_of(settings, 1, 0.1), Settings(qp=FINEST), ALLOWED)
    assert [file.made_by.qp for file in files] == [FINEST]
    assert smallest(files, ALLOWED) is None


def test_the_search_combines_what_made_the_file_smaller():
    best = smallest(search(cliff, Settings(qp=FINEST), SEARCHED, ALLOWED), ALLOWED)
    assert best.made_by == Settings(qp=-17, nonweight_qp=-20, use_dq=False)


def test_a_changed_setting_begins_at_a_finer_qp():
    files = search(cliff, Settings(qp=FINEST), {"sparsity": (0.0, 0.3)}, ALLOWED)
    assert next(file.made_by.qp for file in files if file.made_by.sparsity) == -21 - FINER


def test_a_later_process_makes_no_file_again(tmp_path):
    path = tmp_path / "bench.jsonl"
    first = kept(cliff, path, "a 1234")(Settings(qp=-30))
    assert kept(pytest.fail, path, "a 1234")(Settings(qp=-30)) == first
    other = kept(lambda settings: file_of(settings, 7), path, "a 5678")  # trained again: other weights
    assert other(Settings(qp=-30)).size == 7


def compared(tune: bool = False, seed: int = 0, sizes: tuple[int, ...] = (525,), top1: float = FLOAT) -> Compared:
    files = [
        record(str(i), compress=ENTROPY, seed=seed, file_bytes=size, top1=top1 - 0.001 * i)
        for i, size in enumerate(sizes)
    ]
    tested = []

    def test_top1(settings: Settings) -> float:
        tested.append(settings)
        return cliff(settings).validation_top1 - 0.01

    found = compare(record(f"f{seed}", seed=seed), files, (FLOAT, FLOAT), cliff, test_top1, tune)
    assert tested == [file.made_by for file in found.theirs.values()], "test images are looked at last"
    return found


def test_a_ratio_is_our_bytes_over_theirs():
    # Untuned: 1000 + 21 + 75 bytes. Searched: 1000 + 17 + 20 + 3.
    assert [(row.goal, row.measured) for row in rows([compared()])] == [("0.3", "0.48"), ("0.3", "0.50")]


def test_training_starts_from_the_searched_settings_for_as_many_epochs_as_ours():
    tuned = compared(tune=True, sizes=(525, 520)).theirs["tuned"]
    assert tuned.made_by == Settings(qp=-15, nonweight_qp=-20, use_dq=False, epochs=4)
    ours = [record("a", compress=replace(ENTROPY, epochs=9, final_epochs=2)), record("b", compress=ENTROPY)]
    assert (epochs(ours), epochs([])) == (11, 4)


def test_our_smallest_file_of_enough_accuracy_counts():
    one = compared(sizes=(530, 520, 525, 510, 400))  # they lose 0 to 0.4 points
    assert (one.ours.file_bytes, one.ours.key) == (510, "3")


def test_a_row_without_a_file_of_ours_says_what_there_was():
    row = rows([compared(sizes=(500, 400), top1=0.89)])[0]
    assert row.measured == "ours: no file within 0.3 points"
    assert row.detail.startswith(
        "2 tried, the best 1.00 points of validation top-1 below the network, against 1,096 by"
    )
    assert rows([compared(sizes=())])[0].detail.startswith("none tried against 1,096 bytes")


def test_networks_of_several_seeds_have_a_median():
    several = [compared(seed=0, sizes=(548,)), compared(seed=1, sizes=(1096,)), compared(seed=2, top1=0.5)]
    row = rows(several)[6]
    assert row.what.endswith("median over 3 seeds")
    assert (row.measured, row.detail) == (
        "0.75 (0.50 to 1.00, n = 2)",
        "of 3 networks without a file within 0.3 points: ours 1, NNCodec 0",
    )
    assert len(rows(several)) == 8
    assert len(rows(several[:1])) == 2


def run(monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["bench.nncodec_peer", *map(str, arguments)])
    return main()


def test_networks_with_compressed_ones_are_compared(tmp_path):
    store = Store(tmp_path)
    for one in (
        record("a"),
        record("b"),
        record("c", compress=ENTROPY, float_key="a", file_bytes=500),
        record("d", compress=ENTROPY, float_key="b", file_bytes=None, status="failed", error="diverged", top1=None),
    ):
        store.write(one)
    assert {key: [file.key for file in files] for key, files in candidates(store).items()} == {"a": ["c"]}


def test_what_is_missing_is_a_line_and_no_row_is_an_error(tmp_path, monkeypatch, capsys):
    store = Store(tmp_path)
    for one in (record("a"), record("c", compress=ENTROPY, float_key="a", file_bytes=500)):
        store.write(one)
    out = tmp_path / "table.md"
    assert run(monkeypatch, "--results", tmp_path, "--keys", "a", "x", "c", "--out", out) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"a: weights must be a readable file, got '{tmp_path}/a/weights.safetensors': No such file or directory",
        f"x: no trained network in {tmp_path}",
        f"c: no trained network in {tmp_path}",
        f"no trained network of {tmp_path} was measured",
    ]
    assert not out.exists()
    assert run(monkeypatch, "--results", tmp_path / "empty", "--out", out) == 2
    assert capsys.readouterr().err == f"no trained network of {tmp_path}/empty was measured\n"


def test_the_other_networks_are_measured_when_one_cannot_be(tmp_path, monkeypatch, capsys):
    def measure(store: Store, key: str, *_) -> Compared:
        if key == "a":
            raise InputError("data is not here")
        return compared()

    monkeypatch.setattr(nncodec_peer, "measure", measure)
    out = tmp_path / "table.md"
    assert run(monkeypatch, "--results", tmp_path, "--keys", "a", "b", "--out", out) == 0
    assert capsys.readouterr().err == "a: data is not here\n"
    assert out.read_text().count("| 0.48 |") == 1
