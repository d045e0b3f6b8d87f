import math
from dataclasses import replace

import pytest

from fire.compress.methods import coder_of
from fire.compress.spec import CompressSpec
from fire.errors import InputError, SpecError
from fire.fields import settings_of
from fire.weights.integers import CODERS
from tests.sweeping import point


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("method", "zip", "one of none, deep_compression, entropy"),
        ("epochs", 0, "at least 1"),
        ("final_epochs", -1, "at least 0"),
        ("lr", 0.0, "above 0 and finite"),
        ("lr", math.inf, "above 0 and finite"),
        ("final_lr", math.nan, "above 0 and finite"),
        ("distillation", 1.5, "in [0, 1]"),
        ("bias_bits", 1, "in [2, 16]"),
        ("pruning", "random", "one of sensitivity, table"),
        ("density", 0.0, "in (0, 1]"),
        ("density", 1.01, "in (0, 1]"),
        ("conv_bits", 0, "in [1, 8]"),
        ("fc_bits", 9, "in [1, 8]"),
        ("coder", "zip", "one of auto, adaptive, huffman"),
        ("rate", -0.1, "at least 0 and finite"),
    ],
)
def test_bad_values_are_refused_with_field_rule_and_value(field, value, rule):
    with pytest.raises(SpecError) as caught:
        CompressSpec(**{field: value})
    assert str(caught.value) == f"compress.{field} must be {rule}, got {value!r}"


@pytest.mark.parametrize(
    ("method", "coder", "expected"),
    [
        ("deep_compression", "auto", "huffman"),
        ("entropy", "auto", "adaptive"),
        ("deep_compression", "adaptive", "adaptive"),
        ("entropy", "huffman", "huffman"),
    ],
)
def test_each_method_has_a_coder_of_its_own(method, coder, expected):
    assert coder_of(CompressSpec(method=method, coder=coder)) == expected


def test_every_coder_can_be_chosen():
    assert set(settings_of(CompressSpec)["coder"].choices) == {"auto", *CODERS}


def test_nothing_is_compressed_unless_asked_for():
    assert CompressSpec().method == "none"


def test_a_network_without_published_densities_is_not_pruned_by_them():
    deep = ("arch=resnet8", "data=cifar10", "compress=deep_compression")
    assert point(*deep).config.family == "resnet8"
    with pytest.raises(InputError) as caught:
        point(*deep, "compress.pruning=table")
    assert (
        str(caught.value) == "compress.pruning must be sensitivity for resnet8, which no paper has pruned, got 'table'"
    )


@pytest.mark.parametrize(
    ("method", "unused"),
    [
        ({"method": "deep_compression"}, {"rate": 0.7}),
        ({"method": "deep_compression", "pruning": "table"}, {"density": 0.7}),
        ({"method": "entropy"}, {"density": 0.7, "conv_bits": 3, "fc_bits": 3, "pruning": "table"}),
        ({"method": "entropy", "final_epochs": 0}, {"final_lr": 0.7}),
    ],
    ids=str,
)
def test_settings_that_a_method_does_not_read_do_not_change_the_key(method, unused):
    plain = point().config
    specs = [CompressSpec(**method), CompressSpec(**{**method, **unused})]
    assert len({replace(plain, compress=spec).key for spec in specs}) == 1
