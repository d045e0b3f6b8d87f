"""The clock is set back, the machine gets another name, the results move, paths have odd names."""

from dataclasses import dataclass
from pathlib import Path

from bench.chaos.commands import Faults, run
from bench.chaos.results import records, untidy
from bench.chaos.scene import RUN, Scene, Subject, Trials, attempt, subject

YEAR = 365 * 86_400.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Change:
    """What is different at the second launch. folder: where the results are then."""

    what: str
    clock: float = 0.0
    host: str = ""
    folder: str = "results"


NAMES = (
    "with spaces", "a,b", "a=b,c=d", "größe", "結果", "it's", "100%", "{a}", "[b]", "-m", "~", "1e3", "null",
)  # fmt: skip
CHANGES = (
    Change(what="the clock a year back", clock=-YEAR),
    Change(what="the clock in 1970", clock=-56 * YEAR),
    Change(what="the clock ten years ahead", clock=10 * YEAR),
    Change(what="another host", host="renamed"),
    Change(what="another host, whose name is odd", host='a "b", c=d'),
    *(Change(what=f"moved to {name!r}", folder=name) for name in NAMES),
)


def trials(scene: Scene, wanted: int) -> Trials:
    """A run that was stopped goes on from its last epoch, and one that has finished is not run again."""

    def arguments(results: Path) -> tuple[str, ...]:
        return ("sweep", *RUN, f"results_dir={_quoted(str(results))}", f"data_dir={scene.data}")

    whole = subject(scene, "run", arguments)
    every = [(change, stopped) for change in CHANGES for stopped in (True, False)]
    for chosen in scene.sample(len(every), wanted):
        change, stopped = every[chosen]

        def trial(change: Change = change, stopped: bool = stopped) -> list[str]:
            results = scene.fresh()
            results.parent.mkdir(parents=True)
            wrong = untidy(run(*whole.arguments(results), *(["stop_epoch=1"] if stopped else [])), (0,))
            return wrong or _again(whole, results, change, stopped)

        yield from attempt(f"{change.what}, {'stopped' if stopped else 'finished'} run", trial)


def _again(whole: Subject, results: Path, change: Change, stopped: bool) -> list[str]:
    """What is wrong once the results have moved and the command has been launched again."""
    moved = results.with_name(change.folder)
    results.rename(moved)
    before = records(moved)
    faults = Faults(folder=moved, clock=change.clock, host=change.host)
    wrong = untidy(run(*whole.arguments(moved), faults=faults), (0,))
    if (records(moved) != before) != stopped:
        wrong.append("was not continued" if stopped else "was run again")
    return wrong + whole.again(moved)


def _quoted(text: str) -> str:
    """As Hydra's grammar has any text in quotes."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
