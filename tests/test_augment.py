import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fire.data.batches import Batches, central_crop, mix, random_crop, random_erase, random_mirror
from fire.model import build
from fire.train.loop import Loop
from fire.train.spec import TrainSpec


def random_images(count: int, channels: int, size: int) -> Tensor:
    """Without a 0, so that a border filled with zeros shows."""
    return torch.from_numpy(np.random.default_rng(0).integers(1, 256, (count, channels, size, size)).astype(np.uint8))


@pytest.mark.parametrize(("stored", "size", "shift"), [(6, 6, 2), (7, 5, 0), (7, 5, 1), (6, 6, 0)])
def test_random_crop_is_a_window_of_the_padded_image(stored, size, shift, generator):
    images = random_images(400, 2, stored)
    cropped = random_crop(images, size, shift, generator)
    assert cropped.shape == (400, 2, size, size)
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (shift, shift), (shift, shift)))
    places = range(stored + 2 * shift - size + 1)
    found = set()
    for image, window in zip(padded, cropped.numpy(), strict=True):
        matches = [
            (top, left)
            for top in places
            for left in places
            if np.array_equal(image[:, top : top + size, left : left + size], window)
        ]
        assert len(matches) == 1
        found.add(matches[0])
    assert found == {(top, left) for top in places for left in places}  # 400 draws reach all of at most 25


def test_random_mirror_turns_about_half_of_the_images(generator):
    images = random_images(1000, 3, 5)
    mirrored = random_mirror(images, generator)
    turned = (mirrored == images.flip(-1)).flatten(1).all(1)
    kept = (mirrored == images).flatten(1).all(1)
    assert (turned ^ kept).all()
    assert 420 < turned.sum() < 580  # 5 standard deviations


def test_central_crop_of_a_known_image():
    image = torch.arange(25).view(1, 1, 5, 5)
    assert central_crop(image, 3)[0, 0].tolist() == [[6, 7, 8], [11, 12, 13], [16, 17, 18]]
    assert central_crop(image, 5)[0, 0].tolist() == image[0, 0].tolist()


@pytest.mark.parametrize("side", [1, 2, 3])
def test_random_erase_fills_one_square_around_any_pixel(side, generator):
    size = 5
    images = random_images(600, 2, size)
    fill = torch.tensor([10.6, 0.2]).view(1, 2, 1, 1)
    erased = random_erase(images, side, fill, generator)
    squares = []
    for row in range(size):
        for column in range(size):
            square = np.zeros((size, size), bool)
            top, left = row - side // 2, column - side // 2
            square[max(top, 0) : top + side, max(left, 0) : left + side] = True
            squares.append(square)
    seen = set()
    for image, result in zip(images.numpy(), erased.numpy(), strict=True):
        place = next(
            i
            for i, square in enumerate(squares)
            if np.array_equal(result, np.where(square, np.array([11, 0], np.uint8)[:, None, None], image))
        )
        seen.add(place)
    assert len(seen) == size * size  # 600 draws reach all 25


def batches_of(data_set, spec: TrainSpec, cpu) -> Batches:
    return Batches(data_set.train, data_set, spec, cpu)


def numbered(count: int, size: int = 4) -> np.ndarray:
    """Images that show their own number in every pixel."""
    return np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 1, size, size)).copy()


def test_in_order_shows_every_image_once_with_its_label(data_set_of, cpu):
    batches = batches_of(data_set_of(numbered(23), np.arange(23) % 10), TrainSpec(inputs="mean"), cpu)
    taken = list(batches.in_order(5))
    assert [len(images) for images, _ in taken] == [5, 5, 5, 5, 3]
    assert torch.cat([images for images, _ in taken])[:, 0, 0, 0].tolist() == list(range(23))
    assert torch.cat([labels for _, labels in taken]).tolist() == [i % 10 for i in range(23)]


def test_shuffled_shows_whole_batches_of_different_images_with_their_labels(data_set_of, cpu, generator):
    batches = batches_of(data_set_of(numbered(23), np.arange(23) % 10), TrainSpec(inputs="mean", mirror=False), cpu)
    taken = list(batches.shuffled(5, generator))
    assert len(taken) == batches.steps(5) == 4
    numbers = torch.cat([images for images, _ in taken])[:, 0, 0, 0].int().tolist()
    assert len(set(numbers)) == 20
    assert numbers != sorted(numbers)
    assert torch.cat([labels for _, labels in taken]).tolist() == [number % 10 for number in numbers]


def test_batch_larger_than_the_set_holds_all_of_it(data_set_of, cpu, generator):
    batches = batches_of(data_set_of(numbered(7)), TrainSpec(), cpu)
    assert [len(images) for images, _ in batches.shuffled(100, generator)] == [7]


def test_only_the_rows_of_the_set_are_shown(digits, cpu):
    batches = Batches(digits.validation, digits, TrainSpec(inputs="mean"), cpu)
    images, labels = next(batches.in_order(500))
    assert labels.tolist() == digits.validation.labels[digits.validation.rows].tolist()
    stored = digits.validation.images[digits.validation.rows].astype(np.float32)
    assert np.allclose(images.numpy(), stored - np.float32(digits.mean[0]))


AUGMENTED = TrainSpec(shift=2, erase=0.4, mirror=True)


def test_same_seed_same_batches(data_set_of, cpu):
    batches = batches_of(data_set_of(random_images(40, 3, 8).numpy()), AUGMENTED, cpu)

    def epoch(seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        return torch.cat([images for images, _ in batches.shuffled(8, generator)])

    assert torch.equal(epoch(1), epoch(1))
    assert not torch.equal(epoch(1), epoch(2))


def test_augmentation_leaves_the_stored_images_alone(data_set_of, cpu, generator):
    images = random_images(40, 3, 8).numpy()
    stored = images.copy()
    for batch, _ in batches_of(data_set_of(images), AUGMENTED, cpu).shuffled(8, generator):
        batch.zero_()
    assert np.array_equal(images, stored)


@pytest.mark.parametrize(("spec_mirrors", "data_mirrors"), [(True, False), (False, True), (True, True)])
def test_images_are_mirrored_only_where_data_and_recipe_allow_it(
    spec_mirrors, data_mirrors, data_set_of, cpu, generator
):
    image = np.arange(16, dtype=np.uint8).reshape(1, 1, 4, 4)
    data_set = data_set_of(np.repeat(image, 64, 0), mirror=data_mirrors)
    batches = batches_of(data_set, TrainSpec(mirror=spec_mirrors, inputs="mean"), cpu)
    images, _ = next(batches.shuffled(64, generator))
    turned = (images[:, 0, 0, 0] == 3).sum()
    assert (turned > 0) == (spec_mirrors and data_mirrors)


def test_images_larger_than_what_the_network_sees_are_cut(data_set_of, cpu, generator):
    batches = batches_of(data_set_of(random_images(8, 3, 9).numpy(), image_size=7), TrainSpec(), cpu)
    assert next(batches.in_order(4))[0].shape == (4, 3, 7, 7)
    assert next(batches.shuffled(4, generator))[0].shape == (4, 3, 7, 7)


@pytest.mark.parametrize("channels_last", [True, False])
def test_standard_inputs_have_mean_0_and_std_1(digits, cpu, channels_last):
    batches = Batches(digits.train, digits, TrainSpec(channels_last=channels_last), cpu)
    images, _ = next(batches.in_order(10_000))
    assert abs(images.mean()) < 0.02  # the moments are those of train and validation together
    assert abs(images.std() - 1) < 0.02
    wanted = torch.channels_last if channels_last else torch.contiguous_format
    # Of one channel images are contiguous in both layouts; the strides tell convolutions which one is meant.
    assert next(batches.in_order(4))[0].stride() == ((64, 1, 8, 1) if channels_last else (64, 64, 8, 1))
    assert images.is_contiguous(memory_format=wanted)


def test_mean_inputs_keep_the_scale_of_0_to_255(digits, cpu):
    batches = Batches(digits.train, digits, TrainSpec(inputs="mean"), cpu)
    images, _ = next(batches.in_order(10_000))
    assert abs(images.mean()) < 2
    assert images.max() - images.min() == 255
    assert (batches.mean, batches.scale) == ([digits.mean[0]], [1.0])


def test_mixed_images_are_blended_as_their_labels_are(data_set_of, cpu, narrow, generator):
    # Images of class k have the value 20 k everywhere, so a blended image says of which classes it is, and by how much.
    labels = np.arange(60) % 10
    data = data_set_of((20 * labels).astype(np.uint8)[:, None, None, None] * np.ones((1, 1, 4, 4), np.uint8), labels)
    spec = TrainSpec(mixup=1.0, inputs="mean", batch_size=30, label_smoothing=0.1)
    loop = Loop(build(narrow, channels=1), data, spec, epochs=1, seed=0, device=cpu)
    for images, targets in loop.batches.shuffled(30, generator):
        parts, classes = targets.topk(2)  # an image may be blended with one of its own class
        torch.testing.assert_close(parts.sum(1), torch.ones(30))
        expected = (20 * classes * parts).sum(1)
        torch.testing.assert_close(images, expected[:, None, None, None].expand(30, 1, 4, 4))
        logits = torch.randn(30, 10, generator=generator)
        losses = [F.cross_entropy(logits, classes[:, i], reduction="none", label_smoothing=0.1) for i in (0, 1)]
        by_hand = (parts[:, 0] * losses[0] + parts[:, 1] * losses[1]).mean()
        torch.testing.assert_close(loop.cross_entropy(logits, images, targets), by_hand)


def test_parts_of_mixed_images_have_a_beta_distribution(generator):
    # A row of the identity matrix keeps 1 - part of its 1 on the diagonal, unless it is blended with itself.
    drawn = [float(mix(torch.eye(20), torch.eye(20), 0.4, generator)[0].diagonal().min()) for _ in range(2000)]
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.03)
    assert np.var(drawn) == pytest.approx(1 / (4 * (2 * 0.4 + 1)), abs=0.01)  # of Beta(a, a): 1 / (4 (2 a + 1))
