import dataclasses
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from analysis import paper, report, style
from analysis.figures import bypass, curve, latency, pareto, training
from analysis.results import read
from analysis.view import View
from fire.arch import BYPASSES, SqueezeNetSpec
from fire.cost import count
from fire.errors import InputError
from fire.train.progress import Epoch
from sweep.manifests import Sweep
from sweep.page import document
from tests.records import DATA, TRAIN, record

RESULTS = Path(__file__).parents[1] / "docs" / "results"


@pytest.mark.parametrize("metaparameter", ["sr", "pct_3x3"])
def test_the_paper_s_sizes_are_those_of_its_networks(metaparameter):
    for point in paper.FIGURE_3[metaparameter]:
        fixed = {"sr": 0.5} if metaparameter == "pct_3x3" else {}
        assert count(SqueezeNetSpec(**fixed | {metaparameter: point.value})).parameters == point.parameters


def test_curve_info_is_the_mean_over_seeds_in_percent(store):
    info = curve.info(View(runs=read(store.root).runs, along=("sr",)))
    assert info.values == (0.25, 0.5)
    assert info.accuracy == pytest.approx((70, 85))
    assert np.isnan(info.low[0])
    assert info.cost[0] < info.cost[1]
    assert info.title == "digits, 3 epochs, 1 to 2 seeds"


def test_bypass_info_has_the_paper_s_order():
    runs = pd.DataFrame(
        {
            "bypass": ["complex", "none", "simple"],
            "top1": [0.3, 0.1, 0.2],
            "status": "finished",
            "compress": "none",
            "data": "digits",
            "train.epochs": 1,
            "size_mib": [2.0, 1.0, 1.0],
            "parameters": 1,
            "macs": 1,
            "activations": 1,
            "train_seconds": 1.0,
        }
    )
    info = bypass.info(View(runs=runs, along=("bypass",)))
    assert info.kinds == ("none", "simple", "complex")
    assert info.accuracy == pytest.approx((10, 20, 30))
    assert bypass.paper_info().cost[2] == pytest.approx(6.06, abs=0.005)


def test_a_kind_of_bypass_that_the_paper_has_not_is_drawn(monkeypatch, store):
    monkeypatch.setattr(bypass, "BYPASSES", (*BYPASSES, "another"))
    runs = read(store.root).runs.iloc[:3].assign(bypass=["another", "none", "complex"])
    view = View(runs=runs, along=("bypass",))
    assert bypass.info(view).kinds == ("none", "complex", "another")
    assert any(text.startswith("another\n") for text in drawn(bypass.figure(view)))


def test_pareto_info_marks_the_front(store):
    store.write(record("f", sr=0.75, top1=0.5))
    info = pareto.info(View(runs=read(store.root).runs, along=("sr",), group="bypass"))
    assert info.front == (True, True, False)
    assert np.isnan([info.low, info.high]).all(), "two seeds"
    store.write(record("g", sr=0.5, top1=0.85, seed=2))
    info = pareto.info(View(runs=read(store.root).runs, along=("sr",), group="bypass"))
    assert np.nanmax(info.high) - 85 == pytest.approx(12.421, abs=1e-3), "of 0.8, 0.85, 0.9: 4.3027 * 0.05 / sqrt(3)"


def test_each_recipe_has_a_front_of_its_own(store):
    long = dataclasses.replace(TRAIN, epochs=24)
    store.write(record("f", sr=0.25, top1=0.95, train=long))
    store.write(record("g", sr=0.5, top1=0.94, train=long))
    view = View(runs=read(store.root).runs, along=("sr", "train.epochs"), group="bypass")
    info = pareto.info(view)
    found = set(zip(info.recipe, info.label, info.front, strict=True))
    assert found == {
        ("3 epochs", "sr 0.25", True),  # beaten by f, of another recipe
        ("3 epochs", "sr 0.5", True),
        ("24 epochs", "sr 0.25", True),
        ("24 epochs", "", False),
    }
    figure = pareto.figure(view)
    stairs = [len(line.get_xdata()) for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post"]
    assert sorted(stairs) == [1, 2]
    texts = drawn(figure)
    assert {"Pareto front, 3 epochs", "Pareto front, 24 epochs", "3: sr 0.25"} <= set(texts)


def test_a_front_of_validation_accuracy_is_no_staircase_of_test_accuracies(store):
    view = View(runs=read(store.root).runs, along=("sr",), group="bypass", judged_by="validation_top1")
    figure = pareto.figure(view)
    assert not [line for line in figure.axes[0].lines if line.get_drawstyle() == "steps-post"]
    assert "filled: on the front of validation accuracy" in drawn(figure)


def drawn(figure) -> list[str]:
    """The texts of a figure: titles, labels, ticks."""
    FigureCanvasAgg(figure).draw()
    return [text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text"))]


def test_the_curve_shows_values_along_the_top_and_the_paper_in_its_own_panel(store):
    with style.style():
        figure = curve.figure(View(runs=read(store.root).runs, along=("sr",)))
        texts = drawn(figure)
    assert len(figure.axes) == 2
    assert {"0.25", "0.5", "0.125", "1", "ImageNet, as published (figure 3)"} <= set(texts)


def test_what_does_not_change_the_size_is_itself_the_axis(store):
    for key, lr in (("a", 0.01), ("b", 0.1), ("c", 1.0)):
        store.write(record(key, train=dataclasses.replace(TRAIN, lr=lr)))
    with style.style():
        figure = curve.figure(View(runs=read(store.root).runs, along=("train.lr",)))
        texts = drawn(figure)
    (ax,) = figure.axes
    assert [line.get_xdata().tolist() for line in ax.get_lines()] == [[0.01, 0.1, 1.0]]
    assert ax.get_xlabel() == "train.lr"
    assert {"0.01", "0.1", "1"} <= set(texts)


def one_epoch(key: str) -> View:
    """A run of one epoch; without settings, its label is its key."""
    row = Epoch(epoch=1, lr=1, train_loss=1, validation_loss=1, validation_top1=0.5, train_seconds=1, seconds=1)
    runs = pd.DataFrame({"key": [key], "status": ["finished"], "seed": [None]})
    return View(runs=runs, curves={key: (row,)})


def test_one_epoch_is_one_tick():
    with style.style():
        figure = training.figure(one_epoch("a"))
        drawn(figure)
    for ax in figure.axes:
        assert [
            tick.label1.get_text()
            for tick in ax.xaxis.get_major_ticks()
            if ax.viewLim.x0 < tick.get_loc() < ax.viewLim.x1
        ] == ["1"]


def test_nothing_is_cut_off(store):
    runs = read(store.root).runs.assign(latency_seconds=[0.5, 0.25, 0.125, None])
    with style.style():
        for module, along in ((curve, "sr"), (bypass, "bypass"), (pareto, "sr"), (latency, "sr")):
            canvas = FigureCanvasAgg(module.figure(View(runs=runs, along=(along,), group="bypass")))
            canvas.draw()
            pixels = np.asarray(canvas.buffer_rgba())
            assert (pixels < 255).any()
            for border in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
                assert (border == 255).all()


@pytest.mark.parametrize("text", ["$x^{$", "$\\frac{$", "$", "a$b$c"])
def test_a_dollar_sign_in_results_is_no_formula(text):
    with style.style():
        assert text in drawn(training.figure(one_epoch(text)))


class Links(HTMLParser):
    """Collects the addresses of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if name in ("src", "href") and value is not None]


@pytest.mark.parametrize("extra", [True, False], ids=["page", "plain"])
def test_the_report_links_only_to_files_that_exist(extra, store, tmp_path, unrendered, monkeypatch):
    monkeypatch.setattr(document, "is_available", lambda: extra)
    for name in ("a#b?c%20d&e", 'quote"quote', "\udcff"):  # the last is a file's name that is no UTF-8
        store.write_sweep(Sweep(name=name, varied=("arch.sr",), points=(({}, "a"), ({}, "c"))))
    page = report.write(read(store.root), tmp_path / "report").read_text()
    page = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    parser = Links()
    parser.feed(page)
    links = parser.links
    files = [link for link in links if not link.startswith(("#", "data:"))]
    assert len(files) > 15
    assert (page.count("src='data:image/svg+xml,") > 3) == extra
    assert all((tmp_path / "report" / os.fsdecode(unquote_to_bytes(link))).is_file() for link in files)
    assert not [link for link in files if set(link) & set('#?&"')]
    assert all(f'id="{link[1:]}"' in page for link in links if link.startswith("#"))
    assert "diverged" in page, "the failed run is listed"


def test_the_report_does_not_average_over_data_sets_of_one_name(store, tmp_path, unrendered):
    store.write(record("e", top1=0.2, data=dataclasses.replace(DATA, limit=100)))
    page = report.write(read(store.root), tmp_path / "report").read_text()
    assert "All networks: digits, limit 0" in page
    assert "All networks: digits, limit 100" in page
    written = {path.stem for path in (tmp_path / "report" / "figures").glob("*.png")}
    assert {"pareto-digits-1", "pareto-digits-2"} <= written


def test_a_sweep_over_data_sets_has_a_front_for_each(store, tmp_path, unrendered):
    for key, name, sr in (("e", "digits", 0.5), ("f", "fashion_mnist", 0.5), ("g", "digits", 0.25)):
        store.write(record(key, sr=sr, data=dataclasses.replace(DATA, name=name)))
    points = tuple(({}, key) for key in "efg")
    store.write_sweep(Sweep(name="both", varied=("data", "arch.sr"), points=points))
    report.write(read(store.root), tmp_path / "report")
    written = {path.stem for path in (tmp_path / "report" / "figures").glob("both*.png")}
    assert written >= {"both-1", "both-2"}


def test_a_sweep_of_seeds_alone_has_their_mean(store, tmp_path, unrendered):
    store.write_sweep(Sweep(name="seeds", varied=("seed",), points=(({}, "a"), ({}, "b"))))
    report.write(read(store.root), tmp_path / "report")
    (row,) = pd.read_csv(tmp_path / "report" / "tables" / "seeds.csv").to_dict("records")
    assert (row["sr"], row["n"], row["top1"]) == (0.5, 2, pytest.approx(0.85))


def test_a_manifest_cannot_name_a_file_elsewhere(store, tmp_path, unrendered):
    path = store.write_sweep(Sweep(name="odd", varied=("arch.sr",), points=(({}, "a"), ({}, "c"))))
    path.write_text(path.read_text().replace('"odd"', '"../../odd"'))
    page = report.write(read(store.root), tmp_path / "a" / "b").read_text()
    assert "odd.json</td>" in page, "it is listed as unreadable"
    assert [path.name for path in tmp_path.rglob("odd.*")] == ["odd.json"]


def test_the_report_tells_of_records_that_it_cannot_read(store, tmp_path, unrendered):
    store.write(record("elder"))
    path = store.folder("elder") / "record.json"
    path.write_text(path.read_text().replace('"squeezenet"', '"resnet"'))
    page = report.write(read(store.root), tmp_path / "report").read_text()
    assert "Files that cannot be read" in page
    assert "elder/record.json</td>" in page


def test_the_report_is_the_same_twice(store, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    report.write(read(store.root), first)
    report.write(read(store.root), second)
    for path in sorted(first.rglob("*.*")):
        assert path.read_bytes() == (second / path.relative_to(first)).read_bytes(), path.name


def test_a_report_without_results_or_place_says_so(store, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="must hold a finished run"):
        report.write(read(tmp_path / "empty"), tmp_path / "report")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"writable directory, got .*file"):
        report.write(read(store.root), tmp_path / "file" / "report")


def test_the_committed_results_are_whole():
    results = read(RESULTS)
    runs = results.runs
    assert results.unreadable == ()
    searched = {key for sweep in results.sweeps if sweep.search is not None for key in sweep.keys}
    assert set(runs["key"][runs["status"] != "finished"]) <= searched
    assert set(runs["status"]) <= {"finished", "stopped"}
    unfinished = set()
    for sweep in results.sweeps:
        if len(results.of(sweep)) < len(sweep.keys):
            unfinished.add(sweep.name)
    for key, rows in results.curves.items():
        run = runs.set_index("key").loc[key]
        assert [row.epoch for row in rows] == list(range(1, int(run["epochs"]) + 1))
        assert rows[-1].validation_top1 == pytest.approx(run["validation_top1"], abs=1e-9)
    assert unfinished == {"results", "results_alexnet"}  # the README says what they lack
    for _, run in runs[runs["family"] == "squeezenet"].iterrows():
        # Beside AlexNet, which has no squeeze ratio, whole numbers are floats in the table.
        fields = {field.name: type(field.default)(run[field.name]) for field in dataclasses.fields(SqueezeNetSpec)}
        cost = count(SqueezeNetSpec(**fields), int(run["data.image_size"]), int(run["data.channels"]))
        assert (cost.parameters, cost.macs, cost.size_bytes) == (run["parameters"], run["macs"], run["size_bytes"])


@pytest.mark.parametrize("sizes", [(21.1, 28.4), (20.5, 30.1), (0.18, 1.4), (1.0, 1.3), (3.0, 400.0)], ids=str)
def test_a_log_axis_has_two_numbers_among_the_sizes(sizes):
    _, (ax,) = style.panels(1, 5, 4)
    style.log_axis(ax, sizes)
    assert sum(sizes[0] <= tick <= sizes[1] for tick in ax.get_xticks()) >= 2


def test_the_log_axis_of_one_size_has_few_numbers_all_along_it():
    _, (ax,) = style.panels(1, 5, 4)
    ax.scatter([0.177], [34.0])
    style.log_axis(ax, [0.177])
    ticks, (left, right) = ax.get_xticks(), ax.get_xlim()
    assert (left, right) == pytest.approx((0.0885, 0.354))
    assert 3 <= len(ticks) <= 6
