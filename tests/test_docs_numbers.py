"""Numbers in sentences of docs/ are those of the committed records."""

from pathlib import Path

import pandas as pd
import pytest

from analysis.results import Results, read
from sweep.store import Store

ROOT = Path(__file__).parents[1]
NARROW = "3d66af78220eae08"  # SR 0.5, Fashion-MNIST, seed 0


@pytest.fixture(scope="module")
def results() -> Results:
    return read(ROOT / "docs" / "results")


def page(name: str) -> str:
    """The page's text on one line."""
    return " ".join((ROOT / "docs" / f"{name}.md").read_text().split())


def percent(accuracy: float) -> str:
    return f"{100 * accuracy:.2f}"


def test_the_trade_off_of_size_and_accuracy(results):
    runs = results.runs.set_index("key")
    network = runs.loc[NARROW]
    files = runs[runs["float_key"] == NARROW]
    assert f"({network['size_bytes']:,.0f} bytes, {percent(network['top1'])} %, one seed" in page("compression")
    entropy = files[files["compress"] == "entropy"].sort_values("compress.rate")
    deep = files[files["compress.conv_bits"] == 5].sort_values("compress.density", ascending=False)
    assert entropy["compress.rate"].tolist() == [0.03, 0.1, 0.3]
    assert deep["compress.density"].tolist() == [0.33, 0.2, 0.1]
    for method, of_method in (("Entropy coding", entropy), ("Deep Compression", deep)):
        sizes = [f"{size:,.0f}" for size in of_method["file_bytes"]]
        lost, *losses = [f"{100 * (network['top1'] - top1):.1f}" for top1 in of_method["top1"]]
        assert float(lost) == 0, "within half of a tenth of a point"
        assert f"{method} loses nothing at {sizes[0]} bytes (" in page("compression")
        assert f", {losses[0]} points at {sizes[1]} and {losses[1]} at {sizes[2]}" in page("compression")


def test_the_file_that_is_evaluated_as_an_example():
    record = Store(ROOT / "docs" / "results").read("ec3c1b53e4c83546")
    command = "python -m sweep.evaluate docs/results/ec3c1b53e4c83546/network.fcn"
    assert f"{command} # {record.file_bytes:,} bytes: top-1 {percent(record.top1)} %" in page("compression")


def test_the_search_in_colour(results):
    (found,) = [sweep for sweep in results.sweeps if sweep.experiment == "mlperf_tiny"]
    runs = results.of(found)
    counts = runs["status"].value_counts()
    assert (
        f"{len(runs)} networks so far, one seed each: {counts['finished']} trained for all eight epochs, "
        f"{counts['stopped']} stopped after two or four."
    ) in page("search")
    assert set(runs["train.epochs"]) == {8}
    assert set(runs.loc[runs["status"] == "stopped", "epochs"]) == {2, 4}
    best = runs.loc[runs["validation_top1"].where(runs["status"] == "finished").astype(float).idxmax()]
    assert (
        f"The best has {percent(best['validation_top1'])} % on the validation images and {percent(best['top1'])} % on "
        f"the test images: `arch=squeezenet_mlperf_tiny`, {best['parameters']:,.0f} parameters, "
        f"{best['macs'] / 1e6:.1f} M MACs, {best['peak_ram_bytes'] / 1024:.0f} KiB of peak RAM."
    ) in page("search")
    alike = results.runs[(results.runs["family"] == "resnet8") & (results.runs["train.epochs"] == 8)]
    tests = alike.sort_values("seed")["top1"].astype(float)
    assert (
        f"ResNet8, trained alike, has {percent(tests.mean())} % on the test images (two seeds, "
        f"{' and '.join(map(percent, tests))} %)."
    ) in page("search")


def test_the_latencies_of_the_two(results):
    (found,) = [sweep for sweep in results.sweeps if sweep.experiment == "duel"]
    runs = results.of(found)

    def spans(column: str) -> str:
        """The smallest and the largest of ResNet8, and of the SqueezeNet."""
        times = [1e3 * runs.loc[runs["family"] == family, column].astype(float) for family in ("resnet8", "squeezenet")]
        return " against ".join(f"{each.min():.2f} to {each.max():.2f}" for each in times)

    torch, int8, onnx = map(spans, ("latency_seconds", "int8_latency_seconds", "onnx_latency_seconds"))
    for shown in (torch, int8, onnx):
        assert shown.replace(" against", " ms against", 1 if shown != onnx else 0) in page("search")


def test_networks_below_a_size(results):
    runs = results.runs
    alike = runs[(runs["parameters"] == 726_474) & (runs["bypass"] == "none") & (runs["compress"] == "none")]
    of_three = alike[alike["train.optimizer"] == "muon"]
    assert sorted(of_three["seed"]) == [0, 1, 2]
    row = "| `python -m sweep -m arch=squeezenet_small train=quick seed=0,1,2` | 726,474 | 3 | "
    assert row + percent(pd.to_numeric(of_three["top1"]).mean()) in page("curves")
