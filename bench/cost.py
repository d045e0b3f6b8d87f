"""Configurations a second whose parameters and multiply-accumulates are counted exactly: ours against libraries."""

import contextlib
import io
import time
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench import plain
from bench.measure import Row, interleaved, median, ratio
from bench.step import SMALL
from fire.cost import count
from fire.cost_grid import count_grid

Counts = tuple[int, int]  # parameters, multiply-accumulates
IMAGE = (1, 1, 28, 28)


def of_flop_counter(network: nn.Module) -> Counts:
    """Torch's own, on the operations that are run."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.zeros(IMAGE))
    return sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 2


def of_fvcore(network: nn.Module) -> Counts:
    """Traced."""
    from fvcore.nn import FlopCountAnalysis, parameter_count

    analysis = FlopCountAnalysis(network, torch.zeros(IMAGE)).unsupported_ops_warnings(False)
    return parameter_count(network)[""], int(analysis.total())


def of_thop(network: nn.Module) -> Counts:
    """By hooks on modules."""
    from thop import profile

    macs, parameters = profile(network, inputs=(torch.zeros(IMAGE),), verbose=False)
    return int(parameters), int(macs)


def of_torchinfo(network: nn.Module) -> Counts:
    """By hooks on modules."""
    from torchinfo import summary

    found = summary(network, input_size=IMAGE, verbose=0)
    return found.total_params, found.total_mult_adds


def of_ptflops(network: nn.Module) -> Counts:
    """By hooks on modules."""
    from ptflops import get_model_complexity_info

    macs, parameters = get_model_complexity_info(
        network, IMAGE[1:], as_strings=False, print_per_layer_stat=False, verbose=False
    )
    return int(parameters), int(macs)


PEERS: dict[str, Callable[[nn.Module], Counts]] = {
    "torch's FlopCounterMode": of_flop_counter,
    "fvcore": of_fvcore,
    "thop": of_thop,
    "torchinfo": of_torchinfo,
    "ptflops": of_ptflops,
}
GRID = 400_000


def our_rate() -> float:
    """Points of a grid a second."""
    started = time.perf_counter()
    count_grid(sr=np.linspace(0.01, 1, GRID), version="small", classes=10, image_size=28, channels=1)
    return GRID / (time.perf_counter() - started)


def peer_rate(of: Callable[[nn.Module], Counts], networks: int = 3) -> float:
    """Networks a second, built and counted."""
    started = time.perf_counter()
    for _ in range(networks):
        with quiet():
            of(plain.SqueezeNet(SMALL, channels=1, norm=False).eval())
    return networks / (time.perf_counter() - started)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without what the libraries print and warn of."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def rows(rounds: int) -> list[Row]:
    """A row a library; one that is not installed, or cannot count the network, is not measured."""
    exact = count(SMALL, 28, 1)
    found = []
    for name, of in PEERS.items():
        row = Row(what="cost model, configurations/s", peer=name, goal="10,000x", measured="not measured")
        try:
            with quiet():
                parameters, macs = of(plain.SqueezeNet(SMALL, channels=1, norm=False).eval())
            rates = interleaved({"ours": our_rate, name: lambda of=of: peer_rate(of)}, rounds)
        except Exception as error:  # of whatever kind the library raises
            found.append(Row(**{**vars(row), "detail": f"{type(error).__name__}: {error}".splitlines()[0]}))
            continue
        same = (
            "exact" if (parameters, macs) == (exact.parameters, exact.macs) else f"MACs off by {macs - exact.macs:+,}"
        )
        found.append(
            Row(
                **{
                    **vars(row),
                    "measured": ratio(rates["ours"], rates[name]),
                    "detail": f"{median(rates['ours'], '/s')} against {median(rates[name], '/s')}, built and counted; "
                    f"its count: {same}",
                }
            )
        )
    return found
