"""Compressed networks: integers, what they stand for, the coders and the file."""
