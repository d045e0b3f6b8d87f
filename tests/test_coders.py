"""Both coders, against facts from elsewhere: worked examples, the entropy, and that everything comes back."""

import hashlib

import numpy as np
import pytest

from fire.arch import SqueezeNetSpec
from fire.weights import header, huffman
from fire.weights.adaptive import neighbours
from fire.weights.coders import CODERS, Part
from fire.weights.decisions import BITS, Adaptive, Reader, Writer, code_uniform
from fire.weights.fcn import encode
from fire.weights.floats import from_keys, keys
from fire.weights.header import Header, Preprocessing
from fire.weights.quantised import CodeError, Compressed, Levels

LARGEST = 2**31 - 1
CODER_NAMES = tuple(CODERS)


def requested(parts):
    """What a decoder is told: kinds, types and shapes."""
    return [Part(kind, np.broadcast_to(array.dtype.type(0), array.shape)) for kind, array in parts]


def assert_round_trip(parts, coder) -> int:
    data = CODERS[coder].encode(parts)
    decoded = CODERS[coder].decode(data, requested(parts))
    for (_, array), found in zip(parts, decoded, strict=True):
        assert (found.dtype, found.shape) == (array.dtype, array.shape)
        assert np.array_equal(found.view(np.int32), array.view(np.int32))
    return len(data)


def entropy_bytes(integers) -> float:
    """Of the values as if each were drawn by itself."""
    _, counts = np.unique(integers, return_counts=True)
    return float(-(counts * np.log2(counts / counts.sum())).sum() / 8)


def integers(draw):
    return Part("integers", np.asarray(draw, np.int32))


SHAPES = [
    (1,),
    (2,),
    (97,),
    (5, 3),
    (1, 1, 1, 1),
    (5, 4, 3, 3),
    (4, 3, 7, 7),
    (3, 2, 1, 5),
    (300, 40),
    (0, 3),
    (2, 3, 4),
]


@pytest.mark.parametrize("coder", CODER_NAMES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_tensor_comes_back(shape, coder):
    rng = np.random.default_rng(0)
    assert_round_trip(
        [
            integers(np.zeros(shape)),
            integers(np.full(shape, -3)),
            integers(rng.integers(-2, 3, shape)),
            integers(rng.integers(-LARGEST, LARGEST, shape, endpoint=True)),
            integers(rng.laplace(0, 20, shape) * (rng.random(shape) < 0.3)),
            integers(np.where(rng.random(shape) < 0.05, LARGEST, 0)),
        ],
        coder,
    )


@pytest.mark.parametrize("coder", CODER_NAMES)
def test_no_tensor_and_one_weight_come_back(coder):
    assert assert_round_trip([], coder) <= 4
    assert assert_round_trip([integers([-1])], coder) <= 4


@pytest.mark.parametrize("coder", CODER_NAMES)
def test_numbers_come_back_to_the_bit(coder):
    rng = np.random.default_rng(0)
    anything = rng.integers(0, 2**32, 3000, dtype=np.uint32).view(np.float32)
    anything = anything[np.isfinite(anything)]
    special = np.array([0.0, -0.0, 1e-45, -1e-45, 3.4028235e38, -3.4028235e38], np.float32)
    parts = [Part("floats", array) for array in (anything, special, special[:0], special[:1])]
    books = [rng.normal(size=size).astype(np.float32) for size in (0, 1, 2, 3, 4, 5, 16, 17, 255)]
    parts += [Part("codebook", from_keys(np.unique(keys(book)))) for book in books]
    parts.append(Part("codebook", special[np.argsort(keys(special))]))
    assert_round_trip(parts, coder)


def test_keys_are_the_order_of_the_numbers():
    ascending = np.array([-3.4e38, -1.0, -1e-45, -0.0, 0.0, 1e-45, 1.0, 1.0000001, 3.4e38], np.float32)
    assert (np.diff(keys(ascending)) > 0).all()
    assert keys(ascending)[3:6].tolist() == [-1, 0, 1]
    assert keys(np.array([1.0000001], np.float32)) - keys(np.array([1], np.float32)) == 1


def test_an_ascending_codebook_is_cheaper_than_its_numbers():
    book = np.sort(np.random.default_rng(0).uniform(-1, 1, 256).astype(np.float32))
    assert assert_round_trip([Part("codebook", book)], "range") < 0.8 * book.nbytes
    assert assert_round_trip([Part("floats", book)], "range") < 1.05 * book.nbytes
    assert assert_round_trip([Part("codebook", book)], "huffman") == book.nbytes


# The range coder


@pytest.mark.parametrize("shape", [(200_000,), (1000, 200), (400, 56, 3, 3)], ids=str)
@pytest.mark.parametrize("scale", [0.4, 2, 30])
def test_range_coding_costs_the_entropy(shape, scale):
    """Shannon 1948: independent draws cost no less, and 1 % more is what learning their distribution may cost."""
    draws = np.rint(np.random.default_rng(0).laplace(0, scale, shape)).astype(np.int32)
    size = assert_round_trip([integers(draws)], "range")
    assert 0.997 * entropy_bytes(draws) <= size <= 1.012 * entropy_bytes(draws) + 64


def test_zeros_cost_hardly_anything():
    assert assert_round_trip([integers(np.zeros((1000, 1000)))], "range") <= 100


def test_what_filters_channels_and_neighbours_tell_is_used():
    rng = np.random.default_rng(0)
    size = np.exp(rng.normal(0, 1, (100, 1, 1, 1)) + rng.normal(0, 1, (1, 60, 1, 1)))
    wide = np.rint(rng.laplace(0, size, (100, 60, 3, 3)))
    assert assert_round_trip([integers(wide)], "range") < 0.88 * entropy_bytes(wide)
    signs = np.rint(rng.choice([-1, 1], (100, 60, 1, 1)) * rng.uniform(1, 2, (100, 60, 3, 3)))
    assert assert_round_trip([integers(signs)], "range") < 0.75 * entropy_bytes(signs)


def test_a_tensor_like_the_one_before_is_cheaper():
    rng = np.random.default_rng(0)
    alike = [integers(np.rint(rng.laplace(0, 3, (20, 20)))) for _ in range(2)]
    apart = sum(assert_round_trip([part], "range") for part in alike)
    assert assert_round_trip(alike, "range") < 0.98 * apart


def test_neighbours_in_a_kernel():
    magnitude, sign = neighbours((3, 3))
    # Around the middle of 3x3: diagonal ones count less for the size, and speak against for the sign.
    assert magnitude[4].tolist() == [2, 3, 2, 3, 0, 3, 2, 3, 2]
    assert sign[4].tolist() == [-1, 4, -1, 4, 0, 4, -1, 4, -1]
    assert sign[0].tolist() == [0, 4, 1, 4, -1, 0, 1, 0, 0]
    assert neighbours(())[0].tolist() == [[0]]


def test_probabilities_are_whole_and_learnt():
    """Krichevsky and Trofimov 1981: after a ones of n, (a + 1/2) / (n + 1)."""
    asked = []

    class Spy(Writer):
        def binary(self, rows, bits):
            asked.append(rows.copy())
            return super().binary(rows, bits)

    model, io = Adaptive(3), Spy()
    model.code(io, np.array([0, 0, 0, 0, 2]), np.array([1, 1, 1, 0, 0]))
    model.code(io, np.array([0, 1, 2]), np.array([1, 1, 1]))
    for rows in asked:
        assert (rows == np.rint(rows)).all()
        assert (rows.sum(axis=1) == 2**BITS).all()
    assert np.allclose(asked[0][:, 1] / 2**BITS, 0.5)
    assert np.allclose(asked[1][:, 1] / 2**BITS, [3.5 / 5, 0.5, 0.5 / 2], atol=1e-3)
    assert model.counts.tolist() == [[3, 9], [1, 3], [3, 3]]
    model.fade(6)
    assert model.counts.tolist() == [[1, 4], [1, 3], [3, 3]]


def test_equally_likely_numbers_cost_their_bits():
    rng = np.random.default_rng(0)
    widths = rng.integers(0, 49, 2000)
    numbers = rng.integers(0, 1 << widths)
    writer = Writer()
    code_uniform(writer, widths, numbers)
    assert abs(8 * len(writer.data()) - widths.sum()) <= 64
    assert np.array_equal(code_uniform(Reader(writer.data()), widths, np.zeros_like(numbers)), numbers)


# Huffman's coder


def test_huffman_of_a_worked_example():
    """abracadabra: 5 a, 2 b, 2 r, 1 c, 1 d cost 23 bits by any Huffman code."""
    counts = np.array([5, 2, 1, 1, 2])
    lengths = huffman.code_lengths(counts)
    assert (counts * lengths).sum() == 23
    assert lengths[0] == 1


def test_canonical_codes_of_a_worked_example():
    """RFC 1951, section 3.2.2: lengths (3, 3, 3, 3, 3, 2, 4, 4) have the codes 010 ... 110, 00, 1110, 1111."""
    codes = huffman.codes(np.array([3, 3, 3, 3, 3, 2, 4, 4]))
    assert codes.tolist() == [0b010, 0b011, 0b100, 0b101, 0b110, 0b00, 0b1110, 0b1111]


@pytest.mark.parametrize("lengths", [[1, 1, 1], [1, 2], [0, 1], [25, 25]])
def test_lengths_that_are_of_no_complete_code_are_refused(lengths):
    with pytest.raises(CodeError, match="complete prefix code"):
        huffman.codes(np.array(lengths))


def test_codes_are_at_most_so_long_whatever_the_counts():
    """Counts like Fibonacci's numbers make the longest codes: 40 symbols would need 39 bits."""
    counts = [1, 1]
    while len(counts) < 40:
        counts.append(counts[-1] + counts[-2])
    lengths = huffman.code_lengths(np.array(counts))
    assert lengths.max() <= huffman.LONGEST
    assert len(np.unique(huffman.codes(lengths) << (huffman.LONGEST - lengths))) == 40


def test_gaps_of_the_papers_example():
    """Han et al. 2015, figure 2: weights at 1, 4 and 15 with gaps of 3 bits need one filler, between the last two."""
    weights = np.zeros(16, np.int32)
    weights[[1, 4, 15]] = 34, 9, 17
    entries = huffman.sparse(weights, gap_bits=3)
    assert entries.values.tolist() == [34, 9, 0, 17]
    assert entries.gaps.tolist() == [1, 2, 7, 2]
    assert np.array_equal(huffman.dense(entries, (16,)), weights)


@pytest.mark.parametrize(("zeros", "fillers"), [(0, 0), (15, 0), (16, 1), (31, 1), (32, 2), (1000, 62)])
def test_a_gap_of_4_bits_spans_15_zeros(zeros, fillers):
    weights = np.zeros(zeros + 1, np.int32)
    weights[-1] = 5
    entries = huffman.sparse(weights)
    assert len(entries.values) == fillers + 1
    assert entries.gaps.max() <= 15
    assert np.array_equal(huffman.dense(entries, weights.shape), weights)


def test_huffman_costs_at_least_the_entropy_of_its_streams():
    draws = np.rint(np.random.default_rng(0).laplace(0, 2, 100_000)).astype(np.int32)
    entries = huffman.sparse(draws)
    lower = entropy_bytes(entries.values) + entropy_bytes(entries.gaps)
    # Huffman 1952: less than a bit more for each symbol.
    assert lower <= assert_round_trip([integers(draws)], "huffman") <= lower + 2 * len(entries.values) / 8 + 64


@pytest.mark.parametrize(
    ("values", "gaps", "reason"),
    [
        ([1, 1], [8, 8], "entries must lie in the tensor of 10 weights, got one at 17"),
        ([1, 1], [0], "a gap for each value"),
        ([1], [16], "gaps must be of 4 bits"),
        ([1], [-1], "gaps must be of 4 bits"),
    ],
)
def test_entries_that_make_no_sense_are_refused(values, gaps, reason):
    with pytest.raises(CodeError, match=reason):
        huffman.dense(huffman.Sparse(np.array(values), np.array(gaps)), (10,))


@pytest.mark.parametrize("coder", CODER_NAMES)
def test_what_follows_the_tensors_is_refused(coder):
    parts = [integers(np.random.default_rng(0).integers(-3, 4, 500))]
    data = CODERS[coder].encode(parts)
    for extra in (b"\x01\x02\x03\x04" * 3, b"\x01"):
        with pytest.raises(CodeError):
            CODERS[coder].decode(data + extra, requested(parts))


@pytest.mark.parametrize("coder", CODER_NAMES)
def test_random_bytes_are_an_error_or_tensors_but_nothing_else(coder):
    rng = np.random.default_rng(0)
    parts = requested(
        [
            integers(np.zeros((5, 4, 3, 3))),
            Part("codebook", np.zeros(9, np.float32)),
            Part("floats", np.ones(9, np.float32)),
        ]
    )
    for _ in range(100):
        data = rng.bytes(4 * int(rng.integers(40)))
        try:
            decoded = CODERS[coder].decode(data, parts)
        except CodeError:
            continue
        assert [array.shape for array in decoded] == [(5, 4, 3, 3), (9,), (9,)]


# So that a change of what files hold is noticed: of ours, of constriction's or of NumPy's.
GOLDEN = {
    "huffman": "b46c78ee5e3175de8b9aa2c88272aeaf1a8d819bf2a32ea95449034ebd87ae3e",
    "range": "13e7a2c764dbbdf114f32a7503fac7c1e05726e69b52900d536ba62605f489e3",
}


@pytest.mark.parametrize("coder", CODER_NAMES)
def test_files_of_this_version_stay_the_same(coder):
    spec = SqueezeNetSpec(version="small", base_e=16, incr_e=16, fires=3, conv1=8, classes=4)
    preprocessing = Preprocessing(image_size=28, mean=[72.5], scale=[0.0625])
    about = Header(spec, preprocessing, ("a", "b", "c", "d"))
    tensors = {}
    for i, (name, shape) in enumerate(header.shapes(about).items()):
        number = np.arange(np.prod(shape), dtype=np.int64).reshape(shape)
        many = (number * number * 7 + number * 13 + i) % 1009
        if i % 5 == 4:
            tensors[name] = (many - 500).astype(np.float32) / np.float32(64)
        elif i % 5 == 2:
            book = np.concatenate([[0], np.arange(-20, 20) + 0.5]).astype(np.float32)
            tensors[name] = Levels(integers=(many % 41 * (many % 3 == 0)).astype(np.int32), values=book)
        else:
            signed = (many % 15 - 7) * (many % 2)
            tensors[name] = Levels(integers=signed.astype(np.int32), values=np.array(0.125 + i, np.float32))
    data = encode(Compressed(**about._asdict(), tensors=tensors), coder)
    assert hashlib.sha256(data).hexdigest() == GOLDEN[coder]
