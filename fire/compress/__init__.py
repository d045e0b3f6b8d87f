"""Compression of trained networks: pruning, weight sharing, entropy-penalised quantisation, the file format."""
