"""A report as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from router.eval.report.sections import Section, Table

__all__ = ["html_report"]

_STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --page: #ffffff; --line: #d0d7de;
  --soft: #57606a; --mark: #f1f6fb; }
@media (prefers-color-scheme: dark) { :root { --text: #e6edf3; --page: #0d1117;
  --line: #30363d; --soft: #9198a1; --mark: #161f2b; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--page);
  max-width: 68rem; margin: 0 auto; padding: 1.5rem; }
.verdict { font-size: 1.15rem; font-weight: 600; border-left: 4px solid #2f81f7;
  padding: .6rem 1rem; margin: 0 0 1rem; background: var(--mark); }
h1 { font-size: 1.35rem; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
p { max-width: 52rem; color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .87rem; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: left;
  vertical-align: top; }
th.r, td.r { text-align: right; } td.r { white-space: nowrap; }
tr.own td { font-weight: 600; background: var(--mark); }
svg { max-width: 100%; height: auto; color: var(--text); }
"""


def html_report(
    title: str,
    verdict: str,
    sections: Sequence[Section],
    plots: Mapping[str, str],
    *,
    own: str | None,
) -> str:
    """Return a report as one self-contained page for light and dark screens.

    Parameters
    ----------
    title, verdict : str
        Heading, and what is said before it.
    sections : sequence of Section
        The rest.
    plots : mapping of str to str
        SVG elements by the name that sections use; they must be safe to insert.
    own : str or None
        Rows with this in their first column are marked as the router's.

    Returns
    -------
    str
        The page.
    """
    body = "\n".join(_section(section, plots, own) for section in sections)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        f'<p class="verdict" style="color: inherit">{escape(verdict)}</p>\n'
        f"<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def _section(section: Section, plots: Mapping[str, str], own: str | None) -> str:
    parts = [f"<h2>{escape(section.title)}</h2>"]
    parts += [f"<p>{escape(paragraph)}</p>" for paragraph in section.paragraphs]
    if section.table is not None and section.table.rows:
        parts.append(_table(section.table, own))
    if section.plot is not None and section.plot in plots:
        parts.append(f"<figure>{plots[section.plot]}</figure>")
    return "\n".join(parts)


def _table(table: Table, own: str | None) -> str:
    sides = [' class="r"' if side == ">" else "" for side in table.align]
    head = "".join(
        f'<th scope="col"{side}>{escape(text)}</th>'
        for side, text in zip(sides, table.headers, strict=True)
    )
    rows = []
    for row in table.rows:
        cells = "".join(
            f"<td{side}>{escape(text)}</td>" for side, text in zip(sides, row, strict=True)
        )
        mark = ' class="own"' if row[0] == own else ""
        rows.append(f"<tr{mark}>{cells}</tr>")
    return (
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(rows)
        + "\n</tbody></table></div>"
    )
