#!/usr/bin/env bash
# Checks on one GPU, in at most five minutes: whole sweeps, killed and resumed runs, the arithmetic, captured steps, the tests.
#   bench/gpu_check.sh [PICTURES [WHEELS]]     DEVICE=cpu bench/gpu_check.sh rehearses it without a GPU
# OUT/gpu_check.md and .json say what was found; exit code 1 if a check fails. Arguments and variables: bench/gpu.sh.
exec "$(dirname "$0")/gpu.sh" gpu_check "$@"
