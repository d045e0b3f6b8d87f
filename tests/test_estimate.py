"""Estimated latency on microcontrollers, against the figures that were published for each core."""

import csv
from pathlib import Path

import pytest

from fire.arch import ResNet8Spec, SqueezeNetSpec
from fire.cost import count
from fire.errors import SpecError
from fire.machine import estimate
from fire.machine.estimate import estimated_latency, hertz

with estimate.TABLE.open(newline="") as lines:
    POINTS = list(csv.DictReader(lines))
SPECS = {"ResNet8": ResNet8Spec(classes=10), "SqueezeNet v1.1": SqueezeNetSpec(version="1.1", classes=5)}


@pytest.mark.parametrize("point", POINTS, ids=lambda point: f"{point['chip']} {point['network']} {point['image_size']}")
def test_a_point_has_its_network_s_macs_and_a_source(point):
    assert count(SPECS[point["network"]], int(point["image_size"])).macs == int(point["macs"])
    assert "github.com/" in point["source"]


def test_macs_per_cycle_are_those_that_follow_from_the_published_figures():
    rates = {core: tuple(round(rate, 3) for rate in rates) for core, rates in estimate.macs_per_cycle().items()}
    assert rates["cortex-m4"] == (0.629,)
    assert rates["cortex-m33"] == (0.714, 0.714)
    assert [round(rate, 2) for rate in rates["cortex-m7"][:2]] == [1.09, 1.09]
    assert rates["cortex-m7"][2:] == (0.916, 0.934)  # SqueezeNet v1.1 at 128 and 224 pixels
    (m85,) = rates["cortex-m85"]
    assert round(m85, 2) == round(12_501_632 * 117.948 / 480e6, 2)  # the file of its results has images a second


@pytest.mark.parametrize("point", POINTS, ids=lambda point: f"{point['chip']} {point['network']} {point['image_size']}")
def test_the_range_covers_every_published_point_of_the_core(point):
    found = estimated_latency(int(point["macs"]), point["core"], float(point["megahertz"]) * 1e6)
    slack = 1 + 1e-12
    assert found.low / slack <= float(point["milliseconds"]) / 1e3 <= found.high * slack
    assert found.points == len([each for each in POINTS if each["core"] == point["core"]])


def test_the_page_has_the_table_of_cores():
    page = (Path(__file__).parents[1] / "docs" / "curves.md").read_text()
    for core, rates in estimate.macs_per_cycle().items():
        ends = dict.fromkeys(f"{rate:.3f}" for rate in (min(rates), max(rates)))
        assert f"| {core} | {len(rates)} | {' to '.join(ends)} |" in page


def test_one_point_is_no_range():
    found = estimated_latency(12_501_632, "cortex-m4", 120e6)
    assert (found.low, found.high, found.points) == (found.seconds, found.seconds, 1)
    assert found.seconds == pytest.approx(0.1657)
    assert estimated_latency(12_501_632, "cortex-m4", 60e6).seconds == pytest.approx(2 * 0.1657), "half the clock"


def test_the_estimate_of_several_points_is_their_mean():
    found = estimated_latency(12_501_632, "cortex-m33", 160e6)
    assert found.seconds == pytest.approx((0.1095 + 0.1824 * 96 / 160) / 2)
    assert found.low < found.seconds < found.high


def test_a_core_without_a_measurement_is_refused():
    with pytest.raises(SpecError, match=r"^core must be one of cortex-m4, cortex-m33, cortex-m7, .*, got 'cortex-m0'$"):
        estimated_latency(1e6, "cortex-m0", 48e6)


@pytest.mark.parametrize(
    ("text", "value"), [("80MHz", 80e6), ("0.4 GHz", 400e6), ("32768Hz", 32768), ("64.5kHz", 64500)]
)
def test_a_clock_is_read_with_its_unit(text, value):
    assert hertz(text) == value


@pytest.mark.parametrize("text", ["80", "80 mhz", "80MiB", "-80MHz", "MHz", "nanMHz", "1e3MHz", ""])
def test_a_clock_without_a_unit_of_frequency_is_refused(text):
    with pytest.raises(SpecError, match=r"^clock must be a number with a unit \(Hz, kHz, MHz, GHz\), such as 80MHz"):
        hertz(text)


def test_a_clock_that_does_not_run_is_refused():
    with pytest.raises(SpecError, match=r"^clock must be above 0 Hz, got 0\.0$"):
        estimated_latency(1e6, "cortex-m4", hertz("0MHz"))
