"""Costs of many SqueezeNets at once: the closed form of fire.cost on NumPy arrays, a million networks a second."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fire.arch import AS_VERSION, MacroArchitecture, macro_architecture
from fire.cost import BYTES_PER_PARAMETER, conv_side, pool_side
from fire.errors import unknown

# The settings along which count_grid counts a whole array at once, and the others that it takes.
COUNTED = ("base_e", "incr_e", "freq", "pct_3x3", "sr", "bypass", "fires", "conv1")
FIXED = ("snap", "version", "pools", "stem_kernel", "stem_stride", "conv10_pad", "classes")

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Costs(NamedTuple):
    """The same as fire.cost.Cost for an array of networks: int64 arrays of one shape."""

    parameters: Integers
    macs: Integers
    activations: Integers
    biases: Integers
    peak_ram_bytes: Integers

    @property
    def size_bytes(self) -> Integers:
        """Size of the parameters in fp32."""
        return BYTES_PER_PARAMETER * self.parameters

    @property
    def weight_bytes(self) -> Integers:
        """Size of the parameters as int8 weights and int32 biases."""
        return self.parameters + 3 * self.biases

    @property
    def flash_bytes(self) -> Integers:
        """Size of weight_bytes with the weights' scales: an fp32 number for each output channel."""
        return self.weight_bytes + 4 * self.biases


def count_grid(
    *,
    base_e: ArrayLike = 128,
    incr_e: ArrayLike = 128,
    freq: ArrayLike = 2,
    pct_3x3: ArrayLike = 0.5,
    sr: ArrayLike = 0.125,
    bypass: ArrayLike = "none",
    fires: ArrayLike = 8,
    conv1: ArrayLike = 0,
    snap: int = 1,
    version: str = "1.0",
    pools: str = AS_VERSION,
    stem_kernel: int = 0,
    stem_stride: int = 0,
    conv10_pad: int = 0,
    classes: int = 1000,
    image_size: int = 224,
    channels: int = 3,
) -> Costs:
    """Costs of many SqueezeNets at once; the arguments are SqueezeNetSpec's, arrays broadcast against each other.

    Values are not checked: an invalid point, which SqueezeNetSpec refuses, has a meaningless cost, and so has a network
    of 2^63 MACs or more. Raises SpecError for an unknown bypass.
    """
    names = np.asarray(bypass)
    convolved = names == "complex"  # where a module has not as many inputs as outputs
    bypassed = convolved | (names == "simple")
    others = names[~(bypassed | (names == "none"))]
    if others.size:
        raise unknown("bypass", str(others[0]))
    arrays = np.broadcast_arrays(base_e, incr_e, freq, pct_3x3, sr, fires, conv1, bypassed, convolved)
    shape = arrays[0].shape
    flat = [array.ravel() for array in arrays]
    totals = Costs(*np.zeros((len(Costs._fields), flat[0].size), np.int64))
    chunk = 8192  # two dozen temporaries of this length stay in a core's cache
    for start in range(0, flat[0].size, chunk):
        part = slice(start, start + chunk)
        _closed_form(
            Costs(*(row[part] for row in totals)),
            *(array[part] for array in flat),
            snap=snap,
            macro=macro_architecture(version, pools, stem_kernel, stem_stride),
            conv10_pad=conv10_pad,
            classes=classes,
            image_size=image_size,
            channels=channels,
        )
    return Costs(*(row.reshape(shape) for row in totals))


def _closed_form(
    totals: Costs,
    base_e: Integers,
    incr_e: Integers,
    freq: Integers,
    pct_3x3: NDArray[np.float64],
    sr: NDArray[np.float64],
    fires: Integers,
    conv1: Integers,
    bypassed: Flags,
    convolved: Flags,
    *,
    snap: int,
    macro: MacroArchitecture,
    conv10_pad: int,
    classes: int,
    image_size: int,
    channels: int,
) -> None:
    """Add the costs of all layers to the totals, which are zeros."""
    side = conv_side(image_size, macro.kernel, macro.stride, macro.pad)
    inputs = np.where(conv1 > 0, conv1, macro.conv1).astype(np.int64)
    _add(totals, inputs * (channels * macro.kernel**2), inputs, side)
    _hold(totals, channels * image_size**2 + inputs * side**2)
    if 1 in macro.pools:
        side = _pool(totals, inputs, side)
    last_side = np.full(inputs.shape, side, np.int64)
    fewest = int(fires.min())
    for i in range(int(fires.max(initial=0))):
        e = base_e + incr_e * (i // freq)
        if snap > 1:
            e = np.maximum(1, np.rint(e / snap).astype(np.int64)) * snap
        e3x3 = np.rint(pct_3x3 * e / snap).astype(np.int64) * snap
        s1x1 = np.maximum(1, np.rint(sr * e / snap).astype(np.int64)) * snap
        differs = inputs != e
        bypass = convolved & differs
        kept = bypass | (bypassed & ~differs)  # the input, until it is added
        weights = s1x1 * (inputs + e + 8 * e3x3) + bypass * (inputs * e)
        outputs = s1x1 + e + bypass * e
        alive = s1x1 + np.maximum(inputs, e) + kept * np.minimum(inputs, e) + bypass * (e - s1x1)
        present = i < fires
        if i >= fewest:  # here some of the networks have ended
            weights, outputs, alive = weights * present, outputs * present, alive * present
            inputs = np.where(present, e, inputs)
        else:
            inputs = e
        _add(totals, weights, outputs, side)
        _hold(totals, alive * side**2)
        if i + 2 in macro.pools:
            side = _pool(totals, inputs * present, side)
        last_side = np.where(present, side, last_side)
    output_side = last_side + 2 * conv10_pad
    _add(totals, classes * inputs, classes, output_side)
    _hold(totals, inputs * last_side**2 + classes * output_side**2)
    _hold(totals, classes * (output_side**2 + 1))  # the average pool


def _add(totals: Costs, weights: Integers, outputs: Integers | int, side: Integers | int) -> None:
    """Add layers with these weights and output channels, on output maps of this side."""
    parameters, macs, activations, biases, _ = totals
    parameters += weights + outputs
    macs += weights * side**2
    activations += outputs * side**2
    biases += outputs


def _hold(totals: Costs, elements: Integers) -> None:
    """Raise the peaks to these, where they are larger."""
    np.maximum(totals.peak_ram_bytes, elements, out=totals.peak_ram_bytes)


def _pool(totals: Costs, depth: Integers, side: int) -> int:
    """Add a pool of maps of this depth and side. Returns the side of its output."""
    after = pool_side(side)
    _hold(totals, depth * (side**2 + after**2))
    return after
