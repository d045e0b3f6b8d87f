"""Checkpoints with changed or missing bytes: each change is noticed."""

from pathlib import Path

import torch
from torch import nn

from tests.checkpointing import is_refused, write


def small(path: Path) -> bytes:
    """The checkpoint of four weights, so small that each of its bytes can be tried."""
    torch.manual_seed(0)
    layer = nn.Linear(2, 2)
    sgd = torch.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    layer(torch.ones(1, 2)).sum().backward()
    sgd.step()
    write(path, layer, [sgd], None)
    return path.read_bytes()


def test_a_flipped_byte_is_noticed_wherever_it_is(tmp_path):
    path = tmp_path / "checkpoint.pt"
    content = small(path)
    for place in range(len(content)):
        mutated = bytearray(content)
        mutated[place] ^= (0x01, 0x80, 0xFF)[place % 3]
        assert is_refused(path, bytes(mutated)), place


def test_lost_doubled_and_cleared_sectors_are_noticed(tmp_path):
    path = tmp_path / "checkpoint.pt"
    content = small(path)
    for start in range(0, len(content) - 64, 64):
        end = start + 64
        assert is_refused(path, content[:start])
        assert is_refused(path, content[:start] + content[end:])
        assert is_refused(path, content[:end] + content[start:])
        if any(content[start:end]):
            assert is_refused(path, content[:start] + bytes(64) + content[end:])
