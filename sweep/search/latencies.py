"""Latencies that may be compared: of one machine and device, with one number of threads."""

import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from fire.errors import InputError
from sweep import origin
from sweep.commands.exits import RunsError
from sweep.config import Options, RunConfig
from sweep.forkserver import interrupts_wait
from sweep.record import Record
from sweep.store import WEIGHTS, Store


@dataclass(frozen=True, kw_only=True)
class Latencies:
    """Where a launch measures latencies. measured: seconds of runs from elsewhere, measured here, by their keys."""

    threads: int
    device: str
    host: str
    measured: Mapping[str, float]

    def of(self, record: Record) -> float | None:
        """The record's latency in seconds; None if it was measured elsewhere, and could not be measured here."""
        here = (record.threads, record.device, record.host) == (self.threads, self.device, self.host)
        known = record.latency_seconds if here else None
        return self.measured.get(record.key) if known is None else known


def take(config: RunConfig, options: Options, records: Sequence[Record]) -> Latencies:
    """The latencies of a launch: measures the finished networks whose records are from elsewhere.

    Raises RunsError if the process that does so dies.
    """
    # A process of its own: the launcher does without torch, and its workers' server is not to be started yet.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(theirs, take_here, config, options, records))
    with interrupts_wait():  # else Ctrl-C would end its import of torch in a traceback
        process.start()
    theirs.close()
    try:
        taken: Latencies = ours.recv()
        return taken
    except EOFError as error:
        raise RunsError("the process that measures latencies has died; the same command goes on") from error
    finally:
        process.kill()
        process.join()


def _send(connection: Connection, take: Callable[..., Latencies], *given: Any) -> None:
    connection.send(take(*given))


def take_here(config: RunConfig, options: Options, records: Sequence[Record]) -> Latencies:
    """The latencies of a launch, measured in this process. Networks without weights in the store stay unknown."""
    import torch

    from fire.machine.latency import latency
    from fire.machine.process import device_name, prepare_process
    from fire.weights import pretrained

    device = prepare_process(options.device, options.threads)
    layout = torch.channels_last if config.train.channels_last else torch.contiguous_format  # as when a run ends
    measured: dict[str, float] = {}
    here = Latencies(threads=torch.get_num_threads(), device=device_name(device), host=origin.host(), measured=measured)
    store = Store(options.results_dir)
    for record in records:
        if record.status == "finished" and here.of(record) is None:
            try:
                network = pretrained.read(store.folder(record.key) / WEIGHTS).network
            except InputError:
                continue
            network = network.to(device=device, memory_format=layout)  # type: ignore[call-overload] # as in fire.train.loop
            measured[record.key] = latency(network, config.data.image_size, config.data.channels, device)
    return here
