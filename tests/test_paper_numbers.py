"""The numbers of Iandola et al. 2016 (arXiv:1602.07360v4) that stand beside ours, as the paper prints them."""

import math

import numpy as np
import pytest

from analysis import compression, paper
from analysis.results import read
from fire.arch import AlexNetSpec, SqueezeNetSpec
from fire.compress.spec import CompressSpec
from sweep.store import Store
from tests.records import record

# Figure 3: the printed size in MB, and top-5 in percent, of which those that the paper prints nowhere were read off the
# plot: sr 0.25 and 1.0, pct_3x3 0.125 to 0.375 and 0.625 to 0.875.
FIGURE_3 = {
    "sr": {0.125: ("4.8", 80.3), 0.25: ("7.6", 83.4), 0.5: ("13", 85.3), 0.75: ("19", 86.0), 1.0: ("24", 86.2)},
    "pct_3x3": {
        0.01: ("5.7", 76.3),
        0.125: ("7.4", 80.6),
        0.25: ("9.3", 83.9),
        0.375: ("11", 84.5),
        0.5: ("13", 85.3),
        0.625: ("15", 85.5),
        0.75: ("17", 85.2),
        0.875: ("19", 85.3),
        0.99: ("21", 85.3),
    },
}


@pytest.mark.parametrize("metaparameter", ["sr", "pct_3x3"])
def test_figure_3_has_the_paper_s_accuracies(metaparameter):
    top5 = {point.value: 100 * point.top5 for point in paper.FIGURE_3[metaparameter]}
    assert top5 == pytest.approx({value: each for value, (_, each) in FIGURE_3[metaparameter].items()})


def test_the_paper_s_sizes_are_mebibytes_rounded_up_but_for_one():
    otherwise = set()
    for metaparameter, points in paper.FIGURE_3.items():
        for point in points:
            printed, _ = FIGURE_3[metaparameter][point.value]
            step = 0.1 if "." in printed else 1.0
            if math.ceil(point.size_mib / step) * step != pytest.approx(float(printed)):
                otherwise.add((metaparameter, point.value))
    assert otherwise == {("pct_3x3", 0.375)}  # 11.11 MiB, printed as 11


@pytest.fixture
def published(tmp_path):
    """By network and compression: the paper's MB, reduction and top-1 in the table of our networks."""
    store = Store(tmp_path)
    squeezed = {bypass: SqueezeNetSpec(bypass=bypass, classes=10) for bypass in ("none", "simple", "complex")}
    for key, arch in {**squeezed, "alexnet": AlexNetSpec(classes=10)}.items():
        store.write(record(f"{key}-fp32", arch=arch))
        deep = CompressSpec(method="deep_compression")
        store.write(record(f"{key}-deep", arch=arch, compress=deep, file_bytes=500_000, float_key=f"{key}-fp32"))
    table = compression.table_2(read(store.root).runs).set_index(["network", "compression"])
    return table[["paper_mb", "paper_reduction", "paper_top1"]]


@pytest.mark.parametrize(
    ("network", "method", "mb", "reduction", "top1"),
    [
        ("SqueezeNet", "fp32", 4.8, 50, 57.5),
        ("SqueezeNet, simple bypass", "fp32", 4.8, None, 60.4),
        ("SqueezeNet, complex bypass", "fp32", 7.7, None, 58.8),
        ("AlexNet", "fp32", 240, 1, 57.2),
        ("AlexNet", "Deep Compression", 6.9, 35, 57.2),
        ("SqueezeNet", "Deep Compression", 0.47, 510, 57.5),
        ("SqueezeNet, simple bypass", "Deep Compression", None, None, None),
        ("SqueezeNet, complex bypass", "Deep Compression", None, None, None),
    ],
)
def test_tables_2_and_3_beside_ours(published, network, method, mb, reduction, top1):
    expected = [mb, reduction, None if top1 is None else top1 / 100]
    np.testing.assert_allclose(published.loc[(network, method)], np.array(expected, np.float64), rtol=1e-12)


def test_top5_of_table_3():
    assert {row.bypass: row.top5 for row in paper.TABLE_3} == {"none": 0.803, "simple": 0.825, "complex": 0.82}
