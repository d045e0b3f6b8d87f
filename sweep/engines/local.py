"""The local engine: a process for each run, some at a time; if one dies, only its run is lost."""

from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess

from fire.files import PATIENCE
from fire.machine import hardware
from sweep import forkserver
from sweep.config import Options, RunConfig
from sweep.pool import Ended, Engine, Message, Worker
from sweep.worker import work


class LocalEngine(Engine):
    """Processes of this machine, forked from a server that has imported torch once."""

    def __init__(self, places: list[str | None]) -> None:
        """places: where runs go at a time, see `slots`."""
        self._context = forkserver.context()
        self._free = places
        self._workers: list[_LocalWorker] = []

    def free(self) -> bool:
        """Whether a place is free."""
        return bool(self._free)

    def start(self, config: RunConfig, options: Options, *, again: bool) -> Worker:
        """Start a process for the run. Raises RunsError if the server dies, and OSError."""
        slot = self._free.pop(0)
        worker = _LocalWorker(self, *forked(self._context, config, options, slot), slot)
        self._workers.append(worker)
        return worker

    def close(self) -> None:
        """End the processes; their checkpoints stay."""
        processes = [worker.process for worker in self._workers]
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(timeout=5)
            if process.is_alive():
                process.kill()
                process.join()

    def ended(self, worker: "_LocalWorker") -> None:
        """A worker has left its place."""
        self._workers.remove(worker)
        self._free.append(worker.slot)


class _LocalWorker(Worker):
    def __init__(
        self, engine: LocalEngine, process: ForkServerProcess, connection: Connection, slot: str | None
    ) -> None:
        self._engine = engine
        self.process = process
        self.connection = connection
        self.slot = slot

    def receive(self) -> Message:
        try:
            message: Message = self.connection.recv()
        except (EOFError, OSError):
            self.connection.close()
            self.process.join()
            self._engine.ended(self)
            return Ended(code=self.process.exitcode or 0)
        return message

    def stop(self) -> None:
        self.process.terminate()


def slots(options: Options, runs: int) -> list[str | None]:
    """Where runs go at a time, each the name of a GPU, or None for the processor; at most options.workers of them."""
    # cuda:1 is the second of the GPUs that this process may use, whatever its name.
    gpus = [name for i, name in enumerate(hardware.gpus()) if options.device in ("auto", "cuda", f"cuda:{i}")]
    on_cores = options.workers or max(1, hardware.cores() // (options.threads or 1))
    places: list[str | None] = [*gpus] * min(options.runs_per_gpu, runs) or [None] * min(on_cores, runs)
    return places[: min(options.workers or len(places), runs)]


def forked(
    context: ForkServerContext, config: RunConfig, options: Options, slot: str | None, patience: float = PATIENCE
) -> tuple[ForkServerProcess, Connection]:
    """A new process that does the run, and the connection that its messages come through."""
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(config, options, slot, theirs, patience), name=config.key)
    forkserver.start(process)
    theirs.close()
    return process, ours
