"""What can only be checked on a GPU: sweeps on it, killed and resumed runs, its arithmetic, captured steps, the tests.

python -m bench.gpu_check, or bench/gpu_check.sh, which makes the environment first. Exit code 1 if a check fails.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Collection, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import torch
from safetensors.torch import load_file

from bench import gpu, gpu_steps
from bench.gpu import NARROW, Check, OutOfTimeError, Site, Swept, sweep
from fire.machine import hardware
from fire.stats import mean_interval
from sweep.record import Record

RATIOS, SEEDS = (0.125, 0.25, 0.5, 0.75, 1.0), (0, 1)
LIMIT = 6400  # images: 50 steps an epoch
MARGIN = 0.5  # points of accuracy that do not count
TESTS = [f"tests/test_{name}.py" for name in ("cuda", "machine", "train", "run", "compress_run", "launcher")]


def checks(site: Site) -> Iterator[Check]:
    """All checks; one that cannot be made does not hold, and the others follow."""
    parts: list[Callable[[Site], Iterator[Check]]] = [sweeps, resumed, gpu_steps.arithmetic, gpu_steps.captured, suite]
    for part in parts:
        try:
            yield from part(site)
        except OutOfTimeError:
            yield Check(what=part.__name__, expected="-", found="not done: no time was left", holds=False)
        except Exception as error:  # on a machine that nobody has seen, each part is worth having
            traceback.print_exc()
            found = " ".join(f"{type(error).__name__}: {error}".split())[-300:]
            yield Check(what=part.__name__, expected="-", found=found, holds=False)


def sweeps(site: Site) -> Iterator[Check]:
    """The squeeze-ratio sweep with one run at a time and with several, and on the processor."""
    name, overrides = next(iter(site.data.items()))
    several = 2 if site.rehearses else 8
    ratios, seeds = ((0.25, 0.5), (0,)) if site.rehearses else (RATIOS, SEEDS)
    points = [f"arch.sr={','.join(map(str, ratios))}", f"seed={','.join(map(str, seeds))}"]
    chosen = [*overrides, *NARROW, *points, "train.epochs=3", f"data.limit={LIMIT}"]
    ones, many = sweep(site, "ones", chosen, 1), sweep(site, "many", chosen, several)
    both = [swept.records.values() for swept in (ones, many)]
    expected = len(ratios) * len(seeds), _device_name(site), site.precision
    found = {(len(records), record.device, record.precision) for records in both for record in records}
    yield Check(
        what=f"a sweep, {name}, by the local launcher, with 1 and {several} runs at a time",
        expected=_words(expected),
        found="; ".join(map(_words, sorted(found, key=str))),
        holds=found == {expected},
    )
    most = most_at_a_time(ones.records.values()), most_at_a_time(many.records.values())
    fits = most[0] == 1 and (1 < most[1] <= several or (site.rehearses and most[1] == 1))  # digits take a moment
    yield Check(what="most runs at the same time", expected=f"1; {several}", found=f"{most[0]}; {most[1]}", holds=fits)
    yield Check(what=f"images/s with 1 and {several} runs at a time", expected="-", found=_speeds(ones, many))
    same = alike(ones, many)
    yield Check(what="shared and unshared runs", expected="the same bits, or how far they differ", found=same)
    processor = sweep(site, "processor", chosen, hardware.cores(), device="cpu")
    pairs = [(top1, processor.top1()[key]) for key, top1 in many.top1().items()]
    yield _accuracy(pairs)


def _words(facts: tuple[int, str | None, str | None]) -> str:
    runs, device, precision = facts
    return f"{runs} runs on {device} in {precision}"


def _device_name(site: Site) -> str:
    return "cpu" if site.rehearses else torch.cuda.get_device_name()


def most_at_a_time(records: Collection[Record]) -> int:
    """How many runs were under way at the same time, at most; records count in seconds."""
    spans = [(record.start, record.end) for record in records if record.start and record.end]
    return max(sum(start <= moment < end for start, end in spans) or 1 for moment, _ in spans)


def _speeds(ones: Swept, many: Swept) -> str:
    """Images a second of the median run, and of all together from launch to exit."""
    shown = []
    for swept in (ones, many):
        whole = sum(map(swept.images, swept.records)) / swept.seconds
        shown.append(f"{median(swept.rates().values()):,.0f} a run, {whole:,.0f} in all with starts and evaluations")
    return "; ".join(shown)


def alike(a: Swept, b: Swept) -> str:
    """How many runs have the same bits in two sweeps of the same points, and how far the others differ."""
    differences = [difference(a.results / key, b.results / key) for key in a.records]
    equal = differences.count(0.0)
    if equal == len(differences):
        return f"the same bits in all {equal}"
    points = [100 * abs(top1 - b.top1()[key]) for key, top1 in a.top1().items()]
    text = f"the same bits in {equal} of {len(differences)}; largest difference of a weight {max(differences):.2g}"
    return f"{text}, of a top-1 {max(points):.2f} points"


def difference(a: Path, b: Path) -> float:
    """The largest difference of a weight between two runs, given by their folders."""
    ours, theirs = (load_file(folder / "weights.safetensors") for folder in (a, b))
    return max(float((tensor - theirs[name]).abs().max()) for name, tensor in ours.items())


def _accuracy(pairs: Sequence[tuple[float, float]]) -> Check:
    """Whether the test accuracies of the same points on the device and on the processor differ by more than chance."""
    found = mean_interval([100 * (ours - theirs) for ours, theirs in pairs])
    return Check(
        what="top-1 less that of the same runs on the processor",
        expected=f"an interval with 0, or within {MARGIN} points of it",
        found=f"{found.mean:+.2f} points ({found.low:+.2f} to {found.high:+.2f}, n = {found.n})",
        holds=found.low <= 0 <= found.high or abs(found.mean) <= MARGIN,
    )


def resumed(site: Site) -> Iterator[Check]:
    """A run killed with its whole launch after some epochs, launched again, beside two that were left alone."""
    _, overrides = next(iter(site.data.items()))
    epochs = 6 if site.rehearses else 12
    chosen = [*overrides, *NARROW, "arch.sr=0.5", "seed=0", f"train.epochs={epochs}", f"data.limit={LIMIT}"]
    whole, again = sweep(site, "whole", chosen, 1), sweep(site, "again", chosen, 1)
    kill(gpu.command(site, "killed", chosen, 1), site)
    finished = sweep(site, "killed", chosen, 1)
    log = next((site.work / "killed").glob("*/log")).read_text()
    starts, trained = log.count(" start, "), re.findall(r" epoch (\d+): ", log)
    yield Check(
        what="a run killed with its launch, and launched again",
        expected=f"2 starts, {epochs} epochs, none twice",
        found=f"{starts} starts, {len(trained)} epochs",
        # One can be in the checkpoint and not yet in the log when the run is killed.
        holds=starts == 2 and len(trained) == len(set(trained)) >= epochs - 1,
    )
    undisturbed = alike(whole, again)
    repeats = undisturbed.startswith("the same bits in all")
    yield Check(what="two runs left alone", expected="the same bits, or how far they differ", found=undisturbed)
    found = alike(whole, finished)
    yield Check(
        what="the killed run and one left alone",
        expected="the same bits" if repeats else "as two runs left alone",
        found=found,
        holds=found == undisturbed if repeats else None,
    )


def kill(command: Sequence[str], site: Site) -> None:
    """Start a launch, and kill all its processes when a run has written its first checkpoint."""
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None and not list((site.work / "killed").glob("*/checkpoint.pt")):
            site.seconds_left()
            time.sleep(0.01)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def suite(site: Site) -> Iterator[Check]:
    """The tests that train, on a machine with a GPU; in the rehearsal a few that do not."""
    chosen = ["tests/test_machine.py"] if site.rehearses else TESTS
    what = f"tests: {', '.join(Path(path).stem for path in chosen)}"
    if find_spec("pytest") is None:
        yield Check(what=what, expected="all pass", found="not run: pytest is not installed")
        return
    parallel = ["--numprocesses=4", "--dist=loadfile"] if find_spec("xdist") and not site.rehearses else []
    command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", *parallel, *chosen]
    seconds = site.seconds_left()
    with tempfile.TemporaryFile("w+") as output:  # a pipe would stay open in processes that outlive the tests
        try:
            code = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, timeout=seconds).returncode
        except subprocess.TimeoutExpired:
            yield Check(what=what, expected="all pass", found=f"not finished in the {seconds:.0f} s that were left")
            return
        output.seek(0)
        lines = [line for line in output.read().splitlines() if line.strip()]
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    print(*failed, sep="\n")
    yield Check(what=what, expected="all pass", found="; ".join([lines[-1], *failed[:5]]), holds=code == 0)


if __name__ == "__main__":
    found = gpu.main("gpu_check", checks, gpu.table)
    raise SystemExit(int(any(check.holds is False for check in found)))
