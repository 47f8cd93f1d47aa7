"""What a report says, independent of how it is written down."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Card", "Section", "Summary", "Table"]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts.

    Attributes
    ----------
    headers : tuple of str
        One a column.
    rows : tuple of tuple of str
        One text a column; the first names the row.
    align : str
        ``<`` for a left, ``>`` for a right column.
    stacked : bool
        Whether narrow screens show the cells of a row below each other, for tables of sentences.
    """

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    align: str
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a report.

    Attributes
    ----------
    title : str
        Its heading.
    paragraphs : tuple of str
        Text before the table.
    table : Table, optional
        Its table.
    plot : str, optional
        Name of its plot.
    parts : tuple of Section
        Sections inside it, after its own table.
    folded : bool
        Whether a page shows it only when asked to.
    """

    title: str
    paragraphs: tuple[str, ...]
    table: Table | None = None
    plot: str | None = None
    parts: tuple[Section, ...] = ()
    folded: bool = False

    @property
    def key(self) -> str:
        """Its title as an id."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-") or "section"


@dataclass(frozen=True, slots=True)
class Card:
    """One figure of a summary.

    Attributes
    ----------
    label : str
        What it is.
    value : str
        The figure.
    note : str
        What to know about it.
    """

    label: str
    value: str
    note: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What a report says first.

    Attributes
    ----------
    answer : str
        The first line.
    tone : str
        ``good``, ``bad`` or ``unclear``.
    paragraphs : tuple of str
        What follows it.
    cards : tuple of Card
        Its main figures.
    """

    answer: str
    tone: str = "unclear"
    paragraphs: tuple[str, ...] = ()
    cards: tuple[Card, ...] = ()
