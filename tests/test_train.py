import re
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from fire.data.batches import Batches
from fire.errors import TrainingError
from fire.machine import hardware
from fire.model import build, fold
from fire.train.checkpoints import CheckpointError
from fire.train.evaluation import Scores, autocast, evaluate
from fire.train.optimizers import learning_rate
from fire.train.progress import Progress
from fire.train.spec import TrainSpec
from fire.train.training import Trained, train

QUICK = TrainSpec(epochs=3, batch_size=64, lr=0.1, precision="fp32", shift=1)


class Killed(Exception):  # noqa: N818 (it plays the end of a process)
    pass


def killed_after(epochs: int):
    """A report callback that ends the run after this number of whole epochs."""

    def report(progress: Progress) -> None:
        if len(progress.curve) == epochs:
            raise Killed

    return report


def same_weights(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    assert ours.keys() == theirs.keys()
    return all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.fixture
def run(narrow, digits, cpu):
    """Train a freshly built network."""

    def go(spec: TrainSpec = QUICK, arch=narrow, seed: int = 0, **options) -> Trained:
        return train(build(arch, channels=1, seed=seed), digits, spec, seed=seed, device=cpu, **options)

    return go


def scores_on_test(trained: Trained, digits, cpu) -> Scores:
    return evaluate(trained.network, Batches(digits.test, digits, TrainSpec(), cpu), cpu, trained.precision)


def test_digits_are_learned(run, digits, cpu):
    spec = TrainSpec(epochs=5, batch_size=32, lr=0.1, precision="fp32", label_smoothing=0.05)
    trained = run(spec)
    scores = scores_on_test(trained, digits, cpu)
    assert scores.top1 > 0.9
    assert scores.top5 > 0.98
    assert scores.loss < 0.5
    assert [epoch.epoch for epoch in trained.curve] == [1, 2, 3, 4, 5]
    assert trained.curve[-1].train_loss < trained.curve[0].train_loss
    validation = evaluate(fold(trained.network), Batches(digits.validation, digits, spec, cpu), cpu)
    assert (validation.top1, validation.loss) == (trained.curve[-1].validation_top1, trained.curve[-1].validation_loss)


def test_digits_are_learned_without_batch_normalisation(run, narrow, digits, cpu):
    spec = TrainSpec(epochs=8, batch_size=32, lr=0.05, clip=1.0, precision="fp32")
    assert scores_on_test(run(spec, replace(narrow, norm="none")), digits, cpu).top1 > 0.85


def test_linear_schedule_by_hand():
    spec = TrainSpec(lr=0.8, schedule="linear")
    assert [learning_rate(spec, step, 4) for step in range(4)] == pytest.approx([0.8, 0.6, 0.4, 0.2])


def test_onecycle_schedule_by_hand():
    spec = TrainSpec(lr=0.9, warmup=0.2)
    up, down = [0.3, 0.6], [0.9 * left / 8 for left in range(8, 0, -1)]  # 2 steps up, 8 down to just above 0
    assert [learning_rate(spec, step, 10) for step in range(10)] == pytest.approx([*up, *down])
    assert learning_rate(TrainSpec(lr=0.9, warmup=0.0), 0, 10) == 0.9
    assert learning_rate(TrainSpec(lr=1.0, warmup=1.0), 9, 10) == pytest.approx(10 / 11)


def test_curve_holds_the_learning_rate_of_each_epochs_last_step(run):
    spec = replace(QUICK, schedule="linear", lr=0.06)
    steps = 3 * (1238 // 64)
    expected = [0.06 * (1 - (epoch * steps / 3 - 1) / steps) for epoch in (1, 2, 3)]
    assert [epoch.lr for epoch in run(spec).curve] == pytest.approx(expected)


def test_same_seed_same_bits_and_another_seed_others(run, narrow):
    dropping = replace(narrow, dropout=0.3)
    before = torch.get_rng_state()
    first = run(arch=dropping)
    assert torch.equal(torch.get_rng_state(), before)  # the run drew from generators of its own
    torch.manual_seed(123)
    again = run(arch=dropping)
    assert same_weights(first.network, again.network)
    assert [row.validation_loss for row in first.curve] == [row.validation_loss for row in again.curve]
    assert not same_weights(first.network, run(arch=dropping, seed=1).network)


def test_every_epoch_sees_the_images_in_another_order(narrow, digits, cpu):
    network = build(narrow, channels=1)
    batches: list[Tensor] = []
    network.register_forward_pre_hook(
        lambda module, inputs: batches.append(inputs[0].clone()) if module.training else None
    )
    train(network, digits, replace(QUICK, epochs=2, shift=0), seed=0, device=cpu)
    first, second = batches[: len(batches) // 2], batches[len(batches) // 2 :]
    assert len(first) == len(second) == 1238 // 64
    assert not any(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_first_steps_see_images_of_half_the_side(narrow, digits, cpu):
    network = build(narrow, channels=1)
    sides: list[int] = []
    network.register_forward_pre_hook(
        lambda module, inputs: sides.append(inputs[0].shape[-1]) if module.training else None
    )
    train(network, digits, replace(QUICK, epochs=2, half_size_until=0.7), seed=0, device=cpu)
    steps = 2 * (1238 // 64)
    assert sides == [4] * 27 + [8] * (steps - 27)  # 0.7 * 38 = 26.6


@pytest.mark.parametrize(
    ("changes", "epochs"),
    [
        ({}, 1),
        ({"ema": 0.9, "erase": 0.3, "clip": 1.0, "mixup": 0.4, "half_size_until": 0.5}, 2),
        ({"optimizer": "muon"}, 1),
    ],
    ids=["plain", "ema", "muon"],
)
def test_killed_run_goes_on_to_the_same_bits(changes, epochs, run, narrow, tmp_path):
    spec, arch = replace(QUICK, **changes), replace(narrow, dropout=0.3, bypass="simple")
    whole = run(spec, arch)
    with pytest.raises(Killed):
        run(spec, arch, checkpoint=tmp_path / "checkpoint", report=killed_after(epochs))
    seen = []
    resumed = run(spec, arch, checkpoint=tmp_path / "checkpoint", report=lambda progress: seen.append(progress))
    assert same_weights(whole.network, resumed.network)
    for field in ("epoch", "lr", "train_loss", "validation_loss", "validation_top1"):
        assert [getattr(row, field) for row in whole.curve] == [getattr(row, field) for row in resumed.curve]
    assert min(progress.epochs_done for progress in seen) > epochs  # what was done is not done again
    assert [row.seconds for row in resumed.curve] == sorted(row.seconds for row in resumed.curve)


def test_finished_run_is_read_from_its_checkpoint(run, tmp_path):
    whole = run(checkpoint=tmp_path / "checkpoint")
    again = run(checkpoint=tmp_path / "checkpoint", report=killed_after(3))  # trains no epoch: no report
    assert same_weights(whole.network, again.network)
    assert again.curve == whole.curve


def test_a_damaged_checkpoint_and_one_of_another_recipe_are_refused(run, tmp_path):
    path = tmp_path / "checkpoint"
    with pytest.raises(Killed):
        run(checkpoint=path, report=killed_after(2))
    threads = torch.get_num_threads()
    for spec in (replace(QUICK, epochs=1), replace(QUICK, ema=0.9), replace(QUICK, momentum=0.5)):
        with pytest.raises(CheckpointError):
            run(spec, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="the checkpoint is damaged"):
        run(checkpoint=path)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precision_chosen_by_the_hardware_is_recorded_and_gives_the_same_bits(precision, run, monkeypatch):
    monkeypatch.setattr(hardware, "has_fast_bf16", lambda device: precision == "bf16")
    chosen = run(replace(QUICK, epochs=1, precision="auto"))
    assert chosen.precision == precision
    assert same_weights(chosen.network, run(replace(QUICK, epochs=1, precision=precision)).network)


def test_another_precision_is_an_error(cpu):
    with pytest.raises(ValueError, match=r"train.precision must be .*, got 'fp16'"):
        autocast(cpu, "fp16")


def test_bf16_rounds_and_learns(run):
    rounded = run(replace(QUICK, precision="bf16"))
    assert rounded.precision == "bf16"
    assert rounded.curve[-1].train_loss < rounded.curve[0].train_loss
    assert not same_weights(rounded.network, run().network)
    assert all(parameter.dtype == torch.float32 for parameter in rounded.network.parameters())


def test_averaged_weights_are_the_moving_average_of_each_steps_weights(narrow, digits, cpu):
    network = build(narrow, channels=1)
    states: list[Tensor] = []

    def record(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if module.training:  # before a step: the weights after the step before
            states.append(network.conv6.weight.detach().clone())

    network.register_forward_pre_hook(record)
    kept = train(network, digits, replace(QUICK, epochs=1, ema=0.8), seed=0, device=cpu).network
    states.append(network.conv6.weight.detach().clone())
    average = states[1]
    for state in states[2:]:
        average = 0.8 * average + 0.2 * state
    torch.testing.assert_close(kept.conv6.weight.detach(), average)
    assert not torch.allclose(average, states[-1])


def test_weight_decay_spares_biases_and_normalisation(narrow, digits, cpu):
    # A single step with gradients scaled down to nearly nothing: a weight loses lr * decay of itself.
    spec = TrainSpec(epochs=1, batch_size=2000, lr=0.01, warmup=0.0, weight_decay=10, momentum=0.0, nesterov=False)
    network = build(narrow, channels=1)
    start = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    spec = replace(spec, precision="fp32", clip=1e-9)
    train(network, digits, spec, seed=0, device=cpu)
    for name, parameter in network.named_parameters():
        left = 0.9 if parameter.ndim > 1 else 1.0
        torch.testing.assert_close(parameter.detach(), left * start[name], rtol=1e-5, atol=1e-7)


def stuck(network: nn.Module, digits, cpu, spec: TrainSpec = QUICK) -> str:
    """What training says of a network that is stuck, on one line."""
    with pytest.raises(TrainingError) as caught:
        train(network, digits, spec, seed=0, device=cpu)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_dead_network_is_reported_with_the_loss_of_chance(narrow, digits, cpu):
    network = build(replace(narrow, final_relu=True, norm="none"), channels=1)
    with torch.no_grad():
        network.conv6.bias.fill_(-1000)  # the ReLU after the last convolution lets nothing through
    assert stuck(network, digits, cpu) == (
        "stuck at chance since epoch 1: the logits are 0 for every image, the loss is 2.3026 where ln 10 = 2.3026; "
        "lower train.lr=0.1 or set arch.norm=batch or set arch.final_relu=false"
    )


def test_advice_leaves_out_what_the_network_has(narrow, digits, cpu):
    network = build(narrow, channels=1)  # with batch normalisation, without the last ReLU
    with torch.no_grad():
        network.conv1.weight.zero_()
        network.conv1.norm.weight.zero_()  # no image gets beyond conv1, and no gradient into it
        network.conv1.norm.bias.fill_(-1)
    muon = replace(QUICK, optimizer="muon", lr=0.1, muon_lr=1e-9)
    message = stuck(network, digits, cpu, muon)
    assert message.startswith("stuck at chance since epoch 1: the logits are the same for every image, the loss is 2.")
    assert message.endswith("; lower train.lr=0.1 and train.muon_lr=1e-09")


def test_network_that_learned_nothing_in_many_steps_is_reported(narrow, digits, cpu):
    spec = replace(QUICK, epochs=6, lr=1e-9)  # 19 batches of 64 among 1,238 images
    message = stuck(build(narrow, channels=1), digits, cpu, spec)
    assert message.startswith("stuck at chance: after 114 steps the loss is 2.30")
    assert message.endswith(" where ln 10 = 2.3026; change train.lr=1e-09")


def test_network_that_had_no_time_to_learn_is_finished_with_a_warning(run):
    trained = run(replace(QUICK, epochs=1, batch_size=512, lr=1e-9))
    assert re.fullmatch(
        r"at chance after 2 steps, which may be too few to learn: the loss is 2\.30\d\d where ln 10 = 2\.3026",
        str(trained.warning),
    )
    assert run(replace(QUICK, epochs=1)).warning is None, "a network that has learned something"


def test_averaged_weights_that_are_partly_the_initial_ones_are_warned_of(run, digits):
    steps = len(digits.train) // 64
    spec = replace(QUICK, epochs=1, ema=0.99)
    part = f"{100 * 0.99 ** (steps - 1):.0f} % those after the first of {steps} steps"
    assert run(spec).warning == f"the averaged weights are {part}: set train.ema=0 or train longer"
    assert run(replace(spec, epochs=2), stop_epoch=1).warning is None, "it goes on"
    assert run(replace(spec, ema=0.5)).warning is None
    assert replace(spec, ema=0.0).initial_share(1) == 0, "of a single step, too"


def test_diverged_run_is_reported(run, narrow):
    with pytest.raises(TrainingError, match=r"diverged: the loss is nan in epoch 1; lower train\.lr=1e[+]10"):
        run(replace(QUICK, lr=1e10), replace(narrow, norm="none"))


def test_a_network_that_diverges_in_its_last_step_is_reported(run, narrow):
    one_step = replace(QUICK, epochs=1, batch_size=5000, lr=1e30)  # its own loss is of the network before it
    with pytest.raises(
        TrainingError, match=r"diverged: the validation loss is \w+ after epoch 1; lower train\.lr=1e[+]30"
    ):
        run(one_step, replace(narrow, norm="none"))


def test_progress_counts_epochs_and_images(run):
    seen: list[Progress] = []
    run(report=seen.append)
    whole = [progress for progress in seen if progress.epochs_done == len(progress.curve)]
    assert [progress.epochs_done for progress in whole] == [1, 2, 3]
    assert all(progress.epochs == 3 and progress.images_per_second > 0 for progress in seen)
    assert whole[-1].loss == pytest.approx(whole[-1].curve[-1].train_loss)
