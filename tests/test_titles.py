"""The title of a data set: an option that names it in records, figures and tables, and changes no run."""

import fcntl
import threading

import pytest

from analysis import sections, tables
from analysis.results import read
from fire.data.spec import DataSpec
from fire.errors import SpecError
from fire.files import PATIENCE
from sweep.config import Options
from sweep.preparation import make_ready
from sweep.run import run
from sweep.store import Store
from tests.records import record, record_of
from tests.sweeping import TINY, launch, point

TITLE = "CIFAR-10 (JPEG copy)"


def pictures(fingerprint: str, **fields) -> DataSpec:
    place = {"name": "image_folder", "root": "/pictures", "fingerprint": fingerprint}
    return DataSpec(**place, channels=3, stored_size=224, image_size=224, **fields)


@pytest.mark.parametrize("title", ["two\nlines", " before", "after ", "x" * 81])
def test_a_title_fits_above_a_figure(title):
    with pytest.raises(SpecError, match="data_title must be at most 80 printable characters"):
        Options(data_title=title)


def test_the_record_has_the_title_and_the_key_has_not(tmp_path):
    settings = (*TINY, "train.epochs=1", "data.limit=50", f"results_dir={tmp_path}", f"data_dir={tmp_path}/data")
    plain, titled = launch(*settings), launch(*settings, f"data_title='{TITLE}'")
    assert titled.config.key == plain.config.key
    assert run(*titled).data_title == TITLE
    assert plain.store.read(plain.config.key).data_title == TITLE


def test_a_launch_gives_its_title_to_finished_runs(tmp_path):
    finished, failed, new = (point(*TINY, f"seed={seed}") for seed in range(3))
    store = Store(tmp_path / "results")
    store.write(record_of(finished.config, data_title="former"))
    store.write(record_of(failed.config, None, status="failed", error="diverged"))

    def launched(title: str) -> None:
        options = Options(results_dir=str(store.root), data_dir=str(tmp_path / "data"), data_title=title)
        make_ready([finished, failed, new], [failed, new], options)

    launched(TITLE)
    assert store.read(finished.key) == record_of(finished.config, data_title=TITLE)
    assert store.read(failed.key).data_title is None, "its next attempt has the title"
    assert not store.folder(new.key).exists()
    launched("")
    assert store.read(finished.key).data_title == TITLE, "a launch without a title leaves it"


def test_the_newest_title_is_that_of_all_runs_of_the_data_set(tmp_path):
    store = Store(tmp_path)
    store.write(record("a", data=pictures("1"), data_title="former", end="2026-01-01"))
    store.write(record("b", data=pictures("1", limit=100), data_title=TITLE, end="2026-01-02"))
    store.write(record("c", data=pictures("1"), end="2026-01-03", sr=0.25))
    store.write(record("d", data=pictures("2"), data_title="Cats", end="2026-01-04"))
    store.write(record("e", end="2026-01-05"))
    runs = read(tmp_path).runs.set_index("key")
    assert runs["data_title"].fillna("").to_dict() == {"a": TITLE, "b": TITLE, "c": TITLE, "d": "Cats", "e": ""}
    assert tables.data_of(runs) == f"{TITLE}, Cats, digits"


def test_data_sets_with_two_titles_have_two_sections(tmp_path):
    store = Store(tmp_path)
    for key, sr in (("a", 0.25), ("b", 0.5)):
        store.write(record(key, data=pictures("1"), data_title=TITLE, sr=sr))
        store.write(record(f"{key}2", data=pictures("2"), data_title="Cats", sr=sr))
    shown = {part.title: part for part in sections.of_networks(read(tmp_path))}
    assert list(shown) == [f"All networks: {TITLE}", "All networks: Cats"]
    for title, keys in ((TITLE, ["a", "b"]), ("Cats", ["a2", "b2"])):
        part = shown[f"All networks: {title}"]
        ((_, table),) = part.tables
        assert list(table["key"]) == keys
        assert part.figures[0].figure.axes[0].get_title().startswith(f"{title}, 2 trained networks")


def test_data_sets_without_a_title_of_their_own_are_told_apart_by_their_content(tmp_path):
    store = Store(tmp_path)
    for fingerprint in ("1", "2"):
        store.write(record(fingerprint, data=pictures(fingerprint), data_title=TITLE))
    titles = [part.title for part in sections.of_networks(read(tmp_path))]
    assert titles == [f"All networks: {TITLE}, fingerprint {number}" for number in (1, 2)]


def test_a_run_of_a_newer_version_keeps_its_record(tmp_path):
    store = Store(tmp_path)
    store.write(record("a"))
    path = store.folder("a") / "record.json"
    path.write_text(path.read_text().replace('"family":', '"invented": 0, "family":'))
    written = path.read_bytes()
    store.set_title("a", TITLE)
    assert store.is_done("a")
    assert path.read_bytes() == written


def test_a_title_is_written_though_another_process_looks_at_the_lock_for_a_moment(tmp_path):
    store, run = Store(tmp_path), point(*TINY).config
    store.write(record_of(run))
    lock = tmp_path / run.key / ".lock"
    lock.touch()
    with open(lock, "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # as sweep.watch does, to say who is at the run
        timer = threading.Timer(PATIENCE / 4, fcntl.flock, (file, fcntl.LOCK_UN))
        timer.start()
        store.set_title(run.key, TITLE)
        timer.join()
    assert store.read(run.key).data_title == TITLE
