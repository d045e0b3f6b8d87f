"""The settings of engines, the node hydra.launcher. Standard library only."""

from dataclasses import dataclass, field

from fire.errors import require
from fire.fields import check, number, one_of, setting, whole


@dataclass(frozen=True, kw_only=True)
class RaySettings:
    """The settings of hydra/launcher=ray."""

    _target_: str = "hydra_plugins.design_space.RayLauncher"  # what Hydra makes of the node
    store: str = one_of("auto", "shared", "driver", doc="who writes results: auto, shared (workers), driver")
    host: str = setting("", doc="a name or address of this machine that workers reach; empty: as Ray knows it")

    def __post_init__(self) -> None:
        check(self, "hydra.launcher.")


@dataclass(frozen=True, kw_only=True)
class SlurmSettings:
    """The settings of hydra/launcher=slurm. Those that are empty or 0 are left to the cluster."""

    _target_: str = "hydra_plugins.design_space.SlurmLauncher"  # what Hydra makes of the node
    store: str = one_of("auto", "shared", "driver", doc="who writes results: auto, shared (workers), driver")
    host: str = setting("", doc="a name or address of this machine that workers reach; empty: its host name")
    partition: str = setting("", doc="where jobs run")
    account: str = setting("", doc="who is charged")
    qos: str = setting("", doc="quality of service")
    time: int = whole(240, least=1, doc="minutes of a job; one that ends is followed by another while runs are left")
    leave: int = whole(0, least=0, doc="seconds before a job's end at which its worker gives its run back; 0: enough")
    gpus: int = whole(0, least=0, doc="of a job, which does runs_per_gpu runs on each at a time; 0: on one processor")
    memory: float = number(0.0, interval="[0, inf)", doc="GiB of a job")
    setup: list[str] = field(default_factory=list)  # lines of the shell before a job's work, such as module load
    parameters: dict[str, str] = field(default_factory=dict)  # more of sbatch, such as {reservation: mine}
    executor: str = one_of("slurm", "local", doc="of submitit; local: processes of this machine, to try it out")

    def __post_init__(self) -> None:
        check(self, "hydra.launcher.")
        rule = f"below the job's {60 * self.time} seconds"
        require(self.leave < 60 * self.time, "hydra.launcher.leave", rule, self.leave)

    @property
    def life(self) -> float:
        """Seconds that a worker stays: a run must have the time to end, and in a short job the time to begin."""
        return 60 * self.time - (self.leave or min(120, 12 * self.time))
