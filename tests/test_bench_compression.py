"""The table of compressed files: which network, how it was compressed, and how accurate it is since."""

import pytest

from bench.measure import Row
from fire.compress.spec import CompressSpec
from sweep.store import Store
from tests.records import record
from tests.sweeping import ROOT

DEEP = CompressSpec(method="deep_compression", density=0.2, conv_bits=4)
ENTROPY = CompressSpec(method="entropy", rate=0.02)


@pytest.fixture
def rows(tmp_path, monkeypatch) -> list[Row]:
    """Of a store with three compressed networks, of which one is unknown."""
    pytest.importorskip("onnxscript")
    onnx_peer = pytest.importorskip("bench.onnx_peer")
    store = Store(tmp_path)
    for one in (
        record("a", top1=0.92),
        record("d", top1=0.91, compress=DEEP, float_key="a", file_bytes=500),
        record("e", top1=0.93, compress=ENTROPY, float_key="a", float_top1=0.95, file_bytes=250),
        record("h", compress=DEEP, float_key="a", file_bytes=250),
    ):
        store.write(one)
    unknown = store.folder("h") / "record.json"
    unknown.write_text(unknown.read_text().replace("deep_compression", "of a later version"))
    assert store.read("h").config is None
    monkeypatch.setattr(onnx_peer, "int8_bytes", lambda *network: 1000)
    return onnx_peer.rows(tmp_path)


def test_a_row_has_its_setting_and_the_accuracy_it_cost_and_unknown_ones_are_left_out(rows):
    assert [(row.measured, row.detail) for row in rows] == [
        ("2.00", "500 against 1,000 bytes; density 0.2, conv_bits 4, fc_bits 5; top-1 -1.00 points; run d"),
        ("4.00", "250 against 1,000 bytes; rate 0.02; top-1 -2.00 points; run e"),
    ]


def test_the_peer_is_as_large_as_the_file_that_the_export_of_a_trained_network_writes():
    """But for the metadata of ours: the specification, how an image is normalised, the names of the classes."""
    onnx_peer = pytest.importorskip("bench.onnx_peer")
    exported = {each.config.arch: each for each in Store(ROOT / "docs/results").records() if each.int8_bytes}
    assert len(exported) == 2
    for one in exported.values():
        size = onnx_peer.int8_bytes(one.config.arch, one.config.data.image_size, one.config.data.channels)
        assert 0 < one.int8_bytes - size < 1000
