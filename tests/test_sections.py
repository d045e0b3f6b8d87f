"""What the report says of sweeps: titles, notes, and which figures suit what was varied."""

import dataclasses
import errno
import html
import re
from collections.abc import Iterable

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from analysis import export, report, sections, style, tables
from analysis.figures import file_size
from analysis.results import read
from analysis.view import View
from fire.arch import AlexNetSpec, ResNet8Spec, SqueezeNetSpec
from sweep.manifests import Sweep
from sweep.page.snapshot import Snapshot
from sweep.store import Store
from tests.records import record


def sweep(name="odd", **fields) -> Sweep:
    return Sweep(name=name, varied=("arch.sr",), points=(({}, "a"), ({}, "c")), launched="2026-01-01", **fields)


@pytest.mark.parametrize(
    ("made", "along", "title"),
    [
        (sweep(experiment="sr"), ["sr"], "Squeeze ratio"),
        (sweep(experiment="sr", overrides=("data=digits", "seed=0,1")), ["sr"], "Squeeze ratio: data=digits seed=0,1"),
        (sweep(experiment="mine", overrides=("seed=1",)), ["sr"], "mine: seed=1"),
        (sweep(overrides=("arch.sr=0.25,0.5",)), ["sr"], "Squeeze ratio: arch.sr=0.25,0.5"),
        (sweep(overrides=("train.lr=1,2", "seed=0,1")), ["train.lr"], "train.lr: train.lr=1,2 seed=0,1"),
        (sweep(overrides=("arch.sr=1,2", "arch.fires=4,8")), ["sr", "fires"], "arch.sr=1,2 arch.fires=4,8"),
        (sweep(experiment="search", search={}), [], "Search"),
        (sweep(experiment="search", overrides=("seed=1",), search={}), [], "Search: seed=1"),
        (sweep(experiment="sr", overrides=("seed=1",), search={}), [], "Search: Squeeze ratio: seed=1"),
        (sweep(), [], "odd"),
    ],
)
def test_a_title_says_experiment_and_overrides(made, along, title):
    assert sections.title(made, along) == title


def test_a_cut_name_does_not_cut_the_title(store, tmp_path, unrendered):
    given = ("train.epochs=7", "train.lr=0.05", "data=digits", "arch.base_e=24", "arch.incr_e=24", "seed=5")
    store.write_sweep(sweep(f"sr_{'_'.join(given)}"[:60] + "-0123abcd", experiment="sr", overrides=given))
    page = report.write(read(store.root), tmp_path / "report").read_text()
    assert f'<h2 id="1">Squeeze ratio: {" ".join(given)}</h2>' in page


def test_a_name_too_long_for_a_file_is_cut(store, tmp_path, unrendered):
    names = ["x" * 225 + end for end in "ab"]
    for name in names:
        store.write_sweep(sweep(name))
    page = report.write(read(store.root), tmp_path / "report")
    assert all(f"Sweep {name}: " in page.read_text() for name in names)
    written = {path.stem for path in (tmp_path / "report" / "tables").glob("xxx*.csv")}
    assert len(written) == 2
    assert all(f"tables/{stem}.csv" in page.read_text() for stem in written)


def test_a_sweep_with_the_name_of_a_table_of_the_report_has_files_of_its_own(store, tmp_path, unrendered):
    for name in ("failed", "failed-2", "warnings", "runs-digits", "pareto-digits"):
        store.write_sweep(sweep(name))
    store.write(dataclasses.replace(store.read("a"), warning="no time to learn"))
    out = tmp_path / "report"
    page = html.unescape(report.write(read(store.root), out).read_text())
    for folder, endings, written in (("tables", ("csv", "md"), r'href="tables/(\S+)\.csv"'),
                                     ("figures", ("png", "svg"), r'href="figures/(\S+)\.png"')):  # fmt: skip
        links = re.findall(written, page)
        assert len(links) == len(set(links)), "no two links lead to one file"
        assert {f"{link}.{ending}" for link in links for ending in endings} == {
            path.name for path in (out / folder).iterdir()
        }
    assert pd.read_csv(out / "tables" / "failed.csv")["sr"].tolist() == [0.25, 0.5]
    assert pd.read_csv(out / "tables" / "failed-3.csv")["key"].tolist() == ["d"]
    assert pd.read_csv(out / "tables" / "runs-digits-2.csv")["key"].tolist() == ["c", "a", "b"]


def test_what_cannot_be_read_is_not_said_to_be_the_reports_folder(store, tmp_path, monkeypatch, unrendered):
    def fail(self):
        raise OSError(errno.EIO, "Input/output error", "log")

    monkeypatch.setattr(Snapshot, "refresh", fail)
    with pytest.raises(OSError, match="Input/output error: 'log'"):
        report.write(read(store.root), tmp_path / "report")


@pytest.mark.parametrize(
    ("arch", "family"), [(AlexNetSpec(version="small", classes=10), "alexnet"), (ResNet8Spec(), "resnet8")]
)
def test_networks_of_a_family_without_bypass_have_their_report(arch, family, tmp_path, unrendered):
    store = Store(tmp_path)
    for seed in (0, 1):
        store.write(record(f"{seed}", arch=arch, seed=seed))
    report.write(read(store.root), tmp_path / "report")
    table = pd.read_csv(tmp_path / "report" / "tables" / "runs-digits.csv")
    assert list(table["family"]) == [family, family]


COMPUTED = {"precision": "fp32", "kernels": "compiled", "threads": 1, "device": "cpu", "torch": "2.14.1"}


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({}, ""),
        ({"precision": "bf16"}, "precision bf16 (1), fp32 (2)"),
        ({"kernels": "torch", "threads": 4}, "kernels compiled (2), torch (1); threads 1 (2), 4 (1)"),
        ({"kernels": None}, "kernels compiled (2), not recorded (1)"),
        ({"device": "a GPU"}, "device a GPU (1), cpu (2)"),
        ({"torch": "2.15"}, "torch 2.14.1 (2), 2.15 (1)"),
    ],
    ids=str,
)
def test_runs_that_were_computed_otherwise_are_said_to_be(other, said, store):
    for key in "abc":
        store.write(dataclasses.replace(store.read(key), **COMPUTED | (other if key == "b" else {})))
    store.write(dataclasses.replace(store.read("d"), precision="fp16"))  # a failed run is compared with none
    prefix = "These runs were not all computed alike (in brackets: how many): "
    expected = f"{prefix}{said}." if said else ""
    results = read(store.root)
    assert tables.differences(results.runs) == expected
    shown = {part.title: part.notes for part in sections.of(results)}
    for title in ("Squeeze ratio", "All networks: digits"):
        assert ([note for note in shown[title] if note.startswith(prefix)] == [expected]) == bool(said)


def test_runs_that_may_mislead_are_listed(store):
    assert "Warnings" not in [part.title for part in sections.of(read(store.root))]
    store.write(dataclasses.replace(store.read("a"), warning="no time to learn"))
    store.write(dataclasses.replace(store.read("b"), left_out="3 .txt", images_skipped=0))
    store.write(dataclasses.replace(store.read("c"), images_skipped=2))
    (part,) = [part for part in sections.of(read(store.root)) if part.title == "Warnings"]
    ((_, frame),) = part.tables
    shown = export.markdown(export.readable(frame)).splitlines()[2:]
    assert shown == ["| a | no time to learn | - | - |", "| b | - | 0 | 3 .txt |", "| c | - | 2 | - |"]


def test_a_table_of_a_search_says_so_too(store):
    store.write(dataclasses.replace(store.read("a"), **COMPUTED | {"threads": 3}))
    store.write(dataclasses.replace(store.read("c"), **COMPUTED))
    points = tuple(({}, key) for key in "acd")
    store.write_sweep(dataclasses.replace(sweep("search", search={"objectives": ["top1"]}), points=points))
    (notes,) = [part.notes for part in sections.of(read(store.root)) if part.title == "Search"]
    assert "threads 1 (1), 3 (1)" in notes[-1]
    assert "3 networks tried, 2 trained to the end, 0 stopped early (these count as cost alone), 1 failed." in notes[0]


def test_what_is_varied_decides_the_figure(store):
    store.write(record("e", arch=SqueezeNetSpec(sr=0.25, bypass="simple", classes=10)))
    runs = read(store.root).runs

    def texts(*along: str) -> list[str]:
        view = View(runs=runs, along=along, group=next(iter(along), None))
        return [shown.text for shown in sections.figures_of_sweep(view, "name")]

    assert texts("sr") == ["Accuracy along one setting"]
    assert texts("bypass") == ["Accuracy of the kinds of bypass"]
    assert texts("sr", "bypass") == ["Accuracy over cost"]
    assert texts() == texts("fires") == [], "a single network"


def test_colours_are_of_a_setting_with_few_values(store):
    for number in range(43):
        network = SqueezeNetSpec(sr=0.5 + number / 100, bypass=("none", "simple")[number % 2], classes=10)
        store.write(record(f"n{number}", arch=network))
    everything = [found.key for found in store.records()]

    def group(varied: tuple[str, ...], keys: Iterable[str]) -> str | None:
        points = tuple(({}, key) for key in keys)
        return sections.view_of(read(store.root), Sweep(name="a", varied=varied, points=points)).group

    assert group(("arch.sr", "arch.bypass"), everything) == "bypass"
    assert group(("arch.sr",), everything) is None
    assert group(("arch.sr", "arch.bypass"), "abc") == "sr"


def test_gains_by_hand(store):
    runs = read(store.root).runs
    small, large = (runs[runs["sr"] == sr]["size_mib"].iloc[0] for sr in (0.25, 0.5))
    gained = tables.gains(runs, [], "sr")
    assert gained["sr"].tolist() == [0.25, 0.5]
    assert gained["points_per_mib"].isna().tolist() == [True, False]
    assert gained["points_per_mib"][1] == pytest.approx(100 * (0.85 - 0.70) / (large - small))
    by_seed = tables.gains(runs, ["sr", "seed"], "sr").set_index(["sr", "seed"])["points_per_mib"]
    assert by_seed[0.5, 0] == pytest.approx(100 * (0.80 - 0.70) / (large - small)), "a seed is compared with itself"
    assert pd.isna(by_seed[0.5, 1])


def test_more_kinds_and_lines_than_colours_are_all_drawn(store):
    names = tuple(f"{i:02}" for i in range(60))
    values = tuple((float(i + 1),) for i in range(60))
    for points, in_order in (((("4",),) * 60, True), (tuple((name,) for name in names), False)):
        shown = file_size.Info("", file_size.FILE, names, points, values, values, values, values, in_order)
        ax = file_size.panels(columns=1, width=4, height=4)[1][0]
        file_size.draw(shown, ax)
        assert len(ax.get_legend().get_texts()) == 60
    style.make_room(ax.figure, ax)
    legend = ax.get_legend().get_window_extent(FigureCanvasAgg(ax.figure).get_renderer())
    assert legend.height < ax.figure.get_figheight() * ax.figure.dpi, "a long legend is not cut off"
    kinds = file_size.Info(
        "", file_size.FILE, ("",), (names,), (values[0] * 60,), (values[0] * 60,), *((values[0] * 60,),) * 2, False
    )
    ax = file_size.panels(columns=1, width=4, height=4)[1][0]
    file_size.draw(kinds, ax)
    assert len(ax.get_legend().get_texts()) == 60
