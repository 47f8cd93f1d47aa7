"""A report in Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from router.eval.report.figures import tidy
from router.eval.report.sections import Section, Summary, Table

__all__ = ["markdown_report"]


def markdown_report(title: str, summary: Summary | str, sections: Sequence[Section]) -> str:
    """Return a report in GitHub's Markdown, without the plots.

    Parameters
    ----------
    title : str
        What is reported.
    summary : Summary or str
        What is said first; a text is the first line alone.
    sections : sequence of Section
        The rest.

    Returns
    -------
    str
        The document.
    """
    if isinstance(summary, str):
        summary = Summary(summary)
    blocks = [f"**{_escaped(summary.answer)}**", f"# {_escaped(title)}"]
    blocks.extend(map(_escaped, summary.paragraphs))
    if summary.cards:
        rows = tuple((card.label, card.value, card.note) for card in summary.cards)
        blocks.append(_table(Table(("figure", "value", "what it is"), rows, "<><")))
    for section in sections:
        blocks += _section(section, 2)
    return "\n\n".join(blocks) + "\n"


def _section(section: Section, level: int) -> list[str]:
    blocks = [f"{'#' * level} {_escaped(section.title)}", *map(_escaped, section.paragraphs)]
    if section.table is not None:
        blocks.append(_table(section.table) if section.table.rows else "None.")
    for part in section.parts:
        blocks += _section(part, level + 1)
    return blocks


def _table(table: Table) -> str:
    rule = ["---:" if side == ">" else "---" for side in table.align]
    rows = [map(_escaped, table.headers), rule, *(map(_escaped, row) for row in table.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*{}\[\]<>|#&~$]|\b_|_\b)", r"\\\1", " ".join(tidy(text).split()))
