"""From Hydra's configurations to ours: schemas, presets, and nodes or plain values as a RunConfig. No torch."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import hydra
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, IntegerNode, OmegaConf, flag_override
from omegaconf.errors import OmegaConfBaseException

from fire.arch import FAMILIES
from fire.compress.spec import CompressSpec
from fire.data.spec import DataSpec
from fire.errors import InputError
from fire.files import reading
from fire.train.spec import TrainSpec
from sweep.commands.hydra_errors import in_our_words, unknown_key, without_schema
from sweep.config import PARTS, Options, RunConfig, in_home, in_part
from sweep.engines.spec import RaySettings, SlurmSettings
from sweep.search.spec import SearchSpec

OPTIONS = tuple(field.name for field in dataclasses.fields(Options))
OF_PARTS: dict[str, type[Any]] = {"data": DataSpec, "train": TrainSpec, "compress": CompressSpec}
SCHEMAS = "schema"  # a group of its own: beside the presets they would be choices, and train=glob(*) find them
# In sweep/ where the package is installed (pyproject.toml), beside it in a checkout.
CONF = next(folder for parent in Path(__file__).parents[:2] if (folder := parent / "conf").is_dir())


def presets() -> AbstractContextManager[None]:
    """A context in which Hydra composes configurations from the presets of conf/."""
    register_schema()
    # Hydra 1.3 warns where the version of its defaults is missing, 1.4 where it is given.
    version = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}
    context: AbstractContextManager[None] = hydra.initialize_config_dir(str(CONF), job_name="sweep", **version)
    return context


@functools.cache
def register_schema() -> None:
    """Make the dataclasses known to Hydra, once, as the bases that the YAML files of conf/ fill in."""
    store = ConfigStore.instance()
    settings = {"ray": RaySettings, "slurm": SlurmSettings}
    for name, spec in (FAMILIES | OF_PARTS | settings).items():
        store.store(group=SCHEMAS, name=name, node=schema_of(spec))
    options = {"seed": _seed(), **dataclasses.asdict(Options()), "search": schema_of(SearchSpec)}
    store.store(group=SCHEMAS, name="options", node=options)


def _seed() -> IntegerNode:
    return IntegerNode(0, is_optional=False)


def schema_of(cls: type[Any]) -> DictConfig:
    """A node with the class's fields and defaults, which converts values to the fields' types."""
    node: DictConfig = OmegaConf.structured(cls)
    for each in (node, *(child for child in node.values() if isinstance(child, DictConfig))):
        OmegaConf.set_readonly(each, None)  # frozen dataclasses come read-only, and YAML could not be merged over them
    return node


def describe_folder(root: str, data_dir: str) -> tuple[int, str]:
    """How many classes an image folder has, and its fingerprint, which is kept in data_dir."""
    from fire.data import contents, folders  # Pillow is imported here, where there are images

    listing = folders.scan(Path(root))
    return len(listing.class_names), contents.fingerprint(listing, Path(data_dir))


def describe_file(path: str) -> str:
    """A fingerprint of what the file of weights holds. Raises InputError if it cannot be read."""
    with reading("train.weights", Path(path), "a readable file"), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def require_schemas(cfg: DictConfig) -> None:
    """Raise InputError for a preset whose file names no schema: it has only the values that it sets."""
    for part in PARTS:
        specs = tuple(FAMILIES.values()) if part == "arch" else (OF_PARTS[part],)
        preset = cfg.get(part)
        if not isinstance(preset, DictConfig) or OmegaConf.get_type(preset) not in specs:
            raise InputError(without_schema(part))


def load(
    cfg: DictConfig,
    describe: Callable[[str, str], tuple[int, str]] = describe_folder,
    fingerprint: Callable[[str], str] = describe_file,
) -> RunConfig:
    """The run of a composed configuration. Raises InputError where a value breaks its rule.

    describe: what gives the classes and the fingerprint of an image folder, which have no place in YAML.
    fingerprint: the same for a file of weights.
    """
    with in_our_words():
        cfg = cfg.copy()
        require_schemas(cfg)
        with flag_override(cfg, ["readonly", "struct"], [False, False]):
            cfg.pop("search", None)  # of the sweep, not of a run
            if cfg.data.root is not None:
                cfg.data.root = in_home(str(cfg.data.root))
            if cfg.train.weights:
                cfg.train.weights = in_home(str(cfg.train.weights))
            if cfg.data.name == "image_folder" and cfg.data.root is not None:
                cfg.data.classes, cfg.data.fingerprint = describe(str(cfg.data.root), in_home(str(cfg.data_dir)))
            if cfg.train.weights:
                cfg.train.weights_fingerprint = fingerprint(str(cfg.train.weights))
        refuse_unknown(cfg, "", ["seed", *OPTIONS, "search", *PARTS, "experiment"])
        for name in PARTS:
            refuse_unknown(cfg[name], f"{name}.", names_of(OmegaConf.get_type(cfg[name])))
        with in_part("arch"):
            arch: Any = OmegaConf.to_object(cfg.arch)
        parts: dict[str, Any] = {"arch": arch} | {name: OmegaConf.to_object(cfg[name]) for name in PARTS[1:]}
        return RunConfig(**parts, seed=cfg.seed)


def options_of(cfg: DictConfig) -> Options:
    """The options of a composed configuration. Raises InputError where a value breaks its rule."""
    with in_our_words():
        given = {name: cfg[name] for name in OPTIONS}
        options: Any = OmegaConf.to_object(OmegaConf.merge(schema_of(Options), given))
        return cast(Options, options)


def with_values(config: RunConfig, values: Mapping[str, Any]) -> RunConfig | None:
    """The configuration with some of its fields set, such as arch.sr or seed, each to a value of its type.

    Options change nothing. None if that takes a composed configuration: unknown keys, interpolations, values of another
    type, other data. Raises InputError where a value breaks its rule.
    """
    changes: dict[str, dict[str, Any]] = {part: {} for part in (*PARTS, "")}
    for key, value in values.items():
        if key in OPTIONS:
            continue
        part, _, name = key.rpartition(".")
        of: Any = getattr(config, part) if part in PARTS else config
        known = key == "seed" or (part in PARTS and name in names_of(of))
        if (
            not known
            or key in ("data.name", "data.root", "data.fingerprint", "train.weights", "train.weights_fingerprint")
            or "${" in str(value)
        ):
            return None
        try:
            probe = _probe(type(of))  # type: ignore[arg-type] # of a type it cannot tell to be hashable
            OmegaConf.update(probe, name, value)
            changes[part][name] = probe[name]
        except OmegaConfBaseException:
            return None
    with in_part("arch"):
        arch = replace(config.arch, **changes["arch"])
    parts = {part: replace(getattr(config, part), **changes[part]) for part in PARTS[1:] if changes[part]}
    return replace(config, arch=arch, **parts, **changes[""])


@functools.cache
def _probe(cls: type[Any]) -> DictConfig:
    """A node that converts values to the types of the class's fields."""
    return OmegaConf.create({"seed": _seed()}) if cls is RunConfig else schema_of(cls)


def names_of(cls: Any) -> list[str]:
    """The names of a dataclass's fields."""
    return [field.name for field in dataclasses.fields(cls)]


def refuse_unknown(cfg: DictConfig, prefix: str, known: Sequence[str]) -> None:
    """Raise InputError for a key that +key=value added: it would do nothing."""
    for name in map(str, cfg):
        if name not in known:
            raise InputError(unknown_key(f"{prefix}{name}", known))
