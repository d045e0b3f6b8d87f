"""What every run needs, imported by the process that workers are forked from, and by nobody else.

Also the command itself, and torch._dynamo, which the first optimizer imports.
"""

import os
import sys

try:
    import torch._dynamo  # noqa: F401

except Exception as error:  # such as want of memory: workers could not import it either
    print(f"sweep: what runs need cannot be imported ({type(error).__name__}: {error})", file=sys.stderr, flush=True)
    os._exit(1)
