"""Compression: a trained network is fine-tuned until its weights are few bits."""
