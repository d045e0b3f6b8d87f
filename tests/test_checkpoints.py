"""Checkpoints that are damaged, or of something else: no run goes on from them, and none ends with other weights."""

import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fire.machine import native
from fire.train import checkpoints
from fire.train.checkpoints import MAGIC, CheckpointError
from tests.checkpointing import DAMAGED, EPOCHS, Parts, save, torch_state


@pytest.fixture(scope="module")
def arch(narrow):
    return replace(narrow, fires=2, base_e=8, incr_e=8, conv1=8)


@pytest.fixture(scope="module")
def written(arch, tmp_path_factory) -> Path:
    return Parts(arch).step().write(tmp_path_factory.mktemp("written") / "checkpoint.pt")


@pytest.fixture
def path(written, tmp_path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copy(written, tmp_path))


@pytest.mark.parametrize("optimizer", ["sgd", "muon"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_whole_checkpoint_is_put_back(optimizer, momentum, ema, arch, tmp_path):
    before = Parts(arch, optimizer, ema, momentum).step()
    after = Parts(arch, optimizer, ema, momentum)
    after.restore(before.write(tmp_path / "checkpoint.pt"))
    assert all(map(torch.equal, before.network.state_dict().values(), after.network.state_dict().values()))
    for one, other in zip(before.optimizers, after.optimizers, strict=True):
        assert repr(one.state_dict()) == repr(other.state_dict())
    if ema:
        assert all(map(torch.equal, before.average.state_dict().values(), after.average.state_dict().values()))


def test_no_checkpoint_is_none(tmp_path):
    assert checkpoints.read(tmp_path / "checkpoint.pt", EPOCHS) is None


def test_content_of_other_kinds_is_refused(path):
    for content in (b"", "\u00e9t\u00e9".encode("latin-1"), b"PK\x03\x04 and no more", MAGIC):
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=DAMAGED):
            checkpoints.read(path, EPOCHS)
    for value in (torch.zeros(3), [1, 2], {}, {"format": 2}):
        save(value, path)
        with pytest.raises(CheckpointError, match=DAMAGED):
            checkpoints.read(path, EPOCHS)


def test_what_is_no_regular_file_is_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    path.symlink_to("/dev/zero")
    with pytest.raises(CheckpointError, match="it is no regular file"):
        checkpoints.read(path, EPOCHS)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CheckpointError, match="it is no regular file"):
        checkpoints.read(path, EPOCHS)


def first(state: dict, part: str = "network") -> str:
    """The name of the first tensor."""
    return next(iter(state[part]))


def edit_row(**changes: object):
    return lambda state: state["curve"][1].update(changes)


def edit_group(**changes: object):
    return lambda state: state["optimizers"][0]["param_groups"][0].update(changes)


def set_item(part: str, value: object):
    def change(state: dict) -> None:
        state[part] = value

    return change


def set_tensor(part: str, value: object):
    def change(state: dict) -> None:
        name = first(state, part)
        state[part][name] = value(state[part][name])

    return change


def set_momentum(value: object):
    def change(state: dict) -> None:
        entry = state["optimizers"][0]["state"][0]
        entry["momentum_buffer"] = value(entry["momentum_buffer"])

    return change


MISFITS = {
    "a tensor is missing": lambda state: state["network"].pop(first(state)),
    "a tensor too many": lambda state: state["network"].update(another=torch.zeros(1)),
    "other order": lambda state: state["network"].update({first(state): state["network"].pop(first(state))}),
    "other shape": set_tensor("network", lambda tensor: tensor[:1]),
    "other type": set_tensor("network", lambda tensor: tensor.double()),
    "no tensor": set_tensor("network", lambda tensor: 5),
    "sparse": set_tensor("network", lambda tensor: tensor.to_sparse()),
    "NaN": set_tensor("network", lambda tensor: tensor * math.nan),
    "an average of other shape": set_tensor("average", lambda tensor: tensor[None]),
    "no average": set_item("average", None),
    "an average of another network": set_item("average", {}),
    "no optimizer": set_item("optimizers", []),
    "another optimizer": lambda state: state["optimizers"].append(state["optimizers"][0]),
    "optimizers of another kind": set_item("optimizers", {"sgd": 5}),
    "Adam": edit_group(betas=(0.9, 0.999)),
    "other momentum": edit_group(momentum=0.8),
    "no groups": lambda state: state["optimizers"][0].pop("param_groups"),
    "a parameter less": lambda state: state["optimizers"][0]["param_groups"][0]["params"].pop(),
    "no momentum of a parameter": lambda state: state["optimizers"][0]["state"].pop(0),
    "no momentum at all": lambda state: state["optimizers"][0].update(state={}),
    "empty momentum": lambda state: state["optimizers"][0]["state"].update({0: {}}),
    "momentum of other shape": set_momentum(lambda tensor: tensor[:1]),
    "momentum that is no tensor": set_momentum(lambda tensor: None),
    "infinite momentum": set_momentum(lambda tensor: tensor / 0),
    "another column": edit_row(test_top1=0.5),
    "a column less": lambda state: state["curve"][1].pop("lr"),
    "text in the curve": edit_row(lr="0.1"),
    "NaN in the curve": edit_row(train_loss=math.nan),
    "an epoch twice": edit_row(epoch=1),
    "no epoch": set_item("curve", []),
    "too many epochs": lambda state: state["curve"].extend([state["curve"][1] | {"epoch": i} for i in (3, 4)]),
    "a curve of another kind": set_item("curve", 5),
    "threads below 1": set_item("threads", -1),
    "threads without end": set_item("threads", 10**9),
    "threads that are no number": set_item("threads", "1"),
    "threads of none": set_item("threads", None),
    "unknown precision": set_item("precision", "fp16"),
    "unknown kernels": set_item("kernels", "auto"),
    "kernels of another kind": set_item("kernels", ["torch"]),
    "former format": set_item("format", 1),
    "no format": lambda state: state.pop("format"),
    "another field": set_item("another", 5),
    "a field less": lambda state: state.pop("precision"),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_state_that_does_not_fit_is_refused(misfit, path, arch):
    state = torch_state(path)
    MISFITS[misfit](state)
    save(state, path)
    with pytest.raises(CheckpointError, match="the checkpoint"):
        Parts(arch).restore(path)


def test_the_state_of_another_network_or_recipe_is_refused(path, arch):
    Parts(arch).restore(path)
    for changes in ({"fires": 3}, {"sr": 1.0}, {"norm": "none"}):
        with pytest.raises(CheckpointError):
            Parts(replace(arch, **changes)).restore(path)
    for options in ({"optimizer": "muon"}, {"ema": 0.0}, {"momentum": 0.8}, {"momentum": 0.0}):
        with pytest.raises(CheckpointError):
            Parts(arch, **options).restore(path)


def test_compiled_kernels_need_a_compiler(path, monkeypatch):
    state = torch_state(path)
    save(state | {"kernels": "compiled"}, path)
    monkeypatch.setattr(native, "available", lambda: False)
    with pytest.raises(CheckpointError, match="made with compiled kernels, and there is no compiler here"):
        checkpoints.read(path, EPOCHS)
    monkeypatch.setattr(native, "available", lambda: True)
    assert checkpoints.read(path, EPOCHS) is not None


def test_want_of_memory_is_no_damage(path, monkeypatch):
    def no_memory(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(torch, "load", no_memory)
    with pytest.raises(MemoryError):
        checkpoints.read(path, EPOCHS)
