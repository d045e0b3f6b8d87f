"""python -m sweep --help and --version. Hydra's own help takes a second to list the groups; this one reads folders."""

import dataclasses
import re
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fire.errors import SpecError
from sweep.commands.arguments import FLAGS
from sweep.config import PARTS
from sweep.origin import git_state

PROGRAM = "squeezenet-design-space"

TEXT = """\
Train SqueezeNet-style networks and sweep their metaparameters.

  python -m sweep experiment=sr                         the squeeze-ratio sweep (also pct_3x3, bypass)
  python -m sweep -m arch.sr=0.125,0.25 seed=0,1        any other sweep
  python -m sweep arch=squeezenet_small train=full      one run
  python -m sweep experiment=sr dry_run=true            the points with their costs; trains nothing
  python -m sweep experiment=search search.budget_runs=200 search.at_most.size_bytes=500e3
  python -m sweep.search best --size-bytes 500e3        the best network of the results
  python -m sweep.compress results/KEY compress=entropy a finished run, made small: also deep_compression
  python -m sweep.evaluate WEIGHTS data=digits          the accuracy of a file of weights
  python -m analysis results --out report               figures, tables and a page, from the results

Finished runs are skipped, killed ones go on from their last epoch.

Flags

{flags}

Groups (group=choice)

{groups}

Choices (key=choice)

{choices}

{axes}Configuration (key=value; with -m a list of values is a sweep)

{configuration}"""


def version() -> str:
    """The program and its version, and the commit of the checkout."""
    commit, dirty = git_state()
    at = f", commit {commit}{' with changes' if dirty else ''}" if commit else ""
    try:
        return f"{PROGRAM} {metadata.version(PROGRAM)}{at}"
    except metadata.PackageNotFoundError:
        return f"{PROGRAM}, not installed{at}"


def text(cfg: DictConfig, *folders: Path) -> str:
    """What --help prints: the groups of the folders, and the configuration, which is composed with Hydra's node."""
    groups: dict[str, set[str]] = {}
    for folder in folders:
        for group in sorted(path for path in folder.iterdir() if path.is_dir() and path.name != "hydra"):
            groups.setdefault(group.name, set()).update(file.stem for file in group.glob("*.yaml"))
    params = cfg.hydra.sweeper.params
    cfg = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    choices = {
        f"{part}.{name}": texts
        for part in (*PARTS, "search")
        for name, texts in _choices(OmegaConf.get_type(cfg[part])).items()
        if f"{part}.{name}" not in ("data.name", "compress.method")  # which come with their groups
    }
    return TEXT.format(
        groups="\n".join(f"{name}: {', '.join(sorted(names))}" for name, names in groups.items() if names),
        flags=FLAGS,
        choices="\n".join(f"{key}: {texts}" for key, texts in choices.items()),
        axes=f"Varied (a list or a value replaces it)\n\n{OmegaConf.to_yaml(params)}\n" if params else "",
        configuration=OmegaConf.to_yaml(cfg),
    )


def _choices(cls: Any) -> dict[str, str]:
    """What each field that is one of a few words may be, as its own rule says."""
    found: dict[str, str] = {}
    for field in dataclasses.fields(cls):
        if field.type is str:
            try:
                replace(cls(), **{field.name: "?"})
            except SpecError as error:
                rule = re.search(r"must be one of (.*), got", str(error))
                found |= {field.name: rule[1]} if rule else {}
    return found
