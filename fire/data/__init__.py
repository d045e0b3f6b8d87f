"""Images on disk to batches of tensors."""
