"""What a file of weights says beside its numbers."""

import dataclasses
import json

import pytest

from fire.arch import AlexNetSpec, ResNet8Spec, SqueezeNetSpec
from fire.errors import InputError
from fire.model import build, fold
from fire.weights.header import Header, Preprocessing, dump, parse, tensor_shapes


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "spec",
    [
        SqueezeNetSpec(),
        SqueezeNetSpec(version="1.1", bypass="simple"),
        SqueezeNetSpec(version="small", bypass="complex", norm="batch", sr=0.3, snap=4),
        SqueezeNetSpec(pct_3x3=0.0, fires=3, classes=7),
        SqueezeNetSpec(pct_3x3=1.0, conv1=5),
        SqueezeNetSpec(stem_kernel=5, stem_stride=1, pools="2"),
        AlexNetSpec(version="small", fc=8, classes=3),
        AlexNetSpec(version="small", fc=8, classes=3, norm="batch"),
        ResNet8Spec(classes=3),
    ],
    ids=str,
)
def test_tensors_by_arithmetic_are_those_of_the_built_network(spec, channels):
    built = fold(build(spec, channels)).state_dict()
    assert list(tensor_shapes(spec, channels).items()) == [(name, tuple(held.shape)) for name, held in built.items()]


EXPECTS = {"image_size": 28, "mean": [72.5], "scale": [0.0625], "stored_size": 32}


def header_of(**fields) -> Header:
    names = tuple(map(str, range(10)))
    spec = SqueezeNetSpec(version="small", classes=10)
    return Header(spec=spec, preprocessing=Preprocessing(**{**EXPECTS, **fields}), class_names=names)


def test_a_header_says_how_images_are_resized_only_where_they_are_squashed():
    content = json.loads(dump(header_of()))
    assert content["preprocessing"] == EXPECTS  # as before there was `resize`
    assert parse(json.dumps(content)).preprocessing.resize == "crop"
    squashed = content | {"preprocessing": EXPECTS | {"resize": "squash"}}
    assert json.loads(dump(header_of(resize="squash"))) == squashed
    assert parse(dump(header_of(resize="squash"))) == header_of(resize="squash")


def test_a_header_says_stem_and_pools_only_where_they_are_not_the_versions():
    plain = header_of()
    assert not {"stem_kernel", "stem_stride", "pools"} & json.loads(dump(plain))["arch"].keys()
    spec = SqueezeNetSpec(version="small", classes=10, stem_kernel=5, pools="1+4")
    header = dataclasses.replace(plain, spec=spec)
    assert parse(dump(header)) == header
    assert json.loads(dump(header))["arch"]["pools"] == "1+4"


def test_equal_specifications_make_equal_texts():
    names = tuple(map(str, range(10)))
    preprocessing = Preprocessing(image_size=28, mean=[72], scale=[1])
    texts = {
        dump(
            Header(
                spec=SqueezeNetSpec(version="small", classes=10, sr=sr, norm=norm),
                preprocessing=preprocessing,
                class_names=names,
            )
        )
        for sr in (1, 1.0)
        for norm in ("batch", "none")
    }
    (text,) = texts
    assert parse(text).spec.norm == "none"


CONTENT = {
    "format": 1,
    "arch": {"family": "squeezenet", "classes": 3},
    "preprocessing": {"image_size": 28, "mean": [1.5], "scale": [0.5]},
    "class_names": ["0", "1", "2"],
}
LARGE = {"family": "alexnet", "version": "small", "fc": 2**16}


@pytest.mark.parametrize(
    ("part", "changes", "reason"),
    [
        ("arch", {"classes": 10**9}, "classes must be in [2, 1048576], got 1000000000"),
        ("arch", {"classes": 10**6}, "class_names must be 1000000, got 3"),
        ("arch", {"fires": 10**6}, "fires must be in [1, 512]"),
        ("arch", {"bypass": "simple", "fires": 2**20}, "fires must be in [1, 512]"),
        ("arch", {"base_e": 2**20}, "parameters must be at most 67,108,864"),
        ("arch", {"snap": 2**20}, "parameters must be at most"),
        ("arch", {"conv10_pad": 200_000}, "activations must be at most"),
        ("arch", LARGE, "parameters must be at most"),
        ("arch", {"sr": 7.0}, "sr must be in (0, 1], got 7.0"),
        ("arch", {"sr": 1}, "'sr' must be a field of squeezenet with a value of its type, got 1"),
        ("arch", {"classes": True}, "'classes' must be a field of squeezenet"),
        ("arch", {"final_relu": "no"}, "'final_relu' must be a field of squeezenet"),
        ("arch", {"norm": "batch"}, "norm must not be 'batch'"),
        ("arch", {"sides": 4}, "'sides' must be a field"),
        ("arch", {"family": "resnet"}, "family must be one of squeezenet, alexnet, resnet8"),
        ("arch", {"family": ["squeezenet"]}, "family must be one of"),
        ("arch", {"family": None}, "family must be one of"),
        ("preprocessing", {"image_size": 0}, "image_size must be an integer in"),
        ("preprocessing", {"image_size": 4}, "the network must suit its images"),
        ("preprocessing", {"image_size": 10**9}, "image_size must be an integer in"),
        ("preprocessing", {"image_size": 28.5}, "image_size must be an integer in"),
        ("preprocessing", {"stored_size": 20}, "stored_size must be at least 28, got 20"),
        ("preprocessing", {"stored_size": 28.0}, "stored_size must be an integer in"),
        ("preprocessing", {"scale": [0.0]}, "scale must be of numbers above 0, got 0.0"),
        ("preprocessing", {"scale": [1e-320]}, "scale must be of numbers above 0"),  # 0 in float32
        ("preprocessing", {"scale": ["a"]}, "scale must be of finite floats"),
        ("preprocessing", {"scale": [0.5, 0.5]}, "scale must be of 1 channels, got 2"),
        ("preprocessing", {"mean": [1e308]}, "mean must be of finite floats"),  # infinite in float32
        ("preprocessing", {"mean": []}, "mean must be a list of 1 to 64 numbers"),
        ("preprocessing", {"mean": [1.5] * 65}, "mean must be a list of 1 to 64 numbers"),
        ("preprocessing", {"mean": [1]}, "mean must be of finite floats"),
        ("preprocessing", {"mean": [1e999]}, "Infinity is no number"),
        ("preprocessing", {"side": 20}, "preprocessing must have image_size, mean, resize, scale, stored_size, got"),
        ("preprocessing", {"resize": "stretch"}, "resize must be one of crop, squash, got 'stretch'"),
        ("preprocessing", {"resize": ["crop"]}, "resize must be one of crop, squash, got ['crop']"),
        ("", {"arch": "abc"}, "arch must be a dict, got 'abc'"),
        ("", {"preprocessing": None}, "preprocessing must be a dict, got None"),
        ("", {"preprocessing": {"image_size": 28}}, "preprocessing must have"),
        ("", {"class_names": None}, "class_names must be a list, got None"),
        ("", {"class_names": "abc"}, "class_names must be a list, got 'abc'"),
        ("", {"class_names": ["a", "b"]}, "class_names must be 3, got 2"),
        ("", {"class_names": [1, 2, 3]}, "class_names must be a list of texts"),
        ("", {"class_names": ["a", "b", "\ud800"]}, "class_names must be a list of texts"),
        ("", {"format": 99}, "the header must be of format 1, got {'format': 99"),
    ],
    ids=str,
)
def test_texts_that_are_no_header_within_its_bounds_are_refused(part, changes, reason):
    assert parse(json.dumps(CONTENT)).class_names == ("0", "1", "2")
    content = CONTENT | ({part: CONTENT[part] | changes} if part else changes)
    with pytest.raises(InputError) as caught:
        parse(json.dumps(content))
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 10**5, "9" * 10**4, '{"arch":NaN}'])
def test_texts_that_are_no_object_are_refused(text):
    with pytest.raises(InputError, match="the header must be"):
        parse(text)
