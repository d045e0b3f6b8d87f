"""python -m sweep --help. Hydra's own help takes a second to list the groups; this one reads the folder."""

import hydra
from omegaconf import OmegaConf

from sweep.config import CONF

TEXT = """\
Train SqueezeNet-style networks and sweep their metaparameters. Run from the checkout.

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

Configuration (key=value; with -m a list of values is a sweep)

{configuration}"""


def text(overrides: list[str]) -> str:
    """What --help prints: the groups of conf/, and the configuration that the overrides lead to."""
    groups = {
        folder.name: sorted(file.stem for file in folder.glob("*.yaml"))
        for folder in sorted(CONF.iterdir())
        if folder.is_dir() and folder.name != "hydra"
    }
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        configuration = OmegaConf.to_yaml(hydra.compose("config", overrides=overrides))
    return TEXT.format(
        groups="\n".join(f"{name}: {', '.join(choices)}" for name, choices in groups.items()),
        configuration=configuration,
    )
