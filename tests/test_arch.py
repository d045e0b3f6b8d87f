"""Facts: Iandola et al. 2016, arXiv:1602.07360v4: table 1, sections 3, 5.1 and 6."""

import dataclasses
import itertools
import math

import pytest

from fire.arch import AlexNetSpec, SqueezeNetSpec
from fire.blocks import AveragePool, Conv, Dropout, Fire, Linear, MaxPool
from fire.cost import conv_side, pool_side
from fire.data.spec import DataSpec
from fire.errors import InputError, SpecError
from fire.train.spec import TrainSpec


def fires(**fields) -> dict[str, Fire]:
    return {block.name: block for block in SqueezeNetSpec(**fields).plan() if isinstance(block, Fire)}


def parameters(block: Conv | Fire) -> int:
    if isinstance(block, Conv):
        return (block.inputs * block.kernel**2 + 1) * block.outputs
    squeeze = (block.inputs + 1) * block.s1x1
    return squeeze + (block.s1x1 + 1) * block.e1x1 + (9 * block.s1x1 + 1) * block.e3x3


@pytest.mark.parametrize(
    ("name", "sizes", "published"),
    [
        ("conv1", None, 14_208),
        ("fire2", (16, 64, 64), 11_920),
        ("fire3", (16, 64, 64), 12_432),
        ("fire4", (32, 128, 128), 45_344),
        ("fire5", (32, 128, 128), 49_440),
        ("fire6", (48, 192, 192), 104_880),
        ("fire7", (48, 192, 192), 111_024),
        ("fire8", (64, 256, 256), 188_992),
        ("fire9", (64, 256, 256), 197_184),
        ("conv10", None, 513_000),
    ],
)
def test_layers_of_table_1(name, sizes, published):
    block = next(block for block in SqueezeNetSpec().plan() if block.name == name)
    assert parameters(block) == published
    if sizes:
        assert (block.s1x1, block.e1x1, block.e3x3) == sizes


def test_order_of_v1_0_and_v1_1():
    fire_2_to_9 = [f"fire{i}" for i in range(2, 10)]
    names = [block.name for block in SqueezeNetSpec().plan()]
    tail = ["drop9", "conv10", "pool10"]
    assert names == ["conv1", "pool1", *fire_2_to_9[:3], "pool4", *fire_2_to_9[3:7], "pool8", "fire9", *tail]
    names = [block.name for block in SqueezeNetSpec(version="1.1").plan()]
    assert names == ["conv1", "pool1", *fire_2_to_9[:2], "pool3", *fire_2_to_9[2:4], "pool5", *fire_2_to_9[4:], *tail]


@pytest.mark.parametrize(
    ("version", "filters", "kernel", "stride"), [("1.0", 96, 7, 2), ("1.1", 64, 3, 2), ("small", 64, 3, 1)]
)
def test_conv1_of_each_version(version, filters, kernel, stride):
    conv1 = SqueezeNetSpec(version=version).plan(channels=1)[0]
    assert (conv1.inputs, conv1.outputs, conv1.kernel, conv1.stride) == (1, filters, kernel, stride)


def test_v1_1_is_v1_0_with_another_stem_and_other_pools():
    # The release notes of SqueezeNet v1.1: 64 filters of 3x3 in conv1, pools after layers 1, 3 and 5.
    assert SqueezeNetSpec(conv1=64, stem_kernel=3, pools="1+3+5").plan() == SqueezeNetSpec(version="1.1").plan()


@pytest.mark.parametrize("kernel", [1, 3, 5, 7])
def test_the_small_stem_keeps_the_side_of_the_map(kernel):
    conv1 = SqueezeNetSpec(version="small", stem_kernel=kernel).plan()[0]
    assert (conv1.kernel, conv_side(28, conv1.kernel, conv1.stride, conv1.pad)) == (kernel, 28)


@pytest.mark.parametrize(
    ("pools", "names"),
    [("none", []), ("1", ["pool1"]), ("4+9", ["pool4", "pool9"]), ("version", ["pool1", "pool4", "pool8"])],
)
def test_pools_lie_where_they_are_asked_for(pools, names):
    plan = SqueezeNetSpec(pools=pools, stem_stride=3).plan()
    assert [block.name for block in plan if isinstance(block, MaxPool)] == names
    assert [plan[plan.index(block) - 1].name[-1] for block in plan if isinstance(block, MaxPool)] == [
        name[-1] for name in names
    ]
    assert plan[0].stride == 3


def test_map_sides_of_v1_0_at_227_pixels():
    side = 227
    sides = [side]
    for block in SqueezeNetSpec().plan():
        if isinstance(block, Conv):
            side = conv_side(side, block.kernel, block.stride, block.pad)
        elif isinstance(block, MaxPool):
            side = pool_side(side, block.kernel, block.stride)
        else:
            continue
        sides.append(side)
    assert sides == [227, 111, 55, 27, 13, 13]


def test_conv10_pad_of_the_caffe_release_widens_the_map_to_15():
    conv10 = SqueezeNetSpec(conv10_pad=1).plan()[-2]
    assert conv_side(13, conv10.kernel, conv10.stride, conv10.pad) == 15


def test_expand_filters_grow_every_freq_modules():
    # e_i = base_e + incr_e * floor(i / freq), i from 0: section 5.1.
    assert [fire.outputs for fire in fires(base_e=10, incr_e=7, freq=3).values()] == [10, 10, 10, 17, 17, 17, 24, 24]


def test_sr_is_squeeze_over_expand_filters():
    assert [fire.s1x1 for fire in fires(sr=0.75).values()] == [96, 96, 192, 192, 288, 288, 384, 384]


def test_rounding_to_no_filters_leaves_the_branch_out_and_keeps_the_width():
    module = fires(base_e=32, pct_3x3=0.01)["fire2"]
    assert (module.e1x1, module.e3x3) == (32, 0)
    module = fires(pct_3x3=1)["fire2"]
    assert (module.e1x1, module.e3x3) == (0, 128)


def test_squeeze_layer_keeps_at_least_one_filter():
    assert fires(base_e=4, incr_e=0, sr=0.01)["fire2"].s1x1 == 1


@pytest.mark.parametrize(
    ("bypass", "kinds"),
    [
        ("none", ["none"] * 8),
        ("simple", ["none", "identity"] * 4),
        ("complex", ["conv", "identity"] * 4),
    ],
)
def test_bypass_of_fire2_to_fire9(bypass, kinds):
    assert [fire.bypass for fire in fires(bypass=bypass).values()] == kinds


def test_simple_bypass_follows_the_widths():
    assert fires(bypass="simple", conv1=128)["fire2"].bypass == "identity"
    assert [fire.bypass for fire in fires(bypass="simple", freq=1, incr_e=0).values()] == ["none"] + ["identity"] * 7


@pytest.mark.parametrize(
    "fields", [{"freq": 1}, {"fires": 1}, {"freq": 1, "fires": 3, "base_e": 32, "incr_e": 8}], ids=str
)
def test_simple_bypass_that_would_change_nothing_is_refused(fields):
    with pytest.raises(SpecError, match="bypass must not be 'simple' where no Fire module has as many") as caught:
        SqueezeNetSpec(bypass="simple", **fields)
    assert f"freq={fields.get('freq', 2)}" in str(caught.value)


def test_without_dropout_there_is_no_such_layer():
    assert not any(isinstance(block, Dropout) for block in SqueezeNetSpec(dropout=0).plan())


def test_names_follow_the_number_of_modules():
    names = [block.name for block in SqueezeNetSpec(fires=3).plan()]
    assert names[-4:] == ["pool4", "drop4", "conv5", "pool5"]


def test_alexnet_is_the_grouped_one():
    plan = AlexNetSpec().plan()
    groups = {block.name: block.groups for block in plan if isinstance(block, Conv)}
    assert groups == {"conv1": 1, "conv2": 2, "conv3": 1, "conv4": 2, "conv5": 2}
    assert [block.inputs for block in plan if isinstance(block, Linear)] == [9216, 4096, 4096]
    assert not plan[-1].relu


def test_small_alexnet_keeps_the_filters():
    caffe, small = (
        {block.name: block for block in AlexNetSpec(version=version).plan()} for version in ("caffe", "small")
    )
    assert [caffe[f"conv{i}"].outputs for i in range(1, 6)] == [small[f"conv{i}"].outputs for i in range(1, 6)]
    assert isinstance(small["resize5"], AveragePool)
    assert small["fc6"].inputs == 256 * 3 * 3


def test_specifications_are_frozen_and_compare_by_value():
    assert SqueezeNetSpec(sr=0.5) == SqueezeNetSpec(sr=0.5)
    assert hash(SqueezeNetSpec(sr=0.5)) == hash(SqueezeNetSpec(sr=0.5))
    with pytest.raises(dataclasses.FrozenInstanceError):
        SqueezeNetSpec().sr = 0.5


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"base_e": 0}, "base_e must be in [1, 1048576], got 0"),
        ({"incr_e": -1}, "incr_e must be in [0, 1048576], got -1"),
        ({"freq": 0}, "freq must be in [1, 1048576], got 0"),
        ({"pct_3x3": 1.01}, "pct_3x3 must be in [0, 1], got 1.01"),
        ({"pct_3x3": -0.5}, "pct_3x3 must be in [0, 1], got -0.5"),
        ({"sr": 7.0}, "sr must be in (0, 1], got 7.0"),
        ({"sr": 0.0}, "sr must be in (0, 1], got 0.0"),
        ({"sr": math.nan}, "sr must be in (0, 1], got nan"),
        ({"bypass": "both"}, "bypass must be one of none, simple, complex, got 'both'"),
        ({"version": "2.0"}, "version must be one of 1.0, 1.1, small, got '2.0'"),
        ({"fires": 0}, "fires must be in [1, 512], got 0"),
        ({"fires": 10**9}, "fires must be in [1, 512], got 1000000000"),
        ({"conv1": -3}, "conv1 must be in [0, 1048576], got -3"),
        ({"stem_kernel": -1}, "stem_kernel must be in [0, 1048576], got -1"),
        ({"stem_stride": -1}, "stem_stride must be in [0, 1048576], got -1"),
        ({"pools": "10"}, "pools must follow layers from 1, conv1, to 9, the last module, got '10'"),
        ({"pools": "4+1"}, "pools must be version, none, or ascending numbers of layers such as 1+4, got '4+1'"),
        ({"pools": "4+4"}, "pools must be version, none, or ascending numbers of layers such as 1+4, got '4+4'"),
        ({"pools": "0"}, "pools must be version, none, or ascending numbers of layers such as 1+4, got '0'"),
        ({"pools": ""}, "pools must be version, none, or ascending numbers of layers such as 1+4, got ''"),
        ({"snap": 0}, "snap must be in [1, 1048576], got 0"),
        ({"conv10_pad": -1}, "conv10_pad must be in [0, 1048576], got -1"),
        ({"classes": 1}, "classes must be in [2, 1048576], got 1"),
        ({"norm": "layer"}, "norm must be one of none, batch, got 'layer'"),
        ({"dropout": 1.0}, "dropout must be in [0, 1), got 1.0"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_values_out_of_range_are_refused_with_field_rule_and_value(fields, message):
    with pytest.raises(SpecError) as caught:
        SqueezeNetSpec(**fields)
    assert str(caught.value) == message
    assert isinstance(caught.value, InputError)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"version": "1.0"}, "version must be one of caffe, small, got '1.0'"),
        ({"fc": 0}, "fc must be in [1, 1048576], got 0"),
        ({"norm": "layer"}, "norm must be one of response, batch, none, got 'layer'"),
        ({"classes": 0}, "classes must be in [2, 1048576], got 0"),
        ({"dropout": -0.1}, "dropout must be in [0, 1), got -0.1"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_alexnet_values_out_of_range_are_refused(fields, message):
    with pytest.raises(SpecError) as caught:
        AlexNetSpec(**fields)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("spec", "fields", "message"),
    [
        (
            DataSpec,
            {"name": "mnist"},
            "data.name must be one of cifar10, cifar100, digits, fashion_mnist, image_folder, svhn",
        ),
        (DataSpec, {"name": "image_folder"}, "data.root must be a folder for image_folder, got None"),
        (DataSpec, {"channels": 2}, "data.channels must be 1 or 3, got 2"),
        (DataSpec, {"image_size": 29}, "data.image_size must be in [1, data.stored_size], got 29"),
        (
            DataSpec,
            {"validation": 0},
            "data.validation must be a whole number of images, or a fraction between 0 and 1, got 0",
        ),
        (DataSpec, {"on_corrupt": "cry"}, "data.on_corrupt must be one of error, skip, got 'cry'"),
        (TrainSpec, {"lr": math.inf}, "train.lr must be above 0 and finite, got inf"),
        (TrainSpec, {"lr": 0.0}, "train.lr must be above 0 and finite, got 0.0"),
        (TrainSpec, {"schedule": "cosine"}, "train.schedule must be one of onecycle, linear, got 'cosine'"),
        (TrainSpec, {"momentum": 0.0}, "train.nesterov must be false without momentum, got True"),
        (TrainSpec, {"epochs": 0}, "train.epochs must be at least 1, got 0"),
        (TrainSpec, {"optimizer": "adam"}, "train.optimizer must be one of sgd, muon, got 'adam'"),
        (TrainSpec, {"muon_lr": 0.0}, "train.muon_lr must be above 0 and finite, got 0.0"),
        (TrainSpec, {"muon_weight_decay": -1.0}, "train.muon_weight_decay must be at least 0 and finite, got -1.0"),
        (TrainSpec, {"kernels": "cuda"}, "train.kernels must be one of auto, compiled, torch, got 'cuda'"),
        (TrainSpec, {"precision": "fp16"}, "train.precision must be one of auto, fp32, bf16, got 'fp16'"),
        (TrainSpec, {"erase": 1.0}, "train.erase must be in [0, 1), got 1.0"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_data_and_training_values_out_of_range_are_refused(spec, fields, message):
    with pytest.raises(SpecError) as caught:
        spec(**fields)
    assert str(caught.value).startswith(message)


def test_widths_snap_to_multiples():
    spec = SqueezeNetSpec(base_e=68, incr_e=30, sr=0.3, pct_3x3=0.3, snap=16)
    fires = [block for block in spec.plan() if isinstance(block, Fire)]
    # e = 68, 98, 128, 158 -> 64, 96, 128, 160; 0.3 e = 19.2, 28.8, 38.4, 48 -> 16, 32, 32, 48
    assert [(f.s1x1, f.e1x1, f.e3x3) for f in fires[::2]] == [(16, 48, 16), (32, 64, 32), (32, 96, 32), (48, 112, 48)]
    assert all(b.inputs == a.outputs for a, b in itertools.pairwise(fires))
    narrow = SqueezeNetSpec(base_e=3, incr_e=0, sr=0.1, pct_3x3=0.2, snap=16)
    (first, *_) = (block for block in narrow.plan() if isinstance(block, Fire))
    assert (first.s1x1, first.e1x1, first.e3x3) == (16, 16, 0)  # a whole multiple, or no branch
