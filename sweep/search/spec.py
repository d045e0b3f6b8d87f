"""What a search is: budget, objectives, constraints, sampler, early stopping. Standard library only."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fire.errors import SpecError, require

OBJECTIVES = ("top1", "size_bytes", "macs", "latency")
MEASURED = ("top1", "latency")  # of these; the others are known without training
KNOWN = ("size_bytes", "parameters", "macs", "activations")  # before anything trains
SAMPLERS = ("tpe", "nsga2", "nsga3", "gp", "qmc", "random", "grid")
COMMAND_LINE = "search.constraints="
CONSTRAINT = re.compile(r"\s*(\w+)\s*(<=|>=)\s*(\d+\.?\d*(?:[eE][+-]?\d+)?)\s*")


class Constraint(NamedTuple):
    """A bound on what is known of a network before it trains."""

    name: str
    at_most: bool  # else at least
    bound: float

    def __str__(self) -> str:
        return f"{self.name}{'<=' if self.at_most else '>='}{self.bound:.15g}"  # :g would round 1248424

    def holds(self, cost: Mapping[str, Any]) -> Any:
        """Whether the cost keeps the bound: a bool for numbers, an array of them for arrays."""
        value = cost[self.name]
        return value <= self.bound if self.at_most else value >= self.bound


def parse_constraint(text: str) -> Constraint:
    """The constraint that the text states: size_bytes<=500e3. Raises SpecError."""
    found = CONSTRAINT.fullmatch(text)
    if found is None:
        rule = "a quantity, <= or >=, and a number, as in size_bytes<=500e3"
        raise SpecError(f"search.constraints must be {rule}, got {text!r}")
    name, relation, bound = found.groups()
    require(name in KNOWN, "search.constraints", "on one of " + ", ".join(KNOWN), name)
    return Constraint(name, relation == "<=", float(bound))


def quoted(argument: str) -> str:
    """The argument of a command line; if it states constraints, a list in the quotes that Hydra's grammar wants."""
    text = argument.removeprefix(COMMAND_LINE)
    if text == argument or text.startswith("[") != text.endswith("]") or "'" in text or '"' in text:
        return argument
    parts = text.removeprefix("[").removesuffix("]").split(",")
    return COMMAND_LINE + "[" + ", ".join(f"'{part.strip()}'" for part in parts if part.strip()) + "]"


@dataclass(frozen=True, kw_only=True)
class SearchSpec:
    """The settings of a search, search.* on the command line. A value outside its range raises SpecError.

    The space is what the sweeper's parameters span; the grid of experiment=search, or lists on the command line.
    """

    # So many networks of the space are tried, those counted that the results held before: a second launch goes on.
    budget_runs: int = 100
    objectives: list[str] = field(default_factory=lambda: ["top1", "size_bytes"])  # top1 is of the validation set
    constraints: list[str] = field(default_factory=list)  # such as size_bytes<=500e3
    sampler: str = "tpe"  # tpe | nsga2 | nsga3 | gp | qmc | random | grid
    seed: int = 0  # of the sampler
    # A network goes on from one rung to the next, `reduction` times as many epochs, if it is among the best
    # 1/reduction of those that came to the rung. 1: all are trained to the end.
    reduction: int = 2
    first_rung: int = 0  # epochs; 0: a third of the recipe's
    retry_failed: bool = False  # runs that failed before this launch count as not tried: they may be chosen again
    # What is trained first, and to the end: what differs from the configuration; {} is the configuration itself.
    # The configuration's own values give way to the nearest that are on the axes.
    first: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        require(self.budget_runs >= 1, "search.budget_runs", "at least 1", self.budget_runs)
        require(bool(self.objectives), "search.objectives", "at least one of " + ", ".join(OBJECTIVES), self.objectives)
        for name in self.objectives:
            require(name in OBJECTIVES, "search.objectives", "some of " + ", ".join(OBJECTIVES), name)
        distinct = len(set(self.objectives)) == len(self.objectives)
        require(distinct, "search.objectives", "distinct", self.objectives)
        searched = any(name in MEASURED for name in self.objectives)
        rule = f"{' or '.join(MEASURED)}, with or without others"  # for which alone nothing would have to be trained
        require(searched, "search.objectives", rule, self.objectives)
        require(self.sampler in SAMPLERS, "search.sampler", "one of " + ", ".join(SAMPLERS), self.sampler)
        require(self.seed >= 0, "search.seed", "at least 0", self.seed)
        require(self.reduction >= 1, "search.reduction", "at least 1", self.reduction)
        require(self.first_rung >= 0, "search.first_rung", "at least 0", self.first_rung)
        read = self.reduction > 1 or self.first_rung == 0
        require(read, "search.first_rung", "0 with search.reduction=1, which has no rungs", self.first_rung)
        _ = self.bounds

    @property
    def bounds(self) -> tuple[Constraint, ...]:
        """The constraints, parsed."""
        return tuple(parse_constraint(text) for text in self.constraints)

    def rungs(self, epochs: int) -> tuple[int, ...]:
        """After how many epochs runs of `epochs` are compared; the last is their end."""
        rungs = []
        rung = self.first_rung or max(1, round(epochs / 3))
        while self.reduction > 1 and rung < epochs:
            rungs.append(rung)
            rung *= self.reduction
        return (*rungs, epochs)
