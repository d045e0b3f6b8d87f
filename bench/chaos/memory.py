"""One run of a sweep needs more memory than there is."""

from pathlib import Path

from bench.chaos.commands import Command, module
from bench.chaos.results import differences, left, untidy
from bench.chaos.scene import NETWORK, Scene, Trials, attempt, subject
from sweep.pool import OUT_OF_MEMORY
from sweep.store import Store

SMALL, LARGE = 16, 400_000  # channels of conv1: the activations of the large network take gigabytes


def trials(scene: Scene, wanted: int) -> Trials:
    """The large run fails with its reason, and the others finish with the bits that they have without it."""

    def arguments(results: Path, *widths: int) -> tuple[str, ...]:
        network = [argument for argument in NETWORK if not argument.startswith("arch.conv1=")]
        seeds = "seed=0,1" if len(widths) == 1 else "seed=0"
        return ("sweep", "-m", *network, f"arch.conv1={','.join(map(str, widths))}", seeds, *scene.places(results))

    small = subject(scene, "sweep", lambda results: arguments(results, SMALL))
    for _ in range(wanted):
        room = scene.chance.uniform(0.8, 1.6)

        def trial(room: float = room) -> list[str]:
            results = scene.fresh()
            command = Command(module(*arguments(results, SMALL, LARGE)), memory=_addresses() + int(room * 2**30))
            wrong = untidy(command.finish(), (1,))
            records = {record.status: record for record in Store(results).records()}
            failed, finished = records.get("failed"), records.get("finished")
            if failed is None or not any(sign in (failed.error or "") for sign in OUT_OF_MEMORY):
                wrong.append(f"the large run has no record of its want of memory: {failed and failed.error}")
            if finished is None:
                return [*wrong, "the small run has not finished"]
            expected, found = (
                {name: text for name, text in each.items() if name.startswith(f"{finished.key}/")}
                for each in (small.expected, left(results))
            )
            return wrong + differences(expected, found)

        yield from attempt(f"{room:.2f} GiB of addresses for each process", trial)


def _addresses() -> int:
    """Bytes of addresses that this process has, as one that a run is forked from has about."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmSize:"))
