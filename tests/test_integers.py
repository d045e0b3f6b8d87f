"""Both coders against facts from elsewhere: worked examples, the entropy, and that everything comes back."""

import zlib

import numpy as np
import pytest

from fire.errors import InputError
from fire.weights.integers import CODERS, Bounds, Sparse, decode, deflate, dense, encode, sparse

LARGEST = 2**31 - 1


def bounds_of(arrays):
    return [Bounds(array.shape, int(array.min(initial=0)), int(array.max(initial=0))) for array in arrays]


def coded_bytes(coder, *draws) -> int:
    """The size of the arrays' bytes, which are decoded again."""
    arrays = [np.asarray(draw).astype(np.int32) for draw in draws]
    data = encode(coder, arrays, bounds_of(arrays))
    for array, found in zip(arrays, decode(coder, data, bounds_of(arrays)), strict=True):
        assert (found.dtype, found.shape) == (np.int32, array.shape)
        assert np.array_equal(found, array)
    return len(data)


def entropy_bytes(integers) -> float:
    """The entropy of independent draws from the distribution of these integers (Shannon 1948)."""
    _, counts = np.unique(integers, return_counts=True)
    return float(-(counts * np.log2(counts / counts.sum())).sum() / 8)


SHAPES = [(1,), (2,), (97,), (5, 3), (1, 1, 1, 1), (5, 4, 3, 3), (4, 3, 7, 7), (300, 40), (0, 3), (0,)]


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_array_comes_back(shape, coder):
    rng = np.random.default_rng(0)
    coded_bytes(
        coder,
        np.zeros(shape),
        np.full(shape, -3),
        rng.integers(-2, 3, shape),
        rng.integers(-(2**11), 2**11, shape, endpoint=True),  # the fewest kinds that are split into digits
        rng.integers(-LARGEST - 1, LARGEST, shape, endpoint=True),
        rng.laplace(0, 20, shape) * (rng.random(shape) < 0.3),
        np.where(rng.random(shape) < 0.05, LARGEST, 0),
    )


@pytest.mark.parametrize("coder", CODERS)
def test_no_array_comes_back(coder):
    assert coded_bytes(coder) == 0


@pytest.mark.parametrize("shape", [(200_000,), (1000, 200)], ids=str)
@pytest.mark.parametrize("scale", [0.4, 2, 30])
def test_adaptive_coding_costs_the_entropy(shape, scale):
    """Independent draws cost no less than it (Shannon 1948); learning their distribution may cost 1 % more."""
    draws = np.rint(np.random.default_rng(0).laplace(0, scale, shape))
    size = coded_bytes("adaptive", draws)
    assert 0.999 * entropy_bytes(draws) <= size <= 1.01 * entropy_bytes(draws) + 64


def test_zeros_cost_hardly_anything():
    zeros = np.zeros((1024, 1024))
    assert max(coded_bytes(coder, zeros) for coder in CODERS) <= 4
    zeros[-1, -1] = 1
    assert coded_bytes("adaptive", zeros) <= 16  # 31 bits if each is counted at once (Krichevsky and Trofimov 1981)


def test_gaps_of_the_papers_example():
    """Han et al. 2015, figure 2: weights at 1, 4 and 15 with gaps of 3 bits need one filler, between the last two."""
    weights = np.zeros(16, np.int32)
    weights[[1, 4, 15]] = 34, 9, 17
    entries = sparse(weights, gap_bits=3)
    assert entries.values.tolist() == [34, 9, 0, 17]
    assert entries.gaps.tolist() == [1, 2, 7, 2]
    assert np.array_equal(dense(entries, (16,)), weights)


@pytest.mark.parametrize(("zeros", "fillers"), [(0, 0), (15, 0), (16, 1), (31, 1), (32, 2), (1000, 62)])
def test_a_gap_of_4_bits_spans_15_zeros(zeros, fillers):
    weights = np.zeros(zeros + 1, np.int32)
    weights[-1] = 5
    entries = sparse(weights)
    assert len(entries.values) == fillers + 1
    assert entries.gaps.max() <= 15
    assert np.array_equal(dense(entries, weights.shape), weights)


def test_huffman_costs_at_least_the_entropy_of_its_streams():
    draws = np.rint(np.random.default_rng(0).laplace(0, 2, (1000, 100))).astype(np.int32)
    entries = sparse(draws)
    lower = entropy_bytes(entries.values) + entropy_bytes(entries.gaps)
    # Huffman 1952: less than a bit more for each symbol.
    assert lower <= coded_bytes("huffman", draws) <= lower + 2 * len(entries.values) / 8


def test_a_stream_is_huffman_codes_without_repetitions():
    """RFC 1951: a text that is repeated costs as much again."""
    text = np.random.default_rng(0).integers(0, 40, 5000).astype(np.uint8).tobytes()
    assert len(zlib.compress(text * 2)) < 1.1 * len(zlib.compress(text))
    assert len(deflate(text * 2)) > 1.9 * len(deflate(text))


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
    with pytest.raises(InputError, match=reason):
        dense(Sparse(np.array(values), np.array(gaps)), (10,))


def test_an_unknown_coder_is_named():
    for call in (lambda: encode("zip", [], []), lambda: decode("zip", b"", [])):
        with pytest.raises(InputError, match=r"^coder must be a choice that is implemented, got 'zip'$"):
            call()


@pytest.mark.parametrize("coder", CODERS)
def test_more_bytes_than_the_arrays_are_refused(coder):
    arrays = [np.random.default_rng(0).integers(-3, 4, (50, 10)).astype(np.int32)]
    data = encode(coder, arrays, bounds_of(arrays))
    for extra in (b"\x01\x02\x03\x04" * 3, b"\x01"):
        with pytest.raises(InputError):
            decode(coder, data + extra, bounds_of(arrays))


@pytest.mark.parametrize("coder", CODERS)
def test_random_bytes_are_an_error_or_arrays_within_their_bounds(coder):
    rng = np.random.default_rng(0)
    bounds = [Bounds((5, 4, 3, 3), -2, 4999), Bounds((9,), -(2**31), LARGEST), Bounds((9,), 0, 1)]
    for _ in range(100):
        try:
            decoded = decode(coder, rng.bytes(4 * int(rng.integers(40))), bounds)
        except InputError:
            continue
        assert [array.shape for array in decoded] == [(5, 4, 3, 3), (9,), (9,)]
        assert all(
            bound.low <= array.min() <= array.max() <= bound.high for array, bound in zip(decoded, bounds, strict=True)
        )


def test_a_stream_that_would_inflate_to_more_than_its_array_is_refused():
    bomb = zlib.compress(bytes(10**6), wbits=-15)
    for bound in (Bounds((100,), 0, 1), Bounds((10, 10), 0, 1)):
        with pytest.raises(InputError, match="a stream must end after at most 100 words of 1 bytes"):
            decode("huffman", bomb, [bound])


# What files of this version hold: another decoder's arrays, or another version of constriction's, would not be these.
GOLDEN = {
    "adaptive": (
        "b2e61100157222add89e7910f161269c4855abd40549b5b24504f704d3d14eea6ae30a622c6993387dd27ddea2a4d2eab47b"
        "23840815052124de508135726c4a7dd27dae00b08db100000000000000000000000000000000000000000000000000000000"
        "0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000007fc6"
        "0100812ae4fcdd09d72ac4d876afb4d1f39974e2e3e175cc0afc307ae9a0d8b106627114e130c56efe728a9655500e896f6a"
        "cecb369296cd3b94a766f9dce5f3c3961ee8b4591233643e"
    ),
    "huffman": (
        "05c1cb0d01410000d0b75624243e090e4264b2179f0be1c82653ca96302528614a50821294b0254c094af01e102bba9a6e44"
        "9c60ce7b45d8f26af89e29774acb674c5ab368c8177e2d6146dc132f2c06f42bd291df93b8e4752257e40de94698f23d701d"
        "92037d4bd9511e7c76a4168154ff0105c1c10d0341100421aa67a5fb38ff780d3f388c3399b4bd6a956a2fc96ecef1f011c0"
        "0787317f05c18911c0300803b082b12fbcfb8f5b89cb36c0bf8ae9cb572a676a9b424f458a9f7af6a10e1e433ed86a5cc53b"
        "d6799031ae6cdb0cb6397e"
    ),
}


@pytest.mark.parametrize("coder", CODERS)
def test_files_of_this_version_stay_readable(coder):
    number = np.arange(180, dtype=np.int64)
    draws = (number * number * 7 + number * 13) % 1009
    arrays = [draws[:40] - 500 << 20, ((draws % 15 - 7) * (draws % 2)).reshape(5, 4, 9)]
    arrays = [array.astype(np.int32) for array in arrays]
    golden = bytes.fromhex(GOLDEN[coder])
    assert all(np.array_equal(*pair) for pair in zip(decode(coder, golden, bounds_of(arrays)), arrays, strict=True))
    if coder == "adaptive":  # zlib's releases may choose other codes
        assert encode(coder, arrays, bounds_of(arrays)) == golden
