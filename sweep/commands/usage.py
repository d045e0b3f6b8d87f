"""python -m sweep --help and --version. Hydra's own help takes a second to list the groups; this one reads folders."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from fire.fields import Setting, settings_of
from sweep.commands.arguments import FLAGS
from sweep.config import PARTS, Options
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
  python -m sweep.device peak_ram=48KiB flash=80KiB    a network for a small device, with its files: see its --help
  python -m sweep.compress results/KEY compress=entropy a finished run, made small: also deep_compression
  python -m sweep.export results/KEY --int8             ONNX files of a finished run, in fp32 and int8
  python -m sweep.evaluate WEIGHTS data=digits          the accuracy of a file of weights
  python -m analysis results --out report               figures, tables and a page, from the results
  python -m analysis map results                        the accuracy to expect of networks that were not trained

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
    from importlib import metadata  # here, as only this needs its parser of e-mails

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
    classes: dict[str, Any] = {part: OmegaConf.get_type(cfg[part]) for part in (*PARTS, "search")}
    settings = {part: settings_of(cls) for part, cls in {**classes, "": Options}.items()}
    choices = {
        f"{part}.{name}": ", ".join(setting.choices)
        for part in (*PARTS, "search")
        for name, setting in settings[part].items()
        if setting.choices and f"{part}.{name}" not in ("data.name", "compress.method")  # which come with their groups
    }
    return TEXT.format(
        groups="\n".join(f"{name}: {', '.join(sorted(names))}" for name, names in groups.items() if names),
        flags=FLAGS,
        choices="\n".join(f"{key}: {texts}" for key, texts in choices.items()),
        axes=f"Varied (a list or a value replaces it)\n\n{OmegaConf.to_yaml(params)}\n" if params else "",
        configuration=_explained(OmegaConf.to_yaml(cfg), settings),
    )


def _explained(configuration: str, settings: Mapping[str, Mapping[str, Setting]]) -> str:
    """The YAML with the help and the range of each setting behind it. settings: by their parts."""
    lines, part = [], ""
    for line in configuration.splitlines():
        name = line.strip().partition(":")[0]
        part = part if line.startswith(" ") else name
        found = settings.get(part if line.startswith(" ") else "", {}).get(name, Setting())
        comment = "; ".join(filter(None, (found.doc, "" if found.choices else found.rule)))
        lines.append(f"{line}  # {comment}" if comment else line)
    return "\n".join(lines) + "\n"
