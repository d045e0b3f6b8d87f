"""What a file of weights says beside its numbers."""

import pytest

from fire.arch import AlexNetSpec, SqueezeNetSpec
from fire.header import tensor_shapes
from fire.model import build, fold


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
