"""A choice that a specification lets through and no code implements is an error that names it, wherever it is read."""

import copy
from typing import Any

import pytest
import torch

from fire import blocks, model
from fire.arch import FAMILIES, AlexNetSpec, ResNet8Spec, SqueezeNetSpec
from fire.compress.methods import coder_of, compress
from fire.compress.spec import CompressSpec
from fire.cost import count, tensors
from fire.cost_grid import count_grid
from fire.data import decoding, sources
from fire.data.batches import Batches
from fire.data.spec import DataSpec
from fire.errors import SpecError
from fire.fields import settings_of
from fire.machine.accelerate import accelerate
from fire.train.evaluation import autocast
from fire.train.optimizers import build_optimizers, learning_rate
from fire.train.spec import TrainSpec
from fire.train.training import train
from fire.weights import integers
from sweep.search.guided import beginning
from sweep.search.searcher import Searcher, Trial
from sweep.search.spec import SearchSpec
from sweep.store import Store
from tests.pictures import add, grey, listed, spec, truncate
from tests.searching import space


def let_through(specification: Any, **fields: str) -> Any:
    """A copy with values that validation would refuse, as if they had been added to the choices."""
    replica = copy.copy(specification)
    for name, value in fields.items():
        object.__setattr__(replica, name, value)
    return replica


@pytest.fixture
def folded(narrow) -> torch.nn.Sequential:
    return model.fold(model.build(narrow, channels=1))


def test_every_choice_is_tested_here():
    chosen = {
        f"{cls.__name__}.{name}"
        for cls in (*FAMILIES.values(), DataSpec, TrainSpec, CompressSpec, SearchSpec)
        for name, setting in settings_of(cls).items()
        if setting.choices
    }
    assert chosen == {
        *("SqueezeNetSpec.bypass", "SqueezeNetSpec.norm", "SqueezeNetSpec.version"),
        *("AlexNetSpec.norm", "AlexNetSpec.version", "ResNet8Spec.norm"),
        *("DataSpec.name", "DataSpec.resize", "DataSpec.on_corrupt"),
        *(f"TrainSpec.{name}" for name in ("optimizer", "schedule", "init", "inputs", "precision", "kernels")),
        *("CompressSpec.method", "CompressSpec.pruning", "CompressSpec.coder"),
        *("SearchSpec.sampler", "SearchSpec.warm_start"),
    }


def bypass_of_a_spec():
    return let_through(SqueezeNetSpec(), bypass="another")


FIRE = blocks.Fire(name="fire2", inputs=8, s1x1=2, e1x1=4, e3x3=4, bypass="another")


@pytest.mark.parametrize(
    "use",
    [
        lambda: bypass_of_a_spec().plan(),
        lambda: count(bypass_of_a_spec()),
        lambda: count_grid(bypass=["none", "simple", "complex", "another"]),
        lambda: model.build(bypass_of_a_spec()),
        lambda: model.assemble((FIRE,)),
        lambda: tensors(FIRE),
    ],
)
def test_bypass(use):
    with pytest.raises(SpecError, match=r"^bypass must be .*, got 'another'$"):
        use()


@pytest.mark.parametrize("plain", [SqueezeNetSpec(), AlexNetSpec(), ResNet8Spec()])
def test_norm(plain):
    with pytest.raises(SpecError, match=r"^norm must be .*, got 'another'$"):
        let_through(plain, norm="another").plan()


@pytest.mark.parametrize("plain", [SqueezeNetSpec(), AlexNetSpec()])
def test_version(plain):
    with pytest.raises(KeyError, match="another"):
        let_through(plain, version="another").plan()


@pytest.mark.parametrize("field", ["optimizer", "schedule", "inputs", "precision", "kernels"])
def test_training(field, folded, digits, cpu):
    recipe = let_through(TrainSpec(epochs=1), **{field: "another"})
    with pytest.raises(SpecError, match=rf"^train.{field} must be .*, got 'another'$"):
        train(folded, digits, recipe, seed=0, device=cpu)


@pytest.mark.parametrize(
    ("field", "use"),
    [
        ("optimizer", lambda recipe: build_optimizers(torch.nn.Linear(1, 2), recipe)),
        ("schedule", lambda recipe: learning_rate(recipe, 0, 1)),
        ("init", lambda recipe: model.build(SqueezeNetSpec(), init=recipe.init)),
        ("precision", lambda recipe: autocast(torch.device("cpu"), recipe.precision)),
        ("kernels", lambda recipe: accelerate(torch.nn.Sequential(), recipe.kernels)),
    ],
)
def test_parts_of_training(field, use):
    with pytest.raises(SpecError, match=rf"^train.{field} must be .*, got 'another'$"):
        use(let_through(TrainSpec(), **{field: "another"}))


def test_inputs(data_set_of, cpu):
    images = data_set_of(torch.zeros(1, 1, 2, 2, dtype=torch.uint8).numpy())
    with pytest.raises(SpecError, match=r"^train.inputs must be .*, got 'another'$"):
        Batches(images.train, images, let_through(TrainSpec(), inputs="another"), cpu)


@pytest.mark.parametrize("field", ["method", "pruning"])
def test_compression(field, folded, digits, cpu):
    changed = let_through(CompressSpec(method="deep_compression", epochs=1), **{field: "another"})
    with pytest.raises(SpecError, match=rf"^compress.{field} must be .*, got 'another'$"):
        compress(folded, digits, changed, train=TrainSpec(epochs=1), seed=0, device=cpu)


def test_data_set(tmp_path):
    with pytest.raises(ImportError, match=r"another"):
        sources.decode(let_through(DataSpec(), name="another"), tmp_path, tmp_path)


def test_resize(tmp_path):
    picture = listed(add(tmp_path, "a.png", grey(90)))
    with pytest.raises(ValueError, match=r"data.resize must be .*, got 'another'"):
        decoding.decode([picture], tmp_path / "out.npy", let_through(spec(tmp_path), resize="another"))


def test_on_corrupt(tmp_path):
    path = add(tmp_path, "a.png", grey(90))
    truncate(path)
    with pytest.raises(SpecError, match=r"^data.on_corrupt must be .*, got 'another'$"):
        decoding.decode([listed(path)], tmp_path / "out.npy", let_through(spec(tmp_path), on_corrupt="another"))


def test_coder():
    coder = coder_of(let_through(CompressSpec(method="entropy"), coder="another"))
    for use in (integers.encode, integers.decode):
        with pytest.raises(SpecError, match=r"^coder must be .*, got 'another'$"):
            use(coder, [], [])


def test_sampler():
    searcher = Searcher(space(), let_through(SearchSpec(budget_runs=2), sampler="another"), 1)
    with pytest.raises((KeyError, ValueError), match="another"):
        searcher.next({})


def test_warm_start(tmp_path):
    with pytest.raises(SpecError, match=r"^search.warm_start must be .*, got 'another'$"):
        beginning(space(), let_through(SearchSpec(), warm_start="another"), Store(tmp_path))


def test_objective():
    searcher = Searcher(space(), let_through(SearchSpec(), objectives=["another"]), 1)
    with pytest.raises((KeyError, ValueError), match="another"):
        searcher.losses(0, Trial(status="finished", top1=0.5))
