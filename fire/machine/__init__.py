"""What this machine computes with: processor, GPUs, compiled kernels."""
