"""python -m fire.data.decoder: the process that decodes image files for a training that streams them. No torch.

Started by fire.data.streaming. On standard input: a line of JSON, the data's specification; then a line a batch, a list
of the fields of ImageFile. The answer to a batch: a line of JSON, what is wrong with one of its images or
an empty text; if it is empty, the pixels of all, (N, C, S, S) uint8. It ends with its input, that is, with the process
that started it.
"""

import json
import os
import signal
import sys
from typing import BinaryIO

import numpy as np

from fire.data import decoding
from fire.data.filelist import ImageFile
from fire.data.spec import DataSpec


def main(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer until the requests end."""
    spec = DataSpec(**json.loads(requests.readline()))
    parent = os.getppid()
    with decoding.quiet():
        for line in requests:
            files = [ImageFile(*values) for values in json.loads(line)]
            pixels = np.empty((len(files), spec.channels, spec.stored_size, spec.stored_size), np.uint8)
            complaint = ""
            for position, file in enumerate(files):
                if os.getppid() != parent:  # killed: nobody waits for the rest
                    return
                complaint = complaint or _decode(file, spec, pixels[position])
            answers.write(json.dumps(complaint).encode() + b"\n")
            if not complaint:
                answers.write(pixels.data)
            answers.flush()


def _decode(file: ImageFile, spec: DataSpec, out: decoding.Pixels) -> str:
    """Write the image's pixels into `out`; else what is wrong with it."""
    try:
        status = os.stat(file.path)  # noqa: PTH116 (a Path would take longer than the call)
        if (status.st_size, status.st_mtime_ns) != (file.size_bytes, file.modified_ns):
            raise ValueError("it was written again")
        out[...] = decoding.read(file, spec)[1]
        return ""
    except Exception as error:  # whatever a decoder raises on a damaged file
        return decoding.complaint(file, error)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # who waited for an answer was killed
    main(sys.stdin.buffer, sys.stdout.buffer)
