"""python -m bench.chaos: what users lose when processes die, disks fill up, and files are damaged. Linux only."""
