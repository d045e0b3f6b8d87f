"""What the page gets of a store."""

import dataclasses
import errno
import json
import os
import re
import urllib.request
from pathlib import Path

import pytest

from analysis import axes
from fire.files import locked
from fire.stats import mean_interval
from sweep.map import stored
from sweep.map.making import make
from sweep.page import document
from sweep.page import snapshot as snapshots
from sweep.page.snapshot import Snapshot
from sweep.store import Store
from tests import mapping
from tests.pages import served
from tests.records import record, sweep
from tests.sweeping import ROOT, write_curve

SCRIPT = "</script><script>alert(1)</script>\"'<img src=x onerror=alert(2)>"
CONFIG = "arch: {family: squeezenet}\ntrain: {epochs: 4}\ncompress: {}\nseed: 0\n"


def refreshed(root: Path) -> Snapshot:
    snapshot = Snapshot(root)
    snapshot.refresh()
    return snapshot


def keys(news) -> list[str]:
    return sorted(row[news.columns.index("key")] for row in news.rows)


def begin(store: Store, key: str, *top1: float) -> Path:
    """Leave what a run leaves that trains."""
    folder = store.folder(key)
    folder.mkdir()
    (folder / "config.yaml").write_text(CONFIG)
    if top1:
        write_curve(folder, *top1)
    return folder


def test_only_what_changed_is_told_again(store):
    snapshot = refreshed(store.root)
    first = snapshot.news()
    assert (first.fresh, keys(first)) == (True, ["a", "b", "c", "d"])
    snapshot.refresh()
    second = snapshot.news(first.stamp)
    assert (second.fresh, list(second.rows), list(second.removed)) == (False, [], [])
    store.write(record("e", top1=0.5))
    store.write(dataclasses.replace(store.read("a"), top1=0.81))
    (store.folder("c") / "record.json").unlink()
    snapshot.refresh()
    third = snapshot.news(second.stamp)
    assert (keys(third), list(third.removed)) == (["a", "e"], ["c"])
    assert snapshot.news("of another process.3").fresh


def test_only_changed_records_are_read(store, monkeypatch):
    snapshot = refreshed(store.root)
    read = []
    whole = Store.read
    monkeypatch.setattr(Store, "read", lambda self, key, *rest: read.append(key) or whole(self, key, *rest))
    store.write(record("e"))
    snapshot.refresh()
    assert read == ["e"]


def test_finished_runs_are_looked_at_again_only_after_a_while(store):
    snapshot = refreshed(store.root)
    stamp = snapshot.news().stamp
    store.write(dataclasses.replace(store.read("a"), top1=0.81))
    store.write(dataclasses.replace(store.read("d"), error="again"))
    store.write(record("e"))
    snapshot.refresh(patience=60)
    assert keys(snapshot.news(stamp)) == ["d", "e"], "those that may change at any moment"
    snapshot.refresh(patience=0)
    assert keys(snapshot.news(stamp)) == ["a", "d", "e"]


def test_what_is_not_read_in_time_comes_later(store):
    snapshot = Snapshot(store.root)
    snapshot.refresh(most_seconds=-1)
    assert (snapshot.news().more, keys(snapshot.news())) == (True, [])
    snapshot.refresh()
    assert (snapshot.news().more, keys(snapshot.news())) == (False, ["a", "b", "c", "d"])


def test_a_running_run_says_epoch_time_left_and_process(store):
    folder = begin(store, "e", 0.5, 0.6)
    begin(store, "f")
    with locked(folder / ".lock"):
        running = {each.key: each for each in refreshed(store.root).news().running}
    assert (running["e"].epoch, running["e"].epochs, running["e"].validation_top1) == (2, 4, 0.6)
    assert running["e"].holder == f"host {os.uname().nodename}, process {os.getpid()}"
    assert 0 <= running["e"].seconds_left <= 2, "two epochs of a second each are to come"
    assert (running["f"].holder, running["f"].seconds_left) == (None, None), "it was interrupted"


def test_sweeps_say_how_far_they_are(store):
    (sweep,) = refreshed(store.root).news().sweeps
    assert (sweep.name, sweep.runs, sweep.finished, sweep.failed) == ("sr", 5, 3, 1)


def test_runs_that_a_search_stopped_are_not_missing(tmp_path):
    store = Store(tmp_path)
    store.write(record("a"))
    store.write(record("b", status="stopped", top1=None, validation_top1=0.5))
    for name, search in (("search", {}), ("sr", None)):
        store.write_sweep(sweep(name, ("arch.sr",), "ab", search=search))
    shown = {each.name: (each.finished, each.stopped) for each in refreshed(tmp_path).news().sweeps}
    assert shown == {"search": (1, 1), "sr": (1, 0)}, "another sweep trains it to the end"


def test_maps_are_told_and_damaged_ones_listed(tmp_path):
    store = Store(tmp_path)
    made = make(mapping.trained())
    turned = [dataclasses.replace(each, settings=dict(reversed(each.settings.items()))) for each in made.best]
    stored.write(tmp_path, dataclasses.replace(made, best=turned))
    snapshot = refreshed(store.root)
    (shown,) = snapshot.news().maps
    assert (shown.name, len(shown.rows)) == ("fashion_mnist", 10)
    best = dict(zip(shown.columns, shown.rows[0], strict=True))
    assert (best["sr"], best["pct_3x3"]) == tuple(f"{made.best[0].settings[name]:g}" for name in ("sr", "pct_3x3"))
    assert best["expected top-1 %"] == f"{100 * made.best[0].top1:.2f}"
    (tmp_path / "maps" / "fashion_mnist.json").write_text("{")
    snapshot.refresh()
    assert list(snapshot.news().maps) == []
    ((file, _),) = snapshot.news().unreadable
    assert file == "maps/fashion_mnist.json"
    (tmp_path / "maps" / "fashion_mnist.json").unlink()
    snapshot.refresh()
    assert list(snapshot.news().unreadable) == []


def test_a_store_that_is_empty_or_missing_has_no_runs(tmp_path):
    for root in (tmp_path, tmp_path / "missing"):
        news = refreshed(root).news()
        assert (list(news.rows), list(news.running), list(news.sweeps)) == ([], [], [])


def test_nothing_is_written(store):
    begin(store, "e", 0.5)
    before = {path: path.stat().st_mtime_ns for path in store.root.rglob("*")}
    with served(store.root) as server:
        for path in ("", "runs", "run?key=a", "run?key=e", "page.js"):
            urllib.request.urlopen(f"{server.url}{path}").read()
    assert {path: path.stat().st_mtime_ns for path in store.root.rglob("*")} == before


# Hostile stores


def test_long_texts_are_cut(store):
    long = {"error": "x" * 10_000_000, "traceback": "y" * 10_000_000}
    store.write(dataclasses.replace(store.read("d"), **long))
    snapshot = refreshed(store.root)
    text = json.dumps(document.as_json(snapshot.news()))
    assert "(10,000,000 characters)" in text
    assert len(text) + len(json.dumps(document.detail_of(snapshot, "d"))) < 100_000


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused(store, number):
    path = store.folder("a") / "record.json"
    path.write_text(re.sub(r'"top1": 0\.8\b', f'"top1": {number}', path.read_text()))
    news = refreshed(store.root).news()
    assert keys(news) == ["b", "c", "d"]
    ((file, reason),) = news.unreadable
    assert file == "a/record.json"
    assert "finite" in reason


def test_scripts_in_records_stay_text_in_the_frozen_page(store):
    store.write(dataclasses.replace(store.read("d"), error=SCRIPT, traceback=SCRIPT))
    store.write(record("f", host=SCRIPT, data_title=SCRIPT, warning=SCRIPT))
    page = document.frozen(refreshed(store.root), title=SCRIPT, summary="", sections="")
    assert "alert(1)" in page
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 4, "facts, runs, Vega and ours"
    assert json.loads(scripts[1])["news"]["fresh"]


def test_links_out_of_the_store_are_refused(store, tmp_path):
    outside = tmp_path / "outside"
    elsewhere = Store(outside)
    elsewhere.write(record("secret"))
    (outside / "note").write_text("a secret")
    root = tmp_path / "results"
    inside = Store(root)
    inside.write(record("a"))
    (root / "secret").symlink_to(outside / "secret")
    (root / "a" / "log").symlink_to(outside / "note")
    (root / "a" / "curve.csv").symlink_to(outside / "note")
    (root / "sweeps").symlink_to(outside)
    snapshot = refreshed(root)
    news = snapshot.news()
    assert keys(news) == ["a"]
    assert ("secret/record.json", "it lies outside of the results") in news.unreadable
    detail = snapshot.detail("a")
    assert (detail.log, list(detail.curve)) == ("", [])
    assert snapshot.detail("secret") is None


def test_pipes_do_not_block(store):
    folder = begin(store, "e")
    for name in ("log", ".lock", "curve.csv"):
        os.mkfifo(folder / name)
    snapshot = refreshed(store.root)
    assert [each.key for each in snapshot.news().running] == ["e"]
    assert snapshot.detail("e").log == ""


def test_files_that_cannot_be_opened_or_vanish_cost_only_themselves(store, monkeypatch):
    folder, curve = begin(store, "e", 0.5), Store.curve
    (folder / "log").touch()
    store.folder("a").joinpath("log").touch()

    def refuse(path, mode):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))  # root, as which tests may run, may all

    def read_and_remove(self, key, *rest):
        found = curve(self, key, *rest)
        (self.folder(key) / "curve.csv").unlink(missing_ok=True)
        return found

    monkeypatch.setattr(snapshots, "open", refuse, raising=False)
    monkeypatch.setattr(Store, "curve", read_and_remove)
    with locked(folder / ".lock"):
        snapshot = refreshed(store.root)
    (running,) = snapshot.news().running
    assert (running.key, running.epoch, running.seconds_left) == ("e", 1, None)
    assert snapshot.detail("a").log == "it cannot be read: Permission denied"
    page = document.frozen(snapshot, title="", summary="", sections="")
    assert page.count("it cannot be read: Permission denied") == 2, "those of a and e"


@pytest.mark.parametrize(
    "content", ["", "[1, 2]", "{", "train: {epochs: .nan}", "train: 3", "!!python/object:os.x {}", "a: &a [*a]"]
)
def test_a_configuration_that_cannot_be_read_has_no_time_left(store, content):
    folder = begin(store, "e", 0.5)
    (folder / "config.yaml").write_text(content)
    (running,) = refreshed(store.root).news().running
    assert (running.epoch, running.epochs) == (1, None)


def test_the_page_says_that_its_chart_is_not_over_an_estimate(store):
    pages = {
        x: document.frozen(refreshed(store.root), title="", summary="", sections="", x=axes.chosen(x, *settings))
        for x, *settings in (("estimated_latency", "cortex-m7", "400MHz"), ("macs",))
    }
    assert all('"x":"macs"' in page for page in pages.values())
    line = (
        "<p>The chart below is over multiply-accumulates of an image, millions, to which the estimate is proportional."
    )
    assert [line in page for page in pages.values()] == [True, False]


def test_the_frozen_page_of_the_committed_results_is_small():
    page = (ROOT / "docs" / "index.html").read_text()
    assert len(page.encode()) <= 5e6
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page), "it needs no network"
    assert document.script() in page, "make publish, or python -m analysis docs/results --out docs, writes it again"


def test_the_frozen_page_of_the_committed_results_has_all_their_runs():
    page = (ROOT / "docs" / "index.html").read_text()
    (runs,) = re.findall(r'<script id="frozen"[^>]*>(.*?)</script>', page, re.DOTALL)
    records = Store(ROOT / "docs" / "results").records()
    keys = {record.key for record in records}
    assert keys
    assert keys == set(json.loads(runs)["details"]), "make publish writes it again"


def test_intervals_use_students_t():
    values = [0.80, 0.90, 0.85]
    low = mean_interval(values).low
    deviation = (sum((value - 0.85) ** 2 for value in values) / 2) ** 0.5
    t = document._facts("size_mib")["student_t"]
    assert 0.85 - t[2] * deviation / 3**0.5 == pytest.approx(low)
