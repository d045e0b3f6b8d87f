"""What a file of weights says beside its numbers."""

import json

import pytest

from fire.arch import AlexNetSpec, SqueezeNetSpec
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
        AlexNetSpec(version="small", fc=8, classes=3),
        AlexNetSpec(version="small", fc=8, classes=3, norm="batch"),
    ],
    ids=str,
)
def test_tensors_by_arithmetic_are_those_of_the_built_network(spec, channels):
    built = fold(build(spec, channels)).state_dict()
    assert list(tensor_shapes(spec, channels).items()) == [(name, tuple(held.shape)) for name, held in built.items()]


EXPECTS = {"image_size": 28, "mean": [72.5], "scale": [0.0625], "stored_size": 32}


def header_of(**fields) -> Header:
    names = tuple(map(str, range(10)))
    return Header(SqueezeNetSpec(version="small", classes=10), Preprocessing(**{**EXPECTS, **fields}), names)


def test_a_header_says_how_images_are_resized_only_where_they_are_squashed():
    content = json.loads(dump(header_of()))
    assert set(content) == {
        "family",
        "arch",
        "image_size",
        "mean",
        "scale",
        "stored_size",
    }  # as before there was `resize`
    assert header_of().preprocessing.content == EXPECTS
    assert parse(json.dumps(content).encode()).preprocessing.resize == "crop"
    assert json.loads(dump(header_of(resize="squash"))) == content | {"resize": "squash"}
    assert parse(dump(header_of(resize="squash"))) == header_of(resize="squash")


@pytest.mark.parametrize("resize", ["stretch", 1, None, ["crop"]])
def test_other_ways_of_resizing_are_refused(resize):
    content = json.loads(dump(header_of())) | {"resize": resize}
    with pytest.raises(InputError, match=r"^resize must be one of crop, squash, got "):
        parse(json.dumps(content).encode())
