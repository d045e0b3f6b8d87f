"""Networks trained together by one process: the step that a GPU would capture, run on the processor."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from bench.gpu_together import Resident, Trainer, losses, train
from fire.data.batches import Batches
from fire.errors import SpecError
from fire.model import build, fold
from fire.train.evaluation import evaluate
from fire.train.optimizers import build_optimizers, learning_rate
from fire.train.spec import TrainSpec

SPEC = TrainSpec(epochs=2, batch_size=64, lr=0.1, clip=1.0, precision="fp32")
STEPS = 3  # after more, roundings in another order have grown: a ReLU or a pool chooses another way
RECIPES = {
    "muon": replace(SPEC, optimizer="muon", muon_weight_decay=0.1),
    "sgd": replace(SPEC, clip=0.0, label_smoothing=0.1, schedule="linear"),
    "momentum": replace(SPEC, nesterov=False, weight_decay=0.01),
    "no momentum": replace(SPEC, momentum=0.0, nesterov=False, weight_decay=0.0),
}


@pytest.fixture
def trainers(narrow, digits, cpu):
    """Trainers of networks with these squeeze ratios, all with the same seed."""

    def make(*ratios: float, spec: TrainSpec = SPEC, data=digits) -> list[Trainer]:
        resident = Resident.of(data, spec, cpu)
        networks = [build(replace(narrow, sr=sr), 1, seed=5) for sr in ratios]
        return [Trainer(network, resident, spec, seed=3, precision="fp32") for network in networks]

    return make


def same_bits(a: Trainer, b: Trainer) -> bool:
    ours, theirs = a.network.state_dict(), b.network.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_all_networks_learn(trainers, digits, cpu):
    made = trainers(0.25, 0.5, 1.0, spec=replace(RECIPES["muon"], epochs=4))
    before = losses(made)
    train(made, 4)
    assert all(after < 0.5 * 2.3 for after in losses(made)), "ln 10 is 2.3"
    assert before == [0.0] * 3, "no step was taken"
    for trainer in made:
        test = Batches(digits.test, digits, SPEC, cpu)
        assert evaluate(fold(trainer.network), test, cpu).top1 > 0.85


def test_together_they_have_the_bits_that_each_has_alone(trainers):
    together = trainers(0.25, 0.5, 1.0, spec=RECIPES["muon"])
    train(together, 2)
    for number, ratio in enumerate((0.25, 0.5, 1.0)):
        (alone,) = trainers(ratio, spec=RECIPES["muon"])
        train([alone], 2)
        assert same_bits(alone, together[number])


@pytest.mark.parametrize("name", RECIPES)
def test_a_plain_loop_with_torchs_optimizers_gives_the_same_weights(name, trainers, narrow, digits, cpu):
    spec = RECIPES[name]
    data = replace(digits, spec=replace(digits.spec, mirror=True))
    (trainer,) = trainers(0.5, spec=spec, data=data)
    trainer.begin_epoch()
    for _ in range(STEPS):
        trainer.go()

    network = build(replace(narrow, sr=0.5), 1, seed=5).to(memory_format=torch.channels_last).train()
    optimizers = build_optimizers(network, spec)
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    images = torch.from_numpy(digits.train.images[digits.train.rows])
    labels = torch.from_numpy(digits.train.labels[digits.train.rows])
    mean, std = torch.tensor(digits.mean), torch.tensor(digits.std)
    generator = torch.Generator().manual_seed(3)
    order, mirrored = torch.randperm(1238, generator=generator), torch.rand(1238, generator=generator) < 0.5
    for step in range(STEPS):
        part = slice(64 * step, 64 * step + 64)
        batch = images[order[part]]
        batch = torch.where(mirrored[part, None, None, None], batch.flip(-1), batch)
        logits = network(((batch - mean) / std).to(memory_format=torch.channels_last))
        F.cross_entropy(logits, labels[order[part]], label_smoothing=spec.label_smoothing).backward()
        if spec.clip:
            torch.nn.utils.clip_grad_norm_(network.parameters(), spec.clip)
        for optimizer, tops in zip(optimizers, peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, tops, strict=True):
                group["lr"] = peak * learning_rate(spec, step, 2 * 19) / spec.lr
            optimizer.step()
        network.zero_grad()
    expected = network.state_dict()
    for key, tensor in trainer.network.state_dict().items():
        torch.testing.assert_close(
            tensor, expected[key], atol=2e-6, rtol=1e-5, msg=lambda text, key=key: f"{key}: {text}"
        )


def test_every_epoch_sees_all_images_in_another_order(trainers):
    (trainer,) = trainers(0.5)
    orders = []
    for _ in range(2):
        trainer.begin_epoch()
        orders.append(trainer._order.clone())
    assert all(order.sort().values.tolist() == list(range(1238)) for order in orders)
    assert not torch.equal(*orders)


def test_its_data_are_normalised_as_those_of_our_runs(digits, cpu):
    resident = Resident.of(digits, SPEC, cpu)
    images, labels = next(Batches(digits.train, digits, SPEC, cpu).in_order(10))
    assert torch.equal(resident.normalised(resident.images[:10]), images)
    assert torch.equal(resident.labels[:10], labels)


@pytest.mark.parametrize(("setting", "value"), [("shift", 2), ("mixup", 0.2), ("ema", 0.9), ("half_size_until", 0.4)])
def test_a_recipe_that_it_does_not_know_is_refused(setting, value, trainers):
    with pytest.raises(SpecError, match=f"train.{setting} must be 0 for networks trained together, got {value}"):
        trainers(0.5, spec=replace(SPEC, **{setting: value}))


def test_losses_are_reported(trainers, monkeypatch):
    monkeypatch.setattr("bench.gpu_together.REPORT_SECONDS", -1.0)
    made, seen = trainers(0.25, 0.5), []
    train(made, 1, seen.append)
    assert len(seen) == 19 + 1
    assert seen[-1] == losses(made)
    assert all(late < early for early, late in zip(seen[0], seen[-1], strict=True))
