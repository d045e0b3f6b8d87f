"""Training: the loop, its optimizers, its checkpoints."""
