"""Images that are too many to be kept decoded: processes decode each batch from its files, ahead of who takes it."""

import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict
from queue import SimpleQueue
from signal import Signals
from subprocess import PIPE

import numpy as np
from numpy.typing import NDArray

from fire.data.filelist import FileList, ImageFile, Positions
from fire.data.spec import DataSpec
from fire.errors import DataError

RESIDENT_BYTES = 2 * 10**9  # of decoded images; more are streamed
AHEAD = 2  # batches that wait for who takes them, beside one in each process

Decoder = subprocess.Popen[bytes]


def is_streamed(spec: DataSpec, images: int) -> bool:
    """Whether this number of images is streamed, not kept decoded."""
    return decoded_bytes(spec, images) > RESIDENT_BYTES


def decoded_bytes(spec: DataSpec, images: int) -> int:
    """What this number of decoded images takes."""
    return images * spec.channels * spec.stored_size**2


class Streamed:
    """Image files in the place of an array (N, C, S, S): each is decoded whenever it is taken, to the same pixels."""

    def __init__(self, files: FileList, spec: DataSpec) -> None:
        self._files, self._spec = files, spec

    def __len__(self) -> int:
        return len(self._files)

    def batches(self, rows: Iterable[Positions], processes: int) -> Generator[NDArray[np.uint8]]:
        """The images at each of these arrays of positions, in order, whatever the number of processes.

        The processes end with the iterator. Raises DataError if a file has changed since it was listed, or if a process
        was killed.
        """
        waiting: deque[Future[NDArray[np.uint8]]] = deque()
        with ThreadPoolExecutor(processes) as pool, _decoders(self._spec, processes) as idle:
            for some in rows:
                waiting.append(pool.submit(self._decode, some, idle))
                if len(waiting) > processes + AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _decode(self, rows: Positions, idle: "SimpleQueue[Decoder]") -> NDArray[np.uint8]:
        """The images at these positions, by a process that has nothing to do."""
        pixels = np.empty((len(rows), self._spec.channels, self._spec.stored_size, self._spec.stored_size), np.uint8)
        process = idle.get()
        try:
            complaint = _answer(process, list(self._files.at(rows)), pixels)
        finally:
            idle.put(process)
        if complaint:
            raise DataError(f"data.root must not change while images are read from it, got {complaint}")
        return pixels


def _answer(process: Decoder, files: Sequence[ImageFile], pixels: NDArray[np.uint8]) -> str:
    """Have the process fill in the pixels of the files; what is wrong with one of them, else an empty text."""
    assert process.stdin
    assert process.stdout
    with suppress(BrokenPipeError):  # its answer says that it is gone
        process.stdin.write(json.dumps(files).encode() + b"\n")
        process.stdin.flush()
    answer = process.stdout.readline()
    complaint = str(json.loads(answer)) if answer.endswith(b"\n") else ""
    if complaint or (answer and process.stdout.readinto(pixels.data.cast("B")) == pixels.nbytes):  # type: ignore[attr-defined]
        return complaint
    code = process.wait()
    how = f"was killed by {Signals(-code).name} (out of memory?)" if code < 0 else f"ended with exit code {code}"
    raise DataError(f"images must be decoded by processes of their own, got one that {how}")


@contextmanager
def _decoders(spec: DataSpec, number: int) -> Iterator["SimpleQueue[Decoder]"]:
    """Processes that decode; none is left in the end. Those of a run that is killed end with their input."""
    command = [sys.executable, "-m", "fire.data.decoder"]
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"}  # numpy starts threads when imported
    processes: list[Decoder] = []
    idle: SimpleQueue[Decoder] = SimpleQueue()
    try:
        for _ in range(number):
            # In a group of its own, as Ctrl-C reaches the whole group of the run.
            process = subprocess.Popen(command, env=environment, process_group=0, stdin=PIPE, stdout=PIPE)
            processes.append(process)
            assert process.stdin
            process.stdin.write(json.dumps(asdict(spec)).encode() + b"\n")
            idle.put(process)
        yield idle
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            with suppress(BrokenPipeError), process:  # waits, and closes the pipes
                pass
