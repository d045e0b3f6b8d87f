"""The table of compressed files: which network, how it was compressed, and how accurate it is since."""

import pytest

from bench.measure import Row
from fire.compress.spec import CompressSpec
from sweep.store import WEIGHTS, Store
from tests.records import record

DEEP = CompressSpec(method="deep_compression", density=0.2, conv_bits=4)
TABLE = CompressSpec(method="deep_compression", pruning="table")
ENTROPY = CompressSpec(method="entropy", rate=0.02)


@pytest.fixture
def rows(tmp_path, monkeypatch) -> list[Row]:
    """Of a store with five compressed networks; two have no weights of what they were made from, one is unknown."""
    pytest.importorskip("onnxscript")
    onnx_peer = pytest.importorskip("bench.onnx_peer")
    store = Store(tmp_path)
    for one in (
        record("a", top1=0.92),
        record("d", top1=0.91, compress=DEEP, float_key="a", file_bytes=500),
        record("e", top1=0.93, compress=ENTROPY, float_key="a", float_top1=0.95, file_bytes=250),
        record("f", compress=TABLE, float_key="b", file_bytes=250),
        record("g", compress=ENTROPY, float_key="b", file_bytes=250),
        record("h", compress=DEEP, float_key="a", file_bytes=250),
    ):
        store.write(one)
    (store.folder("a") / WEIGHTS).touch()
    unknown = store.folder("h") / "record.json"
    unknown.write_text(unknown.read_text().replace("deep_compression", "of a later version"))
    assert store.read("h").config is None
    monkeypatch.setattr(onnx_peer.pretrained, "read", lambda path: path)
    monkeypatch.setattr(onnx_peer, "int8_bytes", lambda deployed: 1000)
    return onnx_peer.rows(tmp_path)


def test_a_row_has_its_setting_and_the_accuracy_it_cost(rows):
    assert [(row.measured, row.detail) for row in rows[:2]] == [
        ("2.00", "500 against 1,000 bytes; density 0.2, conv_bits 4, fc_bits 5; top-1 -1.00 points; run d"),
        ("4.00", "250 against 1,000 bytes; rate 0.02; top-1 -2.00 points; run e"),
    ]


def test_networks_whose_weights_are_missing_are_named_and_unknown_ones_left_out(rows):
    assert [(row.measured, row.detail) for row in rows[2:]] == [("not measured", "no weights.safetensors of b")]
