"""What a search is: budget, objectives, bounds, sampler, early stopping. Standard library only."""

from dataclasses import dataclass, field
from typing import Any

from fire.errors import require
from fire.fields import check, number, one_of, whole

MEASURED = ("top1", "latency")
OBJECTIVES = ("top1", "size_bytes", "macs", "peak_ram_bytes", "weight_bytes", "flash_bytes", "latency")
SAMPLERS = ("ehvi", "tpe", "nsga2", "random", "grid", "map")
LEARN_TOP1 = ("ehvi", "map")  # samplers that expect accuracies
REMOVED_SAMPLERS = {"gp": "tpe", "nsga3": "nsga2", "qmc": "random"}  # of earlier versions, and what to use instead


@dataclass(frozen=True, kw_only=True)
class AtMost:
    """Upper bounds on what a network costs, each known before it is trained; None: no bound."""

    size_bytes: float | None = None
    parameters: float | None = None
    macs: float | None = None
    activations: float | None = None
    peak_ram_bytes: float | None = None
    weight_bytes: float | None = None
    flash_bytes: float | None = None

    def __post_init__(self) -> None:
        for name, bound in self.bounds.items():
            require(bound > 0, f"search.at_most.{name}", "above 0", bound)

    @property
    def bounds(self) -> dict[str, float]:
        """The bounds that are set, by the names of the costs."""
        return {name: bound for name, bound in vars(self).items() if bound is not None}

    @property
    def texts(self) -> list[str]:
        """The bounds as text: size_bytes<=500000."""
        return [_text(name, bound) for name, bound in self.bounds.items()]

    def broken_by(self, costs: Any) -> list[str]:
        """The bounds, as text, that these costs exceed: the attributes of a Cost or a Record."""
        return [_text(name, bound) for name, bound in self.bounds.items() if getattr(costs, name) > bound]


def _text(name: str, bound: float) -> str:
    return f"{name}<={bound:.15g}"  # :g would round 1248424


@dataclass(frozen=True, kw_only=True)
class SearchSpec:
    """The settings of a search, search.* on the command line. A value outside its range raises SpecError.

    The space is what the sweeper's parameters span; the grid of experiment=search, or lists on the command line.
    """

    # Networks to try. Those in the results count, so a second launch with a larger budget goes on.
    budget_runs: int = whole(100, least=1)
    objectives: list[str] = field(default_factory=lambda: ["top1", "size_bytes"])  # top1 is of the validation set
    at_most: AtMost = field(default_factory=AtMost)
    sampler: str = one_of(*SAMPLERS)
    seed: int = whole(0, least=0, doc="of the sampler")
    # 1: all are trained to the end. Else a network goes on from one rung to the next, `reduction` times as many epochs,
    # if it is among the best 1/reduction of those that reached the rung.
    reduction: int = whole(1, least=1)
    first_rung: int = whole(0, least=0, doc="epochs; 0: a third of the recipe's")
    retry_failed: bool = False  # runs that failed before this launch count as not tried: they may be chosen again
    # The band of the map holds 90 % of what is expected; its width is a fraction of 1, the mean over the space.
    band: float = number(0.0, interval="[0, 1)", doc="with sampler=map: end once the band is as narrow; 0: never")
    warm_start: str = one_of("none", "map", doc="begin with the networks that the results' map expects to be best")
    # The networks to train first, and to the end, each as what differs from the configuration; {} is the configuration.
    first: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        instead = REMOVED_SAMPLERS.get(self.sampler)
        require(instead is None, "search.sampler", f"{instead} in this version", self.sampler)
        check(self, "search.")
        distinct = set(self.objectives)
        known = distinct <= set(OBJECTIVES) and len(distinct) == len(self.objectives)
        require(known, "search.objectives", f"some of {', '.join(OBJECTIVES)}, each once", self.objectives)
        rule = f"{' or '.join(MEASURED)}, with or without others"  # for others alone, nothing would have to be trained
        require(not distinct.isdisjoint(MEASURED), "search.objectives", rule, self.objectives)
        learns = "top1" in distinct or self.sampler not in LEARN_TOP1
        others = " or ".join(name for name in SAMPLERS if name not in LEARN_TOP1)
        require(learns, "search.sampler", f"{others} for objectives without top1", self.sampler)
        require(self.sampler == "map" or not self.band, "search.band", "0 unless search.sampler=map", self.band)
        read = self.reduction > 1 or self.first_rung == 0
        require(read, "search.first_rung", "0 with search.reduction=1, which has no rungs", self.first_rung)

    @property
    def asked_for(self) -> dict[str, list[str]]:
        """The objectives and bounds, as a manifest has them."""
        return {"objectives": list(self.objectives), "constraints": self.at_most.texts}

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """After how many epochs runs of `epochs` are compared; the last is their end."""
        rungs = []
        rung = self.first_rung or max(1, round(epochs / 3))
        while self.reduction > 1 and rung < epochs:
            rungs.append(rung)
            rung *= self.reduction
        return (*rungs, epochs)
