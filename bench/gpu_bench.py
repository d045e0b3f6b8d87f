"""Networks an hour on one GPU: eager torch, our runs one by one and at once, and one process that trains them together.

python -m bench.gpu_bench, or bench/gpu_bench.sh, which makes the environment first. Ten different networks are trained
with the recipe of the squeeze-ratio sweep; the times of 216 are extrapolated from theirs.
"""

import statistics
import subprocess
import traceback
from collections.abc import Callable, Iterator, Mapping

from bench import gpu
from bench.gpu import OutOfTimeError, Site
from bench.gpu_ways import (
    Pace,
    Task,
    at_once,
    at_once_by_mps,
    eager,
    make_task,
    one_at_a_time,
    together,
    tutorial,
)
from bench.measure import Row, markdown
from fire.errors import InputError

MANY = 216
EAGER = "sequential eager torch: images on the device, the same precision, channels_last, SGD"
Way = Callable[[Site, Task], Pace]


def rows(site: Site) -> Iterator[Row]:
    """A row for each data set and way of training."""
    for name, overrides in site.data.items():
        try:
            task = make_task(site, name, overrides)
        except InputError as error:
            yield Row(what=name, peer=EAGER, goal="-", measured="not measured", detail=str(error))
            continue
        paces: dict[str, Pace] = {}
        for what, way in WAYS.items():
            try:
                paces[what] = way(site, task)
            except OutOfTimeError:
                yield _missing(what, task, "no time was left")
            except (OSError, subprocess.SubprocessError) as error:  # no MPS
                yield _missing(what, task, " ".join(str(error).split()))
            except Exception as error:  # on a machine that nobody has seen, each row is worth having
                traceback.print_exc()
                yield _missing(what, task, " ".join(f"{type(error).__name__}: {error}".split())[-300:])
            else:
                yield _row(what, task, paces)


WAYS: dict[str, Way] = {
    EAGER: eager,
    "one process that trains all networks at once, a graph each": together,
    "our sweep, all networks at once, a process each": at_once,
    "the same with MPS": at_once_by_mps,
    "our sweep, one run at a time": one_at_a_time,
    "sequential torch as tutorials write it: fp32, NCHW, a DataLoader": tutorial,
}


def _row(what: str, task: Task, paces: Mapping[str, Pace]) -> Row:
    """The row of a pace, beside that of eager torch."""
    pace = paces[what]
    hourly = 3600 / pace.seconds
    parts = [
        f"{hourly:,.0f} networks an hour",
        f"{MANY} (extrapolated) in {MANY / hourly:.2f} h",
        f"{pace.images_per_second:,.0f} images/s",
        *_accuracies(pace, paces.get(EAGER)),
        pace.basis,
    ]
    base = paces.get(EAGER)
    times = "-" if base is None or base is pace else f"{base.seconds / pace.seconds:.2f}"
    return Row(
        what=_title(what, task),
        peer=EAGER,
        goal="5x" if what != EAGER else "-",
        measured=times,
        detail="; ".join(parts),
    )


def _accuracies(pace: Pace, base: Pace | None) -> list[str]:
    """The mean top-1, and how far it is from that of the same networks in eager torch."""
    if not pace.top1:
        return []
    text = f"mean top-1 {100 * statistics.mean(pace.top1.values()):.2f} % of {len(pace.top1)} networks"
    shared = [number for number in pace.top1 if base is not None and base is not pace and number in base.top1]
    if not shared or base is None:
        return [text]
    difference = 100 * statistics.mean(pace.top1[number] - base.top1[number] for number in shared)
    return [f"{text}, {difference:+.2f} points beside eager torch ({len(shared)} networks)"]


def _missing(what: str, task: Task, why: str) -> Row:
    return Row(what=_title(what, task), peer=EAGER, goal="-", measured="not measured", detail=why)


def _title(what: str, task: Task) -> str:
    return f"{task.name}, {len(task.configs)} networks: {what}"


if __name__ == "__main__":
    gpu.main("gpu_bench", rows, markdown)
