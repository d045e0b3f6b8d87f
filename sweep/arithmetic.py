"""What decides the bits of a sweep's runs besides their configurations; fixed at the sweep's first launch. No torch."""

from collections.abc import Callable, Collection
from dataclasses import replace

from fire.errors import InputError
from fire.machine import hardware, native
from fire.train.spec import TrainSpec
from sweep.config import Options
from sweep.engines.local import slots
from sweep.manifests import Arithmetic, Sweep


def device_of(options: Options) -> str:
    """Where runs train on this machine: cpu or cuda."""
    return "cpu" if slots(options, runs=1) == [None] else "cuda"


def here(options: Options) -> Arithmetic:
    """The arithmetic that suits this machine."""
    device = device_of(options)
    return Arithmetic(precision=hardware.fastest_precision(device), kernels=native.fastest(device), threads=1)


def arithmetic_of(
    options: Options, former: Sweep | None, elsewhere: Callable[[], Arithmetic] | None = None
) -> Arithmetic:
    """What `auto` means for the runs of a launch, and how many threads each has.

    What the user set comes first, then what the sweep began with (former: its manifest), then what suits this machine,
    or the other machines where the runs are (elsewhere).
    Raises InputError if the sweep began with compiled kernels and there is no compiler here.
    """
    began = None if former is None else former.arithmetic
    chosen = began or (elsewhere() if elsewhere else here(options))
    chosen = Arithmetic(
        precision=options.auto_precision or chosen.precision,
        kernels=options.auto_kernels or chosen.kernels,
        threads=options.threads or chosen.threads,
    )
    if chosen.kernels == "compiled" and not elsewhere and device_of(options) == "cpu" and not native.available():
        raise InputError(
            "auto_kernels must be torch where there is no C++ compiler, got compiled, which this sweep began with"
        )
    return chosen


def as_begun(options: Options, former: Sweep | None) -> Options:
    """The options with the threads of a run that the sweep began with, unless the user set others.

    Workers are counted by them, before the arithmetic is known. former: the sweep's manifest.
    """
    began = None if former is None else former.arithmetic
    return options if began is None or options.threads else replace(options, threads=began.threads)


def with_arithmetic(options: Options, arithmetic: Arithmetic) -> Options:
    """The options with this arithmetic set."""
    return replace(
        options,
        auto_precision=arithmetic.precision,
        auto_kernels=arithmetic.kernels,
        threads=arithmetic.threads,
    )


def described(arithmetic: Arithmetic, options: Options, recipes: Collection[TrainSpec]) -> str:
    """What runs of these recipes are computed in, in a few words, and what of it does not suit this machine."""
    precisions = {arithmetic.precision if recipe.precision == "auto" else recipe.precision for recipe in recipes}
    kernels = {_kernels(arithmetic, recipe) for recipe in recipes}
    text = f"{' and '.join(sorted(precisions))}, kernels={' and '.join(sorted(kernels))}"
    text += f", {arithmetic.threads} thread{'s' * (arithmetic.threads > 1)} a run"
    if arithmetic.threads > hardware.cores():
        text += f" (this machine has {hardware.cores()} cores, which are used)"
    if "bf16" in precisions and device_of(options) == "cpu" and not hardware.has_fast_bf16("cpu"):
        text += " (bf16 is slower than fp32 on this processor)"
    return text


def _kernels(arithmetic: Arithmetic, recipe: TrainSpec) -> str:
    if recipe.kernels != "auto":
        return recipe.kernels
    return arithmetic.kernels if recipe.channels_last else "torch"
