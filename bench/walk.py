"""python -m bench.walk [--show]: how many functions of this project, and how many types, carry one value to its figure.

Trains two networks on the digits, one with arch.sr=0.2512, and writes their report. A function carries the value if one
of its arguments is the value, a text with it, or holds it. docs/architecture.md describes the walk.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parents[1]
FOLDERS = tuple(f"{ROOT}/{package}/" for package in ("fire", "sweep", "analysis", "hydra_plugins"))
VALUE = 0.2512
DEPTH = 1  # levels of containers and fields that are searched for the value
CALLS = 100  # of one function, that are looked at
SWEEP = f"sweep -m data=digits arch=squeezenet_narrow arch.fires=2 arch.sr=0.125,{VALUE} train.epochs=1 data.limit=200"
COMMANDS = [SWEEP, "analysis results --out report"]
HOOK = "from bench.walk import watch\nwatch()\n"


def main() -> None:
    """Run the commands under watch; print the counts."""
    parser = argparse.ArgumentParser(prog="python -m bench.walk")
    parser.add_argument("--show", action="store_true", help="list the functions in the order of their first calls")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "hook").mkdir()
        Path(folder, "hook", "sitecustomize.py").write_text(HOOK)
        seen = Path(folder, "seen")
        paths = os.pathsep.join([str(Path(folder, "hook")), str(ROOT)])
        environment = {**os.environ, "PYTHONPATH": paths, "WALK": str(seen)}
        for command in COMMANDS:
            subprocess.run([sys.executable, "-m", *command.split()], cwd=folder, env=environment, check=True)
        calls = [line.split(" ", 1) for line in dict.fromkeys(seen.read_text().splitlines())]
    functions = list(dict.fromkeys(function for function, _ in calls))
    types = list(dict.fromkeys(kind for _, kind in calls))
    if chosen.show:
        for function in functions:
            print(function, *(kind for other, kind in calls if other == function))
    print(f"{len(functions)} functions, {len(types)} types: {', '.join(types)}")


def watch() -> None:
    """Write the functions of this project that carry the value, once each, to the file that WALK names."""
    seen: set[str] = set()
    looked: Counter[Any] = Counter()

    def profile(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or looked[code] == CALLS:
            return
        looked[code] += 1
        if not code.co_filename.startswith(FOLDERS) or code.co_name.startswith("<"):
            looked[code] = CALLS
            return
        count = code.co_argcount + code.co_kwonlyargcount
        for argument in code.co_varnames[:count]:
            value = frame.f_locals.get(argument)
            call = f"{code.co_filename.removeprefix(f'{ROOT}/')}:{code.co_qualname} {type(value).__name__}"
            if call not in seen and holds(value, DEPTH):
                seen.add(call)
                with open(os.environ["WALK"], "a") as file:
                    file.write(call + "\n")

    sys.setprofile(profile)


def holds(value: Any, depth: int) -> bool:
    """Whether it is the value, a text with it, or holds it."""
    if isinstance(value, float):
        return value == VALUE
    if isinstance(value, str):
        return str(VALUE) in value
    if depth == 0:
        return False
    if isinstance(value, dict):
        return any(holds(each, depth - 1) for each in value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return any(holds(each, depth - 1) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        return any(holds(getattr(value, field.name), depth - 1) for field in fields(value))
    if type(value).__name__ in ("DataFrame", "Series", "DictConfig"):
        return str(VALUE) in str(value)
    return False


if __name__ == "__main__":
    main()
