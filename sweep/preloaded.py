"""What every run needs, imported by the process that workers are forked from, and by nobody else."""

import gc
import io
import os
import sys

from sweep import origin

try:
    import numpy.ctypeslib
    import numpy.random  # noqa: F401
    import torch

    import sweep.run
    import sweep.worker  # noqa: F401

    with torch.device("cpu"):  # it imports where this is first used
        torch.save({}, io.BytesIO())
except Exception as error:  # such as want of memory: workers could not import it either
    print(f"sweep: what runs need cannot be imported ({type(error).__name__}: {error})", file=sys.stderr, flush=True)
    os._exit(1)
origin.git_state()  # is remembered, so that workers need not ask; they run the code as it is now
gc.freeze()  # else a worker's first collection writes to each object, which copies the memory that it shares
