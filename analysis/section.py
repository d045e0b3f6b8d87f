"""What a section of the report consists of."""

from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A figure with its file's name and a text for those who do not see it."""

    name: str
    text: str
    figure: Figure


@dataclass(frozen=True, kw_only=True, eq=False)
class Section:
    """A part of the report: figures, tables with their files' names, and notes below the tables."""

    title: str
    figures: tuple[Shown, ...] = ()
    tables: tuple[tuple[str, pd.DataFrame], ...] = ()
    notes: tuple[str, ...] = ()


def notes_of(*notes: str) -> tuple[str, ...]:
    """The notes that are not empty."""
    return tuple(filter(None, notes))
