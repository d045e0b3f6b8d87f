#!/usr/bin/env bash
# Networks an hour on one GPU, in at most five minutes: eager torch, our sweeps, and one process that trains ten networks at once.
#   bench/gpu_bench.sh [PICTURES [WHEELS]]     DEVICE=cpu bench/gpu_bench.sh rehearses it without a GPU
# OUT/gpu_bench.md and .json hold the table. Arguments and variables: bench/gpu.sh.
exec "$(dirname "$0")/gpu.sh" gpu_bench "$@"
