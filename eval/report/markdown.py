"""A report in Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from router.eval.report.sections import Section, Table

__all__ = ["markdown_report"]


def markdown_report(title: str, verdict: str, sections: Sequence[Section]) -> str:
    """Return a report in GitHub's Markdown, without the plots.

    Parameters
    ----------
    title, verdict : str
        Heading and first paragraph.
    sections : sequence of Section
        The rest.

    Returns
    -------
    str
        The document.
    """
    blocks = [f"**{_escaped(verdict)}**", f"# {_escaped(title)}"]
    for section in sections:
        blocks.append(f"## {_escaped(section.title)}")
        blocks.extend(map(_escaped, section.paragraphs))
        if section.table is not None and section.table.rows:
            blocks.append(_table(section.table))
    return "\n\n".join(blocks) + "\n"


def _table(table: Table) -> str:
    rule = ["---:" if side == ">" else "---" for side in table.align]
    rows = [map(_escaped, table.headers), rule, *(map(_escaped, row) for row in table.rows)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*{}\[\]<>|#&~$]|\b_|_\b)", r"\\\1", " ".join(text.split()))
