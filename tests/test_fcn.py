import dataclasses

import numpy as np
import pytest
import torch

from fire.arch import AlexNetSpec, ResNet8Spec, SqueezeNetSpec
from fire.errors import InputError
from fire.weights import header
from fire.weights.fcn import decode, encode, load, load_header, overhead_bytes, save
from fire.weights.header import Header, Preprocessing
from fire.weights.integers import CODERS
from fire.weights.quantised import Compressed, Quantised, to_float

SPEC = SqueezeNetSpec(version="small", base_e=4, incr_e=4, fires=2, conv1=4, classes=3, dropout=0.0)
PREPROCESSING = Preprocessing(image_size=28, mean=[72.94], scale=[1 / 90.02])


def compressed(spec=SPEC, kind="grid", density=0.5, seed=0, names=("shirt", "été", "bag")) -> Compressed:
    """Weights of that kind; biases are on a grid, but with kind "plain" as they are."""
    rng = np.random.default_rng(seed)
    about = Header(spec=spec, preprocessing=PREPROCESSING, class_names=names)
    tensors = {}
    for name, shape in about.shapes.items():
        integers = np.rint(rng.laplace(0, 3, shape) * (rng.random(shape) < density)).astype(np.int32)
        step = np.array(rng.uniform(0.01, 0.02), np.float32)
        if kind == "plain":
            tensors[name] = (integers * step).astype(np.float32)
        elif kind == "codebook" and name.endswith("weight"):
            kinds = min(18, integers.size)
            book = np.append(np.zeros(1, np.float32), rng.normal(size=kinds - 1).astype(np.float32))
            tensors[name] = Quantised(integers=np.abs(integers) % kinds, values=book)
        else:
            tensors[name] = Quantised(integers=integers, values=step)
    return Compressed(header=about, tensors=tensors)


def assert_same(a: Compressed, b: Compressed) -> None:
    assert dataclasses.replace(a.header, spec=header.folded(a.header.spec)) == b.header
    assert list(a.tensors) == list(b.tensors)
    for name, tensor in a.tensors.items():
        # As bits: 0.0 and -0.0 are not the same.
        assert np.array_equal(to_float(tensor).view(np.int32), to_float(b.tensors[name]).view(np.int32)), name


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("kind", ["grid", "codebook", "plain"])
@pytest.mark.parametrize("density", [0.0, 0.05, 1.0])
def test_round_trip(kind, density, coder):
    original = compressed(kind=kind, density=density)
    data = encode(original, coder)
    assert_same(original, decode(data))
    assert encode(decode(data), coder) == data


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize(
    "spec",
    [
        dataclasses.replace(SPEC, sr=1, pct_3x3=0.0, norm="batch"),
        dataclasses.replace(SPEC, bypass="complex", final_relu=False),
        dataclasses.replace(SPEC, pct_3x3=1.0, sr=1.0, snap=2),
    ],
    ids=["integers as fractions", "bypass", "3x3"],
)
def test_round_trip_of_other_networks(spec, coder):
    original = compressed(spec)
    data = encode(original, coder)
    assert_same(original, decode(data))
    assert encode(decode(data), coder) == data


@pytest.mark.parametrize("spec", [AlexNetSpec(version="small", fc=16, classes=3), ResNet8Spec(classes=3)])
def test_round_trip_of_the_other_families(spec):
    original = compressed(spec, density=0.01)
    assert_same(original, decode(encode(original)))


@pytest.mark.parametrize("kind", ["grid", "codebook"])
def test_integers_steps_and_codebooks_come_back(kind):
    original = compressed(kind=kind)
    for name, tensor in decode(encode(original)).tensors.items():
        assert np.array_equal(tensor.integers, original.tensors[name].integers)
        assert np.array_equal(tensor.values.view(np.int32), original.tensors[name].values.view(np.int32))


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("largest", [0, 127, 128, 2**15, 2**31 - 1])
def test_integers_of_any_width_come_back(largest, coder):
    original = compressed()
    shape = original.tensors["conv1.weight"].integers.shape
    for integers in (np.full(shape, largest, np.int32), np.full(shape, -largest, np.int32)):
        original.tensors["conv1.weight"] = Quantised(integers=integers, values=np.array(0.5, np.float32))
        assert np.array_equal(decode(encode(original, coder)).tensors["conv1.weight"].integers, integers)


def test_the_network_computes_with_the_tensors(generator):
    original = compressed(kind="plain")
    network = decode(encode(original)).network()
    assert not network.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, torch.from_numpy(original.tensors[name]))
    assert network(torch.randn(2, 1, 28, 28, generator=generator)).shape == (2, 3)


def test_a_specification_with_batch_normalisation_stands_for_the_folded_network():
    original = compressed(dataclasses.replace(SPEC, norm="batch"))
    assert original.network().state_dict().keys() == decode(encode(original)).network().state_dict().keys()


@pytest.mark.parametrize("coder", CODERS)
def test_files_are_saved_and_loaded(coder, tmp_path):
    save(tmp_path / "network.fcn", compressed(), coder)
    assert_same(compressed(), load(tmp_path / "network.fcn"))
    assert load_header(tmp_path / "network.fcn") == compressed().header


def test_the_overhead_is_at_most_3_percent_of_a_file_of_40_kb():
    spec = SqueezeNetSpec(version="small", classes=10, base_e=50, incr_e=50, norm="batch", final_relu=False)
    names = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]
    data = encode(compressed(spec, names=tuple(names)))
    assert 35_000 < len(data) < 45_000
    assert overhead_bytes(data) <= 0.03 * len(data)


@pytest.mark.parametrize("coder", CODERS)
def test_every_flipped_byte_is_refused(coder):
    data = encode(compressed(density=0.1), coder)
    for place in range(len(data)):
        for pattern in (0x01, 0x10, 0x80, 0xFF):
            broken = bytearray(data)
            broken[place] ^= pattern
            with pytest.raises(InputError):
                decode(bytes(broken))


@pytest.mark.parametrize("coder", CODERS)
def test_every_cut_and_whatever_follows_is_refused(coder):
    data = encode(compressed(density=0.1), coder)
    for length in range(len(data)):
        with pytest.raises(InputError):
            decode(data[:length])
    with pytest.raises(InputError, match="the checksum must be"):
        decode(data + b"\0")


def test_the_path_is_in_the_message(tmp_path):
    for content in (b"", b"these are no weights\n"):
        (tmp_path / "bad").write_bytes(content)
        for read in (load, load_header):
            with pytest.raises(InputError) as caught:
                read(tmp_path / "bad")
            reason = "the magic" if content else "it is empty"
            assert str(caught.value).startswith(
                f"weights must be a whole file of a compressed network, got '{tmp_path / 'bad'}': {reason}"
            )
            assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"weights must be a readable file, got '.*absent': No such file"):
        load(tmp_path / "absent")


def test_what_is_no_network_of_its_specification_is_not_encoded():
    good = compressed()
    name = "conv1.weight"
    tensor = good.tensors[name]
    with pytest.raises(InputError, match=r"^coder must be a choice that is implemented, got 'zip'$"):
        encode(good, "zip")
    with pytest.raises(InputError, match=r"tensors must be conv1\.weight, .*, got conv1\.bias"):
        encode(dataclasses.replace(good, tensors={k: v for k, v in good.tensors.items() if k != name}))
    for bad, reason in (
        (tensor.to_float()[:1], "must be of shape"),
        (np.full_like(tensor.to_float(), np.inf), "must be finite"),
        (tensor.to_float().astype(np.float64), "must be of type float32, got float64"),
    ):
        with pytest.raises(InputError, match=reason):
            encode(dataclasses.replace(good, tensors=good.tensors | {name: bad}))
    with pytest.raises(InputError, match="class_names must be 3, got 1"):
        encode(dataclasses.replace(good, header=dataclasses.replace(good.header, class_names=("a",))))
    with pytest.raises(InputError, match="class_names must be a list of texts"):
        encode(dataclasses.replace(good, header=dataclasses.replace(good.header, class_names=("a", "b", "\ud800"))))


@pytest.mark.parametrize(
    ("integers", "book", "reason"),
    [
        (np.zeros(3, np.int64), np.float32(1), "integers must be of type int32, got int64"),
        (np.zeros(3, np.int32), np.float64(1), "values must be of type float32, got float64"),
        (np.zeros(3, np.int32), np.float32(0), "the step must be greater than 0, got 0.0"),
        (np.full(3, -(2**31), np.int32), np.float32(1), "integers must be at least -2147483647"),
        (np.full(3, -(10**6), np.int32), np.float32(1e36), "the tensor must be finite, got the step 1e[+]36"),
        (np.zeros(3, np.int32), np.zeros((1, 1), np.float32), "of shape"),
        (np.zeros(3, np.int32), np.zeros(0, np.float32), "entry 0 of a codebook must be 0.0"),
        (np.zeros(3, np.int32), np.ones(2, np.float32), "entry 0 of a codebook must be 0.0"),
        (np.full(3, 2, np.int32), np.zeros(2, np.float32), r"integers must be in \[0, 2\), got 2"),
        (np.full(3, -1, np.int32), np.zeros(2, np.float32), r"integers must be in \[0, 2\), got -1"),
        (np.zeros(3, np.int32), np.array([0, np.nan], np.float32), "values must be finite, got nan"),
    ],
)
def test_levels_that_make_no_sense_are_refused(integers, book, reason):
    with pytest.raises(InputError, match=reason):
        Quantised(integers=integers, values=np.asarray(book))


def test_a_step_is_a_factor_and_a_codebook_a_table():
    integers = np.array([[0, 2], [1, 2]], np.int32)
    assert Quantised(integers=integers, values=np.array(0.5, np.float32)).to_float().tolist() == [[0, 1], [0.5, 1]]
    assert Quantised(integers=integers, values=np.array([0, 7, -3], np.float32)).to_float().tolist() == [
        [0, -3],
        [7, -3],
    ]
