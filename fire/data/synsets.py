"""ImageNet's classes. Standard library only."""

from pathlib import Path


def imagenet() -> tuple[str, ...]:
    """The WordNet ids of ILSVRC 2012's 1,000 classes in the order of their labels, which is the ids' own."""
    return tuple(Path(__file__).with_name("synsets.txt").read_text().split())
