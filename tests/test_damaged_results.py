"""One damaged file never stops a report: hundreds of mutations of a small store, each shown or listed as unreadable."""

import dataclasses
import html
import importlib
import pkgutil
import random
import shutil
from pathlib import Path
from unittest import mock

import pytest

from analysis import export, figures, report, sections
from analysis.__main__ import write
from analysis.results import read
from bench.chaos import mutations
from fire.arch import AlexNetSpec
from fire.compress.spec import CompressSpec
from fire.train.progress import Epoch
from sweep import curves
from sweep.record import Record
from sweep.store import Store
from tests.records import failed, record, sweep

FIGURES = [importlib.import_module(f"analysis.figures.{each.name}") for each in pkgutil.iter_modules(figures.__path__)]
EPOCH = Epoch(epoch=1, lr=0.1, train_loss=1.0, validation_loss=1.0, validation_top1=0.5, train_seconds=1.0, seconds=2.0)


def run(key: str, sr: float, **fields: object) -> Record:
    shared = {"host": "a", "device": "cpu", "threads": 1, "epochs": 2, "end": f"2026-01-01T00:00:0{int(8 * sr)}"}
    return record(key, sr=sr, top1=0.5 + sr / 4, **shared | fields)


def make(root: Path) -> Store:
    """A sweep, a search, the paper's table, a failed and a compressed run."""
    store = Store(root)
    for i, sr in enumerate((0.25, 0.5, 0.75)):
        store.write(run(f"s{i}", sr))
        (store.folder(f"s{i}") / "curve.csv").write_text(curves.dump([EPOCH, dataclasses.replace(EPOCH, epoch=2)]))
    store.write(failed("f"))
    compress = CompressSpec(method="deep_compression", density=0.2)
    store.write(run("c", 0.5, compress=compress, float_key="s1", float_top1=0.7, file_bytes=1000))
    store.write(run("a", 0.5, arch=AlexNetSpec(version="small", classes=10)))
    keys = ["s0", "s1", "s2", "f"]
    store.write_sweep(sweep("sr", ("arch.sr",), keys, experiment="sr", launched="2026-01-01"))
    store.write_sweep(sweep("results", ("compress", "seed"), ["s1", "c", "a"]))
    search = {"objectives": ["top1", "size_bytes"], "constraints": ["macs<=1e9"]}
    store.write_sweep(sweep("search", ("arch.sr",), keys[:3], search=search))
    return store


@pytest.fixture(scope="module")
def accepted(tmp_path_factory) -> tuple[Store, dict[Path, list[bytes]]]:
    """The store, and for each of its files the mutations that are read; what the others cost is asserted here."""
    store, draw = make(tmp_path_factory.mktemp("results")), random.Random(0)
    files = sorted(path for path in store.root.rglob("*") if path.suffix in (".json", ".csv"))
    taken: dict[Path, list[bytes]] = {path: [] for path in files}
    for _ in range(300):
        path = draw.choice(files)
        whole = path.read_bytes()
        mutate = mutations.json_or_bytes if path.suffix == ".json" else mutations.other_bytes
        path.write_bytes(mutate(whole, draw))
        results = read(store.root)
        if results.unreadable:
            (line,) = map(str, results.unreadable)
            assert line.startswith(f"{path} cannot be read: ")
            assert "\n" not in line
        else:
            taken[path].append(path.read_bytes())
        others = {"s0", "s1", "s2", "f", "c", "a"} - ({path.parent.name} if path.name == "record.json" else set())
        assert others <= set(results.runs["key"])
        assert len(results.sweeps) == (2 if path.parent.name == "sweeps" and results.unreadable else 3)
        path.write_bytes(whole)
    return store, taken


def harm(accepted: tuple[Store, dict[Path, list[bytes]]], root: Path, seed: int) -> Store:
    """A copy of the store with most of its files mutated so that they are still read."""
    store, taken = accepted
    draw = random.Random(seed)
    shutil.copytree(store.root, root)
    for path, contents in taken.items():
        if contents and draw.random() < 0.8:
            (root / path.relative_to(store.root)).write_bytes(draw.choice(contents))
    return Store(root)


def test_many_mutations_are_read_and_many_are_not(accepted):
    _, taken = accepted
    assert 30 < sum(map(len, taken.values())) < 240, "else the other tests say little"


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_read_has_its_sections(seed, accepted, tmp_path, monkeypatch):
    mocks = {
        "panels": lambda columns, width, height: (mock.Mock(), [mock.MagicMock()] * columns),
        "make_room": mock.Mock(),
    }
    for module in FIGURES:  # all but matplotlib itself, which takes most of the time
        for name, mocked in mocks.items():
            monkeypatch.setattr(module, name, mocked, raising=False)
    results = read(harm(accepted, tmp_path / "results", seed).root)
    assert results.unreadable == ()
    for section in sections.of(results):
        assert section.title in html.unescape(report._section_html(section, "0"))
        for _, frame in section.tables:
            assert export.csv(frame).count("\n") > len(frame)
            assert export.markdown(export.readable(frame)).count("\n") == len(frame) + 2


def test_whatever_is_read_is_drawn_and_what_is_not_is_listed(accepted, tmp_path, capsys):
    store = harm(accepted, tmp_path / "results", seed=100)
    (store.root / "sweeps" / "results.json").unlink()  # drawing takes seconds
    damaged = [store.root / name for name in ("s0/record.json", "s1/curve.csv", "sweeps/search.json")]
    for path in damaged:
        path.write_bytes(b"\xff\xff")
    write([str(store.root), "--out", str(tmp_path / "report")])
    _, err = capsys.readouterr()
    page = html.unescape((tmp_path / "report" / "index.html").read_text())
    listed = [line.removeprefix("analysis: ") for line in err.splitlines()]
    assert [line.partition(" cannot be read: ")[0] for line in listed] == [str(path) for path in damaged]
    assert all(f"<td>{path}</td>" in page for path in damaged)
