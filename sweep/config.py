"""RunConfig: all that a run depends on, and its identity. Standard library only; sweep/compose.py has Hydra's side."""

import dataclasses
import functools
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from fire.arch import FAMILIES, ArchSpec
from fire.compress.spec import CompressSpec
from fire.cost import Cost, count
from fire.data.spec import DataSpec
from fire.errors import SpecError, require
from fire.fields import check, number, one_of, read, setting, whole
from fire.train.spec import TrainSpec
from fire.weights.header import MOST_ACTIVATIONS, MOST_PARAMETERS
from sweep import typed

MOST_MACS = 2**63
DIGITS = 12  # of a number, that count
LONGEST_TITLE = 80  # of a data set, in characters: above a figure
PARTS = ("arch", "data", "train", "compress")


@dataclass(frozen=True, kw_only=True)
class Options:
    """Where and how fast a launch runs: nothing that a run's result depends on. Raises SpecError on bad values."""

    device: str = setting("auto", doc="auto, cpu, cuda, cuda:0 ...")
    # One thread each gives a run by itself the bits of the same run in a sweep.
    threads: int = whole(0, least=0, doc="of a run; 0: one")
    workers: int = whole(
        0, least=0, doc="runs at a time, on GPUs at most runs_per_gpu on each; 0: as many, or one a core"
    )
    runs_per_gpu: int = whole(1, least=1)
    stop_epoch: int = whole(0, least=0, doc="stop each run after this epoch, a later launch continues it; 0: never")
    timeout: float = number(0.0, interval="[0, inf)", doc="seconds until a run of a sweep is stopped; 0: never")
    export: str = one_of("none", "onnx", "int8", doc="ONNX files of finished runs: none, onnx, int8 (both)")
    results_dir: str = setting("results", doc="a folder a run, and sweeps/", place=True)
    data_dir: str = setting("data", doc="downloads and decoded images", place=True)
    data_title: str = setting("", doc="the data set's name in figures and tables, such as 'My pictures'")
    dry_run: bool = setting(False, doc="show the points with their costs; train nothing")
    auto_precision: str = setting(
        "", doc="what train.precision=auto means; empty: as the sweep began, or what suits this machine"
    )
    auto_kernels: str = setting("", doc="likewise for train.kernels=auto")

    def __post_init__(self) -> None:
        for name in ("results_dir", "data_dir"):
            object.__setattr__(self, name, in_home(getattr(self, name)))
            require(bool(getattr(self, name)), name, "a folder", getattr(self, name))
        check(self)
        title = self.data_title
        shown = title.isprintable() and title == title.strip() and len(title) <= LONGEST_TITLE
        require(shown, "data_title", f"at most {LONGEST_TITLE} printable characters, no space at the ends", title)
        known = re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", self.device) is not None
        require(known, "device", "one of auto, cpu, cuda, cuda:N", self.device)
        require(self.auto_precision in ("", "fp32", "bf16"), "auto_precision", "fp32 or bf16", self.auto_precision)
        require(self.auto_kernels in ("", "compiled", "torch"), "auto_kernels", "compiled or torch", self.auto_kernels)


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """All that a run's result depends on: the network, the data, the recipe, the compression and the seed."""

    arch: ArchSpec
    data: DataSpec
    train: TrainSpec
    compress: CompressSpec = field(default_factory=CompressSpec)
    seed: int = 0

    def __post_init__(self) -> None:
        require(0 <= self.seed < 2**64, "seed", "at least 0 and below 2^64", self.seed)  # as torch's generators take it
        for part in PARTS:
            object.__setattr__(self, part, _canonical(part, getattr(self, part)))
        agrees = self.arch.classes == self.data.classes
        require(agrees, "arch.classes", f"data.classes, {self.data.classes}", self.arch.classes)
        if self.train.half_size_until:
            with in_part("train.half_size_until: half of data"):
                count(self.arch, -(-self.data.image_size // 2), self.data.channels)
        published = self.family in ("squeezenet", "alexnet") or read(self.compress).get("pruning") != "table"
        require(published, "compress.pruning", f"sensitivity for {self.family}, which no paper has pruned", "table")

    @property
    def family(self) -> str:
        """The name of the network's family in fire.arch.FAMILIES."""
        return next(name for name, cls in FAMILIES.items() if isinstance(self.arch, cls))

    @functools.cached_property
    def cost(self) -> Cost:
        """Cost of the network on this data; raises SpecError if the images are too small for it, or it is too large."""
        with in_part("data"):
            cost = count(self.arch, self.data.image_size, self.data.channels)
        require(cost.macs < MOST_MACS, "arch", "a network of less than 2^63 MACs an image", cost.macs)
        for name, most in (("parameters", MOST_PARAMETERS), ("activations", MOST_ACTIVATIONS)):
            rule = f"a network of at most {most:,} {name}, as files of weights hold"
            require(getattr(cost, name) <= most, "arch", rule, f"{getattr(cost, name):,}")
        return cost

    @property
    def is_compressed(self) -> bool:
        """Whether the trained network is compressed: the run without compression comes first, and is one of its own."""
        return self.compress.method != "none"

    @property
    def uncompressed(self) -> "RunConfig":
        """The run whose network this one compresses; itself if it doesn't."""
        return replace(self, compress=CompressSpec()) if self.is_compressed else self

    @property
    def parts(self) -> dict[str, dict[str, Any]]:
        """Every setting by its part, as record.json and config.yaml have them; the seed is beside them."""
        return {
            "arch": {"family": self.family, **vars(self.arch)},
            "data": dict(vars(self.data)),
            "train": dict(vars(self.train)),
            "compress": dict(vars(self.compress)) if self.is_compressed else {},
        }

    @classmethod
    def of_parts(
        cls,
        *,
        arch: Mapping[str, Any],
        data: Mapping[str, Any],
        train: Mapping[str, Any],
        compress: Mapping[str, Any],
        seed: int,
    ) -> "RunConfig":
        """The configuration with these settings; what they lack is as it was before there was such a setting.

        Raises InputError for what this version does not know, and for values out of their range; ValueError for values
        of wrong types.
        """
        family = arch.get("family")
        spec = FAMILIES.get(family) if isinstance(family, str) else None
        return cls(
            arch=_settings(spec, "arch", arch),
            data=_settings(DataSpec, "data", data),
            train=_settings(TrainSpec, "train", train),
            compress=_settings(CompressSpec, "compress", compress),
            seed=seed,
        )

    @functools.cached_property
    def identity(self) -> dict[str, Any]:
        """Family, metaparameters, data, recipe, compression, seed: what of them is read, not where files lie.

        It is kept, so it must not be changed. Values equal to their defaults are left out, so that a field that is
        added later, with what was done before as its default, leaves the keys of finished runs as they are.
        """
        return {
            "family": self.family,
            "arch": _differing(self.arch),
            "data": _differing(self.data),
            "train": _differing(self.train),
            "seed": self.seed,
            **({"compress": _differing(self.compress)} if self.is_compressed else {}),
        }

    @functools.cached_property
    def key(self) -> str:
        """The name of the run: 16 hexadecimal digits, a hash of its identity."""
        return hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:16]


def _differing(spec: Any) -> dict[str, Any]:
    """The values that the specification reads and that are not the defaults."""
    fields = spec.__dataclass_fields__
    return {name: value for name, value in read(spec).items() if value != fields[name].default}


def _canonical(part: str, spec: Any) -> Any:
    """The specification with each number in one form, however it was computed: 0.30000000000000004 is 0.3, 1 is 1.0.

    range(0.1,1,0.1) makes the first of them; without this it would be another key, and trained once more.
    Raises SpecError for a whole number so large that records and tables could not hold what follows from it.
    """
    values, changed = vars(spec), {}
    for name, is_float in _numbers(spec.__class__):
        value = values[name]
        if not isinstance(value, float):
            if value >= 2**31:
                raise SpecError(f"{part}.{name} must be below 2^31, got {value!r}")
            if is_float:
                changed[name] = _rounded(value)
        elif (number := _rounded(value)) != value:
            changed[name] = number
    return replace(spec, **changed) if changed else spec


@functools.lru_cache(maxsize=4096)
def _rounded(value: float) -> float:
    """The number with the digits that count. Cached: 100,000 records hold few numbers, and text takes long."""
    return float(f"{value:.{DIGITS}g}")


@functools.cache
def _numbers(cls: Any) -> tuple[tuple[str, bool], ...]:
    """The fields that are numbers by default, each with whether it is a float."""
    return tuple(
        (field.name, isinstance(field.default, float))
        for field in dataclasses.fields(cls)
        if isinstance(field.default, int | float) and not isinstance(field.default, bool)
    )


def in_home(path: str) -> str:
    """The path with ~ as the home folder, as in a shell, which leaves it alone behind KEY=."""
    return os.path.expanduser(path)  # noqa: PTH111 (Path.expanduser raises for ~name of an unknown user)


def _settings(spec: Any, part: str, values: Mapping[str, Any]) -> Any:
    try:
        return _specification(spec, part, tuple(values), *values.values())
    except TypeError:  # no setting is a list or an object, so these have no hash
        typed.check(spec, values, f"{part}.")
        raise


@functools.lru_cache(maxsize=1024, typed=True)  # runs share most of their settings; 1, 1.0 and true are not the same
def _specification(spec: Any, part: str, names: tuple[str, ...], *values: Any) -> Any:
    settings = dict(zip(names, values, strict=True))
    typed.check(spec, settings, f"{part}.")
    family = settings.pop("family", None) if part == "arch" else None
    require(spec is not None, "family", "one of " + ", ".join(FAMILIES), family)
    for name, value in settings.items():
        if name not in spec.__dataclass_fields__:
            raise SpecError(f"{name} must be a setting of this version, got {value!r}")
    return spec(**settings)


@contextmanager
def in_part(part: str) -> Iterator[None]:
    """Has errors of the network's specification or cost, which know no parts, name the field as a command line does."""
    try:
        yield
    except SpecError as error:
        raise SpecError(f"{part}.{error}") from error
