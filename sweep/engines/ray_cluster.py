"""The engine of a Ray cluster: each run is a Ray task, which connects to the launcher."""

import contextlib
import itertools
import logging
import os
import signal
import socket
import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

from fire.errors import InputError, require
from fire.machine import hardware
from sweep.config import Options
from sweep.engines.agent import serve
from sweep.engines.remote import RemoteEngine
from sweep.engines.spec import RaySettings

ADDRESS = "RAY_ADDRESS"
OBJECTS_BYTES = 2**27  # of the store of a Ray that is started here: no run puts anything into it
MOST_FAILURES = 5  # tasks in a row that end before they have connected, while no other worker is connected
NAME = "squeezenet-design-space"


class RayEngine(RemoteEngine):
    """Tasks of the cluster at RAY_ADDRESS, or of a Ray on this machine that ends with the launch."""

    def __init__(self, options: Options, runs: int, settings: RaySettings) -> None:
        """Join the cluster, or start one. Raises InputError if that cannot be."""
        require(find_spec("ray") is not None, "hydra/launcher", "local where Ray is not installed (extra `ray`)", "ray")
        super().__init__(options, store=settings.store)
        self._most = min(runs, options.workers or runs)
        self._tasks: dict[Any, int] = {}  # the number that its worker says when it connects
        self._numbers = itertools.count(1)
        self._failures = 0
        try:
            self._ray = _joined(options)
        except BaseException:
            self._stack.close()
            raise
        self._call = self.call(settings.host or self._ray.util.get_node_ip_address(), runs=1)
        self._needs = {"num_cpus": options.threads or 1, "num_gpus": 0.0}
        if options.device != "cpu" and self._ray.cluster_resources().get("GPU", 0):
            self._needs["num_gpus"] = 1 / options.runs_per_gpu
        self._task = self._ray.remote(serve).options(**self._needs, max_retries=0, name="run")

    def hire(self) -> None:
        """Have as many tasks as the cluster has room for, or the option workers says; Ray queues what is too many."""
        self._reap()
        room = self._most if self.options.workers else min(self._most, self._room())
        for _ in range(room - len(self._tasks)):
            call = replace(self._call, number=next(self._numbers))
            self._tasks[self._task.remote(call)] = call.number

    def dismiss(self) -> None:
        """Cancel what waits, and leave the cluster; a Ray that was started here ends."""
        for task in self._tasks:
            with contextlib.suppress(Exception):  # the cluster may be gone
                self._ray.cancel(task, force=True)
        self._ray.shutdown()

    def _room(self) -> int:
        """How many runs the cluster has room for at a time; 1 if none: it may grow."""
        has = self._ray.cluster_resources()
        room = [has.get("CPU", 0) / self._needs["num_cpus"]]
        if self._needs["num_gpus"]:
            room.append(has.get("GPU", 0) / self._needs["num_gpus"])
        return max(1, int(min(room)))

    def _reap(self) -> None:
        """Forget tasks that have ended. Raises InputError if one after the other ends before its worker has joined."""
        done, _ = self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=0)
        for task in done:
            had_joined = self._tasks.pop(task) in self.numbers  # its run has ended, or its node has died
            self._failures = 0 if had_joined or self.connected else self._failures + 1
            if self._failures >= MOST_FAILURES:
                raise InputError(f"workers cannot start on the Ray cluster: {self._why(task)}")

    def _why(self, task: Any) -> str:
        """What ended a task whose worker has not joined."""
        try:
            self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            return str(error).strip().splitlines()[-1]
        return "they have another version of this program"


def _joined(options: Options) -> Any:
    """The module ray, connected. Raises InputError if there is no cluster at RAY_ADDRESS, or none can be started."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    address = os.environ.get(ADDRESS, "")
    _check_address(address)
    here: dict[str, Any] = {}
    if not address:
        cores = max(hardware.cores(), options.workers * (options.threads or 1))
        here = {"num_cpus": cores, "object_store_memory": OBJECTS_BYTES, "include_dashboard": False}
    with warnings.catch_warnings(), _signals_kept():
        warnings.simplefilter("ignore")
        import ray  # takes seconds

        try:
            ray.init(address or "local", namespace=NAME, log_to_driver=False, logging_level=logging.FATAL, **here)
        except Exception as error:  # it raises many kinds
            why = " ".join(str(error).split())[:200]
            if address:
                raise InputError(f"{ADDRESS} must be the address of a Ray cluster, got {address!r}: {why}") from error
            raise InputError(f"hydra/launcher must be local where Ray does not start, got ray: {why}") from error
    return ray


def _check_address(address: str) -> None:
    """Raise InputError unless somebody listens at the address, for whom Ray itself waits for minutes."""
    if address in ("", "auto", "local"):
        return
    host, _, port = address.rpartition(":")
    require(bool(host) and "/" not in host and port.isdecimal(), ADDRESS, "auto or HOST:PORT", address)
    try:
        socket.create_connection((host, int(port)), timeout=20).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"{ADDRESS} must be the address of a Ray cluster, got {address!r}: {error}") from error


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Give signals their former handlers in the end: Ray takes SIGTERM."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
