"""What the comparison rests on: the peer is the same network, ratios are of pairs, and rows say what was measured."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from bench import folders, kills, plain, step, sweeps
from bench.measure import Row, interleaved, markdown, ratio
from bench.step import NETWORKS
from fire import model
from fire.cost import count
from fire.data.folders import scan


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("sr", [0.125, 1.0])
def test_the_peer_is_the_same_function(name, sr):
    spec = replace(NETWORKS[name], sr=sr)
    ours = model.fold(model.build(spec, channels=1, seed=3).eval())
    peer = plain.SqueezeNet(spec, channels=1, norm=False).eval()
    assert sum(p.numel() for p in peer.parameters()) == count(spec, 28, 1).parameters
    convolutions = [[m for m in network.modules() if isinstance(m, nn.Conv2d)] for network in (ours, peer)]
    for a, b in zip(*convolutions, strict=True):
        b.load_state_dict(a.state_dict())
    x = torch.randn(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(x), peer(x), atol=1e-5, rtol=1e-4)


def test_the_peer_trains_on_after_a_short_epoch(digits_spec, tmp_path, monkeypatch):
    monkeypatch.setattr(step, "BATCH", 16)
    two_batches = replace(digits_spec, limit=32)
    assert step.plain_rate("squeezenet_narrow", two_batches, 3, str(tmp_path)) > 0  # after two steps to warm up


def test_ratios_are_of_pairs():
    assert ratio([8.0, 6.0, 3.0], [2.0, 1.0, 1.0]) == "4.00 (3.00 to 6.00, n = 3)"
    assert ratio([1000.0], [2.0]) == "500 (500 to 500, n = 1)"


def test_measurements_take_turns(capsys):
    order: list[str] = []
    values = interleaved({name: lambda name=name: order.append(name) or float(len(order)) for name in "abc"}, rounds=3)
    assert "".join(order) == "abccbaabc"
    assert values == {"a": [1.0, 6.0, 7.0], "b": [2.0, 5.0, 8.0], "c": [3.0, 4.0, 9.0]}
    assert "round 3/3, c: 9" in capsys.readouterr().out


def test_the_table_is_markdown():
    rows = [
        Row(what="a", peer="b", goal="2x", measured="3.00", detail="d"),
        Row(what="e", peer="-", goal="-", measured="-"),
    ]
    assert markdown(rows).splitlines()[2:] == ["| a | b | 2x | 3.00 | d |", "| e | - | - | - |  |"]


def test_the_pictures_of_the_bench_are_a_folder_of_all_classes(tmp_path):
    folders.make(tmp_path, 0, 300)
    folders.make(tmp_path, 300, 400)
    listing = scan(tmp_path)
    assert (len(listing.class_names), len(listing.train), len(listing.test)) == (100, 300, 100)


def test_a_launch_that_ends_by_itself_counts_as_no_kill(tmp_path, monkeypatch):
    monkeypatch.setattr(kills, "SEARCH", ("--help",))
    (row,) = kills.rows(tmp_path, "data", kills=1)
    assert (row.what, row.measured) == ("epochs trained twice, over 0 kills with signal 9", "0")


def test_a_search_that_cannot_end_is_no_result(tmp_path, monkeypatch):
    monkeypatch.setattr(kills, "SEARCH", ("no.such.setting=1",))
    with pytest.raises(RuntimeError, match="must end with exit code 0, got 2"):
        list(kills.rows(tmp_path, "data", kills=1))


def test_sweeps_are_compared_in_memory_with_the_first_peer(monkeypatch):
    def seconds(command):
        command.peak_bytes.append((300 if command.ours else 400) * 2**20)
        command.top1.append([0.5, 0.6])
        return 1.0

    monkeypatch.setattr(sweeps.Command, "seconds", seconds)
    monkeypatch.setattr(sweeps, "_works", lambda peer: True)
    *_, row = sweeps.rows(rounds=2, epochs=1, images=100, data_dir="data")
    assert (row.what, row.peer) == ("peak memory of that sweep, all processes (PSS)", "Hydra multirun of Lightning")
    assert (row.measured, row.detail) == ("0.75 (0.75 to 0.75, n = 2)", "300 MiB against 400 MiB")
    monkeypatch.setattr(sweeps, "_works", lambda peer: peer.name != "Lightning")
    rows = sweeps.rows(rounds=2, epochs=1, images=100, data_dir="data")
    assert [row.measured for row in rows if "Lightning" in row.peer] == ["not measured"] * 2
