"""From the command line to durable rows: configuration, runs, the store, sweeps."""

import importlib.util
import sys
from pathlib import Path
from types import TracebackType


def _excepthook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Ctrl-C while a command still imports: one line instead of a traceback through the import."""
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


_as_command = sys.argv[0] == "-m"  # Python has not yet found the module that python -m sweep runs
if _as_command:
    sys.excepthook = _excepthook

_fire = importlib.util.find_spec("fire")
if _fire is None or _fire.origin is None or Path(_fire.origin).parents[1] != Path(__file__).parents[1]:
    _message = (
        "`import fire` must find the package beside sweep/, got another one (python-fire has this name too): "
        "use an environment of its own (make setup)"
    )
    if _as_command:  # no traceback for the user
        print(f"sweep: {_message}", file=sys.stderr)
        sys.exit(2)
    raise ImportError(_message)
