"""Maps as files, as figures, and as the command and the report show them."""

import dataclasses
import json
import random
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import maps, report
from analysis.__main__ import write
from analysis.figures import map as figure_of
from analysis.results import read
from fire.errors import InputError, SpecError
from sweep.map import stored
from sweep.map.making import make
from sweep.map.stored import Map, Plane
from sweep.store import Damage, Store
from tests import mapping
from tests.mapping import config, truth
from tests.records import record_of
from tests.test_figures import drawn


@pytest.fixture(scope="module")
def made() -> Map:
    return make(mapping.trained())


@pytest.fixture
def results(tmp_path) -> Store:
    store = Store(tmp_path / "results")
    for record in mapping.trained():
        store.write(record)
    return store


def test_a_map_is_read_as_it_was_written(made, tmp_path):
    path = stored.write(tmp_path, made)
    assert path == tmp_path / "maps" / "fashion_mnist.json"
    assert list(stored.read_all(tmp_path)) == [made]
    assert stored.read(tmp_path, "other") is None
    assert path.stat().st_size < 100_000


def test_a_map_says_how_many_runs_it_was_fitted_to(made):
    assert "fitted to 25 runs. Of 25 networks held out in turn, " in maps.notes(made)[0]
    assert re.search(r" in turn, \d+ % lay within the band\.", maps.notes(made)[0])
    assert "fitted to 25 of 40 runs." in maps.notes(dataclasses.replace(made, finished=40))[0]
    earlier = json.loads(stored.dump(made))
    del earlier["finished"]
    read_again = stored.parse(json.dumps(earlier).encode(), "fashion_mnist")
    assert read_again == dataclasses.replace(made, finished=None)
    assert "fitted to 25 runs." in maps.notes(read_again)[0]


def damage_of(root: Path, content: bytes) -> str:
    (root / "maps").mkdir(exist_ok=True)
    path = root / "maps" / "fashion_mnist.json"
    path.write_bytes(content)
    found: list[Damage] = []
    assert list(stored.read_all(root, found.append)) == []
    (damage,) = found
    line = str(damage)
    assert line.startswith(f"{path} cannot be read: ")
    assert "\n" not in line
    return damage.reason


def test_files_that_are_no_whole_map_are_said(made, tmp_path):
    whole = json.loads(stored.dump(made))

    def changed(**values) -> bytes:
        return json.dumps(whole | values).encode()

    plane = whole["planes"][0]
    assert "name and format must be fashion_mnist and 1, got x and 1" in damage_of(tmp_path, changed(name="x"))
    assert "Expecting" in damage_of(tmp_path, stored.dump(made).encode()[:-3])
    assert "content must be an object" in damage_of(tmp_path, b"[]")
    assert "planes must be a list" in damage_of(tmp_path, changed(planes=3))
    assert "numbers must be finite" in damage_of(tmp_path, changed(width=float("nan")))
    assert "a plane must be 17 rows of 15" in damage_of(tmp_path, changed(planes=[plane | {"top1": plane["top1"][1:]}]))
    assert "a plane must be of two axes" in damage_of(tmp_path, changed(planes=[plane | {"x": "fires"}]))
    assert "settings must be those of the axes" in damage_of(tmp_path, changed(axes={"../x": [1, 2]}))
    assert "a band must be low <= top1 <= high" in damage_of(tmp_path, changed(best=[whole["best"][0] | {"low": 2.0}]))
    assert "a setting must be printable" in damage_of(tmp_path, changed(fixed={"pools": "\x1b[2J"}))


def test_whatever_is_read_is_drawn(made, tmp_path):
    draw, whole, taken = random.Random(0), json.loads(stored.dump(made)), 0
    runs = pd.DataFrame({"key": made.keys, "sr": 0.5, "pct_3x3": 0.5, "train.epochs": 3, "data": "fashion_mnist"})
    for _ in range(200):
        values = json.loads(json.dumps(whole))
        within, name = values, draw.choice(sorted(values))
        while isinstance(within[name], dict | list) and within[name] and draw.random() < 0.8:
            within = within[name]
            name = draw.choice(sorted(within) if isinstance(within, dict) else range(len(within)))
        within[name] = draw.choice([None, True, -1, 0, 0.5, 1e300, 10**30, "", "x", "<b>", [], [1], {}, {"a": 1}])
        try:
            found = stored.parse(json.dumps(values).encode(), "fashion_mnist")
        except ValueError:
            continue
        taken += 1
        figure_of.info(found, runs)
        maps.notes(found)
        maps.table(found.best)
    assert 10 < taken < 190, "else this says little"


def test_the_best_line_is_that_of_the_best_network_of_each_class_of_cost(made):
    # Costs 1, 10, 10, 100 in eight classes: of the two at 10 the better one counts.
    plane = Plane(
        x="sr",
        y="pct_3x3",
        top1=[[0.5, 0.6], [0.7, 0.8]],
        low=[[0.4, 0.5], [0.6, 0.7]],
        high=[[0.6, 0.7], [0.8, 0.9]],
        macs=[[1, 10], [10, 100]],
        peak_ram_bytes=[[100, 10], [10, 1]],
    )
    small = dataclasses.replace(
        made, axes={"sr": [0.25, 0.5], "pct_3x3": [0.1, 0.9]}, typical={"sr": 0.5, "pct_3x3": 0.1}, planes=[plane]
    )
    runs = pd.DataFrame(
        {
            "key": [made.keys[0], made.keys[1], "no run of it"],
            "sr": [0.25, 0.5, 0.25],
            "pct_3x3": [0.9, 0.5, 0.1],
            "train.epochs": 3,
            "data": "fashion_mnist",
        }
    )
    info = figure_of.info(small, runs)
    macs, ram = info.lines
    assert (macs.name, macs.x, macs.y) == ("best at equal MACs", (0.25, 0.25, 0.5), (0.1, 0.9, 0.9))
    assert (ram.x, ram.y) == ((0.5, 0.25, 0.25), (0.9, 0.9, 0.1))
    assert info.half == pytest.approx(np.full((2, 2), 10))
    assert info.accuracy[1, 0] == pytest.approx(70)
    assert info.marks == ((0.25, 0.9, True), (0.5, 0.5, True)), "0.5 is between the values of the axis"
    turned = figure_of.info(small, runs, x="pct_3x3")
    assert (turned.x, turned.y, turned.accuracy[0, 1]) == ("pct_3x3", "sr", pytest.approx(70))
    assert turned.lines[0].x == (0.1, 0.9, 0.9)


def test_only_what_was_varied_is_an_axis_of_the_figure(made):
    runs = pd.DataFrame({"key": [], "train.epochs": [], "data": []})
    with pytest.raises(SpecError, match=r"^x must be a metaparameter that the runs vary \(pct_3x3, sr\), got 'fires'$"):
        figure_of.info(made, runs, x="fires")
    with pytest.raises(SpecError, match=r"^y must be another metaparameter than x, got 'sr'$"):
        figure_of.info(made, runs, x="sr", y="sr")
    assert (made.planes[0].x, made.planes[0].y) == ("sr", "pct_3x3")
    alone = make([record_of(each, truth(each)) for each in (config(sr=round(sr, 3)) for sr in np.linspace(0.1, 1, 12))])
    assert alone.planes == []
    assert figure_of.figure(alone, runs) is None


def test_the_command_writes_the_map_and_the_report_has_it(results, tmp_path, capsys, unrendered):
    before = {path: path.read_bytes() for path in results.root.rglob("*.json")}
    out = tmp_path / "report"
    write(["map", str(results.root), "data=fashion_mnist", "--macs", "2M", "--out", str(out)])
    printed = capsys.readouterr().out
    assert "Expected best with macs<=2000000:" in printed
    assert "Their runs would narrow the band most:" in printed
    assert "Never varied, so the map says nothing about other values: " in printed
    assert "fires=8" in printed
    path = results.root / "maps" / "fashion_mnist_macs=2000000.json"
    assert printed.endswith(f"map: {path}; figure: {out / 'figures' / 'map-fashion_mnist_macs=2000000'}.png\n")
    assert {path: path.read_bytes() for path in before} == before
    page = report.write(read(results.root), out).read_text()
    assert "Map of the space: fashion_mnist_macs=2000000" in page
    titles = "Expected best with macs&lt;=2000000; Their runs would narrow the band most"
    assert f"Tables, in order: {titles}." in page
    assert len((out / "tables" / "map-fashion_mnist_macs=2000000.csv").read_text().splitlines()) == 11
    path.write_text("{}")
    assert [str(each.path) for each in read(results.root).unreadable] == [str(path)]


def test_a_wrong_axis_is_refused_before_anything_is_written(results, tmp_path):
    with pytest.raises(InputError, match=r"^x must be a metaparameter"):
        write(["map", str(results.root), "--x", "fires", "--out", str(tmp_path / "report")])
    assert not (results.root / "maps").exists()
    assert not (tmp_path / "report").exists()


def test_runs_that_cannot_be_read_are_named_where_they_leave_too_few_for_a_map(results, tmp_path, capsys):
    damaged = [results.folder(record.key) / "record.json" for record in list(results.records())[9:]]
    for path in damaged:
        path.write_text("{")
    with pytest.raises(SpecError, match=r"^a map must be of 10 trained networks or more, got "):
        write(["map", str(results.root), "--out", str(tmp_path)])
    err = capsys.readouterr().err
    assert err.count("\n") == len(damaged)
    assert all(f"analysis: {path} cannot be read" in err for path in damaged)


def test_the_figure_names_its_axes_and_marks_the_trained_networks(results):
    texts = drawn(figure_of.figure(make(results.records()), read(results.root).runs))
    assert {"squeeze ratio (SR)", "percentage of 3x3 filters", "trained", "best at equal MACs"} <= set(texts)
