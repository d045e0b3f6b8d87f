"""The coder of compressed networks alone: bytes of the same integers by ours and by others; overhead, time."""

import time
from pathlib import Path

import numpy as np
import zstandard

from bench.measure import Row, interleaved, median
from fire.arch import SqueezeNetSpec
from fire.weights import caffe, fcn, integers
from fire.weights.header import Header
from fire.weights.integers import Bounds
from fire.weights.quantised import Compressed, Floats, Quantised, to_float

STEP = 1.2  # of a uniform grid, in standard deviations of the weights that are not zero: about 1.5 bits a weight
DEAD_ZONE = 0.1  # of a step: that much smaller than half a step rounds to 0 too


def on_grid(network: Compressed) -> Compressed:
    """The same network with coarse steps, as training for compression leaves it; biases with fine ones."""
    tensors: dict[str, Quantised | Floats] = {}
    for name, tensor in network.tensors.items():
        exact = to_float(tensor).astype(np.float64)
        coarse = name.endswith("weight")
        step = np.array(exact[exact != 0].std() * (STEP if coarse else 0.05), np.float32)
        magnitude = np.floor(np.abs(exact) / step + 0.5 - (DEAD_ZONE if coarse else 0))
        tensors[name] = Quantised(integers=(np.sign(exact) * magnitude).astype(np.int32), values=step)
    return Compressed(header=network.header, tensors=tensors)


def made_up() -> Compressed:
    """SqueezeNet v1.0 with Laplace-distributed weights of which a third is not zero, for want of a real one."""
    rng = np.random.default_rng(0)
    spec = SqueezeNetSpec()
    about = Header(spec=spec, preprocessing=caffe.PREPROCESSING, class_names=caffe.HEADER.class_names)
    tensors: dict[str, Quantised | Floats] = {}
    for name, shape in about.shapes.items():
        weights = rng.laplace(0, 1, shape) * (rng.random(shape) < 1 / 3)
        tensors[name] = weights.astype(np.float32)
    return Compressed(header=about, tensors=tensors)


def coded_bytes(network: Compressed) -> dict[str, int]:
    """Bytes of the integers of a network by each coder; steps, codebooks and plain tensors are left out."""
    arrays = [tensor.integers for tensor in network.tensors.values() if isinstance(tensor, Quantised)]
    bounds = [Bounds(array.shape, int(array.min(initial=0)), int(array.max(initial=0))) for array in arrays]
    whole = [
        (array - bound.low).astype(np.min_scalar_type(bound.kinds - 1)).tobytes()
        for array, bound in zip(arrays, bounds, strict=True)
    ]
    return {
        "ours": len(integers.encode("adaptive", arrays, bounds)),
        "Deep Compression's gaps and Huffman codes": len(integers.encode("huffman", arrays, bounds)),
        "Huffman codes of each tensor, zeros as symbols": sum(len(integers.deflate(data)) for data in whole),
        "zstd -19": len(zstandard.compress(b"".join(whole), 19)),
    }


def rows(rounds: int, path: Path) -> list[Row]:
    """With the authors' file at that path if it is there, otherwise with made-up weights."""
    exact = caffe.read(path) if path.is_file() else None
    if exact is None:
        networks = {"made-up weights, uniform grid": on_grid(made_up())}
    else:
        networks = {"authors' 8-bit codes": exact, "uniform grid": on_grid(exact)}
    found = []
    for name, network in networks.items():
        sizes = coded_bytes(network)
        for peer, size in list(sizes.items())[1:]:
            found.append(
                Row(
                    what=f"bytes of the same integers, {name}",
                    peer=peer,
                    goal="smaller",
                    measured=f"{sizes['ours'] / size:.3f}",
                    detail=f"{sizes['ours']:,} against {size:,} bytes",
                )
            )
        data = fcn.encode(network)
        overhead = fcn.overhead_bytes(data)
        found.append(
            Row(
                what=f"header, tables and checksums of the file, {name}",
                peer="-",
                goal="3 %",
                measured=f"{overhead / len(data):.2%}",
                detail=f"{overhead:,} of {len(data):,} bytes",
            )
        )
        if network is exact:
            found.append(
                Row(
                    what="the authors' file in our format, nothing lost",
                    peer="as released",
                    goal="540,000 bytes",
                    measured=f"{len(data):,} bytes",
                    detail=f"{path.stat().st_size:,} as released",
                )
            )
        times = interleaved({name: lambda data=data: decode_seconds(data)}, rounds)[name]
        found.append(
            Row(
                what=f"decoding 1.25 million weights, {name}",
                peer="-",
                goal="0.15 s",
                measured=median(times, "s"),
                detail=f"fastest of {rounds}: {min(times):.3g} s",
            )
        )
    return found


def decode_seconds(data: bytes) -> float:
    """Seconds of one core, from the bytes of the file to its checked tensors."""
    started = time.process_time()
    fcn.decode(data)
    return time.process_time() - started
