"""Figures over a chosen cost: its units, runs that lack it, latencies of one place, and words that name no cost."""

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from analysis import axes, choice, costs, report, sections, style
from analysis.__main__ import write
from analysis.axes import AXES, SIZE, chosen
from analysis.figures import bypass, curve, file_size, latency, pareto
from analysis.results import read
from analysis.view import View
from fire.arch import SqueezeNetSpec
from fire.compress.spec import CompressSpec
from fire.cost import count
from fire.errors import InputError
from sweep.commands import exits
from sweep.store import Store
from tests.records import DATA, record, sweep

RAM = AXES["peak_ram_bytes"]
FIGURES = {"curve": curve, "bypass": bypass, "pareto": pareto, "file_size": file_size}
HERE = {"host": "a machine", "device": "cpu", "threads": 1}


def runs_of(store: Store) -> pd.DataFrame:
    return read(store.root).runs


def labels(figure) -> list[str]:
    FigureCanvasAgg(figure).draw()
    return [ax.get_xlabel() for ax in figure.axes]


@pytest.mark.parametrize(
    ("name", "cost"),
    [
        ("size_bytes", lambda cost: 4 * cost.parameters / 2**20),
        ("macs", lambda cost: cost.macs / 1e6),
        ("activations", lambda cost: cost.activations / 1e3),
        ("peak_ram_bytes", lambda cost: cost.peak_ram_bytes / 2**10),
        ("weight_bytes", lambda cost: cost.weight_bytes / 2**10),
        ("flash_bytes", lambda cost: cost.flash_bytes / 2**10),
    ],
)
def test_costs_before_training_have_the_unit_that_the_axis_says(name, cost, store):
    small, large = SqueezeNetSpec(sr=0.25, classes=10), SqueezeNetSpec(sr=0.5, bypass="complex", classes=10)
    for key, arch in (("a", small), ("b", small), ("c", large)):
        store.write(record(key, arch=arch))
    info = pareto.info(View(runs=runs_of(store), along=("sr",), group="bypass", cost=chosen(name)))
    networks = [count(arch, DATA.image_size, DATA.channels) for arch in (small, large)]
    assert info.cost == pytest.approx([cost(each) for each in networks])
    assert info.axis == chosen(name), "no other axis"


def test_the_estimate_has_milliseconds_and_the_range_of_the_published_measurements():
    axis = chosen("estimated_latency", "cortex-m4", "60MHz")
    assert axis.scale * 12_501_632 == pytest.approx(2 * 165.7), "ResNet8 at 120 MHz: 165.7 ms"
    assert axis.label() == ("estimated latency in int8, cortex-m4 at 60 MHz, ms\nfrom a single published measurement")
    # Cycles a MAC: 0.9138 and 0.9174 (ResNet8), 1.0919 and 1.0708 (SqueezeNet v1.1); mean 0.9985.
    note = "range of its 4 published measurements: -8 % to +9 %"
    assert chosen("estimated_latency", "cortex-m7", "0.4GHz").label(log=True) == (
        f"estimated latency in int8, cortex-m7 at 400 MHz, ms (log scale)\n{note}"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("ram",), "x must be one of size_bytes, macs, .*, estimated_latency, got 'ram'"),
        (("estimated_latency",), "core must be given if x is estimated_latency, and only then, got None"),
        (("estimated_latency", "cortex-m4"), "clock must be given if x is estimated_latency, and only then, got None"),
        (("macs", "cortex-m4"), "core must be given if x is estimated_latency, and only then, got 'cortex-m4'"),
        ((None, None, "80MHz"), "clock must be given if x is estimated_latency, and only then, got '80MHz'"),
        (("estimated_latency", "z80", "80MHz"), "core must be one of cortex-m4, .*, got 'z80'"),
        (("estimated_latency", "cortex-m4", "80"), "clock must be a number with a unit .*, got '80'"),
    ],
)
def test_a_word_that_names_no_axis_is_refused(words, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        chosen(*words)


def test_without_a_choice_each_figure_has_its_own_axis():
    assert chosen(None) is None


@pytest.fixture
def compressed(store):
    """fp32 networks of two squeeze ratios, and one of them compressed."""
    arch = SqueezeNetSpec(sr=0.5, classes=10)
    store.write(record("f", arch=arch, compress=CompressSpec(method="entropy"), file_bytes=12_000, top1=0.8))
    return store


@pytest.mark.parametrize(("figure", "along"), [("curve", "sr"), ("bypass", "bypass"), ("pareto", "sr")])
def test_a_figure_over_a_cost_takes_the_chosen_one(figure, along, store):
    store.write(record("e", arch=SqueezeNetSpec(sr=0.25, bypass="complex", classes=10)))
    with style.style():
        drawn = FIGURES[figure].figure(View(runs=runs_of(store), along=(along,), group=along, cost=RAM))
        (label,) = labels(drawn)  # the paper's panel has another axis
    assert label.startswith("peak RAM for an image in int8, KiB")


def test_the_figure_of_compressed_networks_takes_the_chosen_cost(compressed):
    with style.style():
        view = View(runs=runs_of(compressed), along=("sr", "compress"), cost=AXES["macs"])
        assert labels(file_size.figure(view)) == ["multiply-accumulates of an image, millions (log scale)"]
    info = file_size.info(view)
    assert {cost for line in info.cost for cost in line} == {
        count(SqueezeNetSpec(sr=sr, classes=10), DATA.image_size, DATA.channels).macs * 1e-6 for sr in (0.25, 0.5)
    }


def test_runs_that_lack_the_cost_are_left_out_and_counted(compressed):
    info = file_size.info(View(runs=runs_of(compressed), along=("sr", "compress"), cost=AXES["file_bytes"]))
    assert info.cost == ((12.0,),)
    assert info.axis.label() == "size of the compressed file, kB of 1,000 bytes\nnot shown: 3 runs without this cost"


@pytest.mark.parametrize(
    ("x", "here", "place"),
    [
        ("latency", HERE, "a machine, cpu, 1 thread"),
        ("onnx_latency", {"onnx_host": "a machine"}, "a machine"),
        ("int8_latency", {"onnx_host": "a machine", "int8_top1": 0.5}, "a machine"),
    ],
)
def test_latencies_of_several_machines_are_not_mixed(x, here, place, store):
    column = AXES[x].column
    store.write(record("a", sr=0.5, seed=0, **here | {column: 0.004}))
    store.write(record("b", sr=0.5, seed=1, **here | {column: 0.002}))
    store.write(record("c", sr=0.25, **here | {column: 0.001, next(iter(here)): "another machine"}))
    store.write(record("e", sr=0.75, **here))
    info = pareto.info(View(runs=runs_of(store), along=("sr",), group="sr", cost=AXES[x]))
    assert (info.group, info.cost) == (("0.5",), (3.0,)), "milliseconds"
    assert info.axis.note == f"{place}; without 1 run timed elsewhere and 1 run not timed"


def test_the_accuracy_of_an_int8_file_is_shown_over_its_size(store):
    store.write(record("a", sr=0.5, top1=0.8, int8_bytes=2048, int8_top1=0.75))
    store.write(record("c", sr=0.25, top1=0.7, int8_bytes=1024, int8_top1=0.5))
    info = curve.info(View(runs=runs_of(store), along=("sr",), cost=AXES["int8_bytes"]))
    assert (info.metric, info.cost) == ("int8 test top-1", (1.0, 2.0))
    assert info.accuracy == pytest.approx((50, 75)), "of the files, not of the networks: 70 and 80"
    assert info.axis.note == "not shown: 1 run without this cost"


@pytest.mark.parametrize("axis", AXES.values(), ids=AXES)
def test_every_axis_has_a_column_of_the_runs(axis, store):
    columns = {axis.column, axis.top1, *axes.PLACES.get(axis.column, ())}
    assert columns <= set(runs_of(store).columns)


def test_a_cost_that_is_the_same_for_all_is_said_and_does_not_become_the_axis(store):
    runs = runs_of(store).assign(peak_ram_bytes=24 * 1024)
    info = pareto.info(View(runs=runs, along=("sr",), group="sr", cost=RAM))
    assert info.cost == pareto.info(View(runs=runs, along=("sr",), group="sr")).cost
    assert info.axis == SIZE._replace(note="24 for all: peak RAM for an image in int8, KiB")


def test_networks_of_equal_cost_share_a_tick(store):
    store.write(record("e", sr=0.75))
    runs = runs_of(store)
    runs["peak_ram_bytes"] = runs["sr"].map({0.125: 1024, 0.25: 1024, 0.5: 1024, 0.75: 2048})
    with style.style():
        figure = curve.figure(View(runs=runs, along=("sr",), cost=RAM))
        FigureCanvasAgg(figure).draw()
    (top,) = figure.axes[0].child_axes
    assert [tick.get_text() for tick in top.get_xticklabels()] == ["0.25\n0.5", "0.75"]


def test_a_sweep_without_the_cost_keeps_its_axes_and_says_so(store, compressed):
    store.write_sweep(sweep("files", ("compress",), "af"))
    x = AXES["file_bytes"]
    notes = {part.tables[0][0]: part.notes for part in sections.of(read(store.root), x)}
    said = "None of these runs has a size of the compressed file: their figures keep axes of their own."
    assert said in notes["sr"]
    assert said not in notes["files"]


def test_a_search_is_compared_over_the_chosen_cost(tmp_path):
    store = Store(tmp_path)
    for key, top1, ram, macs in (("a", 0.7, 4096, 10), ("b", 0.8, 2048, 30), ("c", 0.9, 8192, 20)):
        store.write(record(key, sr={"a": 0.25, "b": 0.5, "c": 0.75}[key], top1=top1, peak_ram_bytes=ram, macs=macs))
    store.write_sweep(sweep("search", ("arch.sr",), "abc", search={"objectives": ["top1", "macs"]}))
    for x, expected in ((None, ["a", "c"]), (RAM, ["b", "c"])):
        section = next(iter(sections.of_sweeps(read(tmp_path), x)))
        ((_, table),) = section.tables
        assert table["key"].tolist() == expected


def test_a_search_over_the_cost_of_int8_files_is_judged_by_them(tmp_path):
    store = Store(tmp_path)
    for key, sr, top1, int8_top1, size in (
        ("a", 0.5, 0.90, 0.60, 50),
        ("b", 0.75, 0.85, 0.84, 60),
        ("c", 1.0, 0.9, None, None),
    ):
        fields = {"int8_bytes": size, "int8_top1": int8_top1, "int8_validation_top1": int8_top1}
        store.write(record(key, sr=sr, top1=top1, validation_top1=top1, **fields))
    store.write_sweep(sweep("search", ("arch.sr",), "abc", search={"objectives": ["top1"]}))
    found = read(store.root)
    (shown,) = sections.of_sweeps(found, AXES["int8_bytes"])
    ((_, table),) = shown.tables
    assert table["key"].tolist() == ["a", "b"], "in fp32 a would beat b"
    assert table["int8_validation_top1"].tolist() == [0.60, 0.84]
    assert "that no other beats in validation top-1 in int8 and " in shown.notes[0]


def test_latency_has_no_figure_of_its_own_where_the_axis_is_chosen(store):
    for key, sr in (("a", 0.5), ("c", 0.25)):
        store.write(record(key, sr=sr, latency_seconds=0.001 * (1 + sr), **HERE))
    view = View(runs=runs_of(store), along=("sr",), group="sr")
    assert latency.info(view) is not None
    assert latency.info(View(runs=view.runs, along=("sr",), group="sr", cost=RAM)) is None


def answer(*arguments: str, capsys) -> tuple[int, str]:
    """Exit code and standard error of python -m analysis."""
    try:
        exits.guarded("analysis", lambda: write(list(arguments)))
    except SystemExit as end:
        return end.code, capsys.readouterr().err
    return 0, capsys.readouterr().err


def test_the_command_draws_over_the_cost(store, tmp_path, unrendered, capsys):
    out = tmp_path / "report"
    estimate = ("--x", "estimated_latency", "--core", "cortex-m33", "--clock", "160MHz")
    assert answer(str(store.root), "--out", str(out), *estimate, capsys=capsys) == (0, "")
    said = "Figures over a cost have this axis: estimated latency in int8, cortex-m33 at 160 MHz, ms."
    assert said in (out / "index.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--x", "file_bytes"], "x must be a cost that a finished run has, got 'file_bytes'"),
        (["--x", "int8_bytes"], "x must be a cost that a finished run has, got 'int8_bytes'"),
        (["--core", "cortex-m4"], "core must be given if x is estimated_latency, and only then, got 'cortex-m4'"),
    ],
)
def test_an_axis_that_no_run_has_is_one_line(arguments, message, store, tmp_path, capsys):
    code, err = answer(str(store.root), "--out", str(tmp_path / "report"), *arguments, capsys=capsys)
    assert (code, err) == (2, f"analysis: {message}\n")
    assert not (tmp_path / "report").exists()


def test_a_notebook_takes_the_axis_by_an_argument(store):
    (one,) = choice.choose(folder=store.root, sweep="sr", x="peak_ram_bytes")
    assert one.view.cost == RAM
    (one,) = choice.choose(folder=store.root, sweep="sr", x="estimated_latency", core="cortex-m4", clock="80MHz")
    assert one.view.cost == axes.chosen("estimated_latency", "cortex-m4", "80MHz")
    with pytest.raises(InputError, match="x must be a cost that a finished run has, got 'file_bytes'"):
        choice.choose(folder=store.root, sweep="sr", x="file_bytes")


def test_the_table_of_runs_has_the_costs_on_a_device_in_kib(store, tmp_path, unrendered):
    page = report.write(read(store.root), tmp_path / "report")
    text = (page.parent / "tables" / "runs-digits.md").read_text()
    heading = text.splitlines()[0]
    assert "| peak RAM, KiB | int8 weights, KiB | flash, KiB |" in heading
    cost = count(SqueezeNetSpec(sr=0.25, classes=10), DATA.image_size, DATA.channels)
    shown = [f"{value / 1024:,.1f}" for value in (cost.peak_ram_bytes, cost.weight_bytes, cost.flash_bytes)]
    assert f"| {' | '.join(shown)} |" in text.splitlines()[2]


def test_a_cost_is_known_with_its_accuracy_alone():
    runs = pd.DataFrame({"status": ["finished", "finished", "failed"], "int8_bytes": [1.0, 2.0, 3.0]})
    assert not costs.has(runs, AXES["int8_bytes"]).any(), "without accuracy of the file"
    accuracies = runs.assign(int8_top1=[0.5, None, 0.5])
    assert costs.has(accuracies, AXES["int8_bytes"]).tolist() == [True, False, False]


@pytest.mark.parametrize(("figure", "along"), [("curve", "sr"), ("bypass", "bypass"), ("pareto", "sr")])
def test_the_note_below_an_axis_is_not_cut_off(figure, along, store):
    here = HERE | {"host": "Intel(R) Xeon(R) Processor, 2 cores", "latency_seconds": 0.004}
    store.write(record("a", sr=0.5, **here))
    store.write(record("c", arch=SqueezeNetSpec(sr=0.25, bypass="complex", classes=10), **here))
    with style.style():
        drawn = FIGURES[figure].figure(View(runs=runs_of(store), along=(along,), group=along, cost=AXES["latency"]))
        (ax,) = drawn.axes
        assert "without 1 run not timed" in labels(drawn)[0]
    box = ax.xaxis.label.get_window_extent()
    assert drawn.bbox.x0 <= box.x0 <= box.x1 <= drawn.bbox.x1
