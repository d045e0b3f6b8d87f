"""python -m sweep --help. Hydra's own help takes a second to list the groups; this one reads the folder."""

import dataclasses
import re
from dataclasses import replace
from typing import Any

import hydra
from omegaconf import OmegaConf, open_dict

from fire.errors import SpecError
from sweep.config import CONF, PARTS

TEXT = """\
Train SqueezeNet-style networks and sweep their metaparameters.

  python -m sweep experiment=sr                         the squeeze-ratio sweep (also pct_3x3, bypass)
  python -m sweep -m arch.sr=0.125,0.25 seed=0,1        any other sweep
  python -m sweep arch=squeezenet_small train=full      one run
  python -m sweep experiment=sr dry_run=true            the points with their costs; trains nothing
  python -m sweep experiment=search search.budget_runs=200 'search.constraints=[size_bytes<=500e3]'
  python -m sweep.search best --size-bytes 500e3        the best network of the results
  python -m sweep.compress results/KEY compress=entropy a finished run, made small: also deep_compression
  python -m sweep.evaluate WEIGHTS data=digits          the accuracy of a file of weights
  python -m analysis results --out report               figures, tables and a page, from the results

Finished runs are skipped, killed ones go on from their last epoch. --hydra-help tells of Hydra's own flags.

Groups (group=choice)

{groups}

Choices (key=choice)

{choices}

{axes}Configuration (key=value; with -m a list of values is a sweep)

{configuration}"""


def text(overrides: list[str]) -> str:
    """What --help prints: the groups of conf/, and the configuration that the overrides lead to."""
    groups = {
        folder.name: sorted(file.stem for file in folder.glob("*.yaml"))
        for folder in sorted(CONF.iterdir())
        if folder.is_dir() and folder.name != "hydra"
    }
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = hydra.compose("config", overrides=overrides, return_hydra_config=True)
    params = cfg.hydra.sweeper.params
    with open_dict(cfg):
        del cfg["hydra"]
    choices = {
        f"{part}.{name}": texts
        for part in (*PARTS, "search")
        for name, texts in _choices(OmegaConf.get_type(cfg[part])).items()
        if f"{part}.{name}" not in ("data.name", "compress.method")  # which come with their groups
    }
    return TEXT.format(
        groups="\n".join(f"{name}: {', '.join(names)}" for name, names in groups.items()),
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
