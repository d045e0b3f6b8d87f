"""python -m fire.weights.version1 CHECKOUT FILE...: convert compressed networks of format version 1 to the present one.

CHECKOUT is a folder with commit 9582719 of this repository, the last one that reads version 1. Its code reads the file
in a process of its own; the file is then written anew with the same integers, codebooks and steps, and a record beside
it gets the new size. Files of the present version are left as they are.
"""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from fire.files import write
from fire.weights import fcn, header
from fire.weights.quantised import Compressed, Quantised

# The coders that replaced those of version 1, by their numbers in its files. "adaptive" was called "range".
CODERS = ("huffman", "adaptive")
READ = """
import dataclasses, json, sys
from pathlib import Path
import numpy as np
from fire.weights import fcn

path = Path(sys.argv[1])
network = fcn.load(path)
family = "alexnet" if type(network.spec).__name__ == "AlexNetSpec" else "squeezenet"
head = {
    "format": 1,
    "arch": {"family": family, **dataclasses.asdict(network.spec)},
    "preprocessing": network.preprocessing.content,
    "class_names": network.class_names,
}
arrays = {}
for name, tensor in network.tensors.items():
    if isinstance(tensor, np.ndarray):
        arrays[name] = tensor
    else:
        arrays[f"{name} integers"], arrays[f"{name} values"] = tensor.integers, tensor.values
np.savez(sys.stdout.buffer, coder=path.read_bytes()[5], header=json.dumps(head), **arrays)
"""


def convert(checkout: Path, path: Path) -> None:
    """Write the file anew if it is of version 1. Raises CalledProcessError if the former code cannot read it."""
    if path.read_bytes()[: len(fcn.MAGIC) + 1] == fcn.MAGIC + bytes([fcn.VERSION]):
        return
    command = [sys.executable, "-c", READ, str(path.resolve())]
    read = subprocess.run(command, cwd=checkout, stdout=subprocess.PIPE, check=True)
    arrays = dict(np.load(io.BytesIO(read.stdout)))
    coder = CODERS[int(arrays.pop("coder"))]
    about = header.parse(str(arrays.pop("header")))
    tensors = {}
    for name in about.shapes:
        if name in arrays:
            tensors[name] = arrays[name]
        else:
            tensors[name] = Quantised(integers=arrays[f"{name} integers"], values=arrays[f"{name} values"])
    fcn.save(path, Compressed(header=about, tensors=tensors), coder)
    record = path.with_name("record.json")
    if record.is_file():
        sizes = {"file_bytes": path.stat().st_size, "overhead_bytes": fcn.overhead_bytes(path.read_bytes())}
        write(record, json.dumps(json.loads(record.read_text()) | sizes, indent=1) + "\n")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    for name in sys.argv[2:]:
        convert(Path(sys.argv[1]), Path(name))
