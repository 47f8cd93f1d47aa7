"""A report as one HTML page that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from router.eval.report.explorer import script_json
from router.eval.report.figures import tidy
from router.eval.report.sections import Section, Summary, Table
from router.eval.verdict import Comparison

__all__ = ["html_report"]

_MOST_ROWS = 20
_MOST_PRINTED_COLUMNS = 10
_ROLES = ("table", "rowgroup", "row", "columnheader", "rowheader", "cell")
_TONES = {Comparison.BEATS.value: "good", Comparison.LOSES.value: "bad"}


def html_report(
    title: str,
    summary: Summary,
    sections: Sequence[Section],
    plots: Mapping[str, str],
    *,
    own: str | None,
    data: Mapping[str, Any] | None = None,
    footer: str = "The same as Markdown and JSON: report.md and report.json.",
) -> str:
    """Return a report as one self-contained page for light and dark screens and for print.

    Parameters
    ----------
    title : str
        What is reported.
    summary : Summary
        What is said first.
    sections : sequence of Section
        The rest.
    plots : mapping of str to str
        Content of the figures by the name that sections use; it must be safe to insert.
    own : str or None
        Rows with this in their first column are marked as the router's.
    data : mapping, optional
        What the script reads, as :func:`router.eval.report.explorer.explorer_data` gives it.
    footer : str
        What is said last; nothing where empty.

    Returns
    -------
    str
        The page. Its policy allows no request and no script but its own.
    """
    style, script = (_part(name) for name in ("style.css", "report.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "base-uri 'none'; form-action 'none'"
    )
    keys = _keys(sections)
    body = "\n".join(
        _section(section, plots, own, 2, f' id="{key}"')
        for section, key in zip(sections, keys, strict=True)
    )
    stored = (
        ""
        if data is None
        else f'<script type="application/json" id="report-data">{script_json(data)}</script>\n'
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f"{_header(title, summary)}\n{_contents(sections, keys)}\n"
        f'<main id="main">\n{body}\n</main>\n'
        + (f"<footer>{_text(footer)}</footer>\n" if footer else "")
        + f"{stored}<script>{script}</script>\n</body>\n</html>\n"
    )


def _part(name: str) -> str:
    return (files("router.eval.report") / "page" / name).read_text(encoding="utf-8")


def _text(text: str) -> str:
    return escape(tidy(text))


def _header(title: str, summary: Summary) -> str:
    cards = "".join(
        f'<div><dt>{_text(card.label)}</dt><dd><div class="value">{_text(card.value)}</div>'
        f'<div class="note">{_text(card.note)}</div></dd></div>\n'
        for card in summary.cards
    )
    paragraphs = "\n".join(f"<p>{_text(paragraph)}</p>" for paragraph in summary.paragraphs)
    return (
        f'<header class="{summary.tone}">\n<h1>{_text(summary.answer)}</h1>\n'
        f'<p class="about">{_text(title)}</p>\n{paragraphs}\n'
        + (f'<dl class="cards">\n{cards}</dl>\n' if cards else "")
        + "</header>"
    )


def _keys(sections: Sequence[Section]) -> list[str]:
    """Return an id for each section, apart from those of the page itself."""
    keys: list[str] = []
    for section in sections:
        key = f"s-{section.key}"
        keys.append(key if key not in keys else f"{key}-{len(keys)}")
    return keys


def _contents(sections: Sequence[Section], keys: Sequence[str]) -> str:
    entries = "\n".join(
        f'<li><a href="#{key}">{_text(section.title)}</a></li>'
        for section, key in zip(sections, keys, strict=True)
    )
    return (
        '<nav aria-label="Contents">\n<a class="skip" href="#main">Skip the contents</a>\n'
        f"<ul>\n{entries}\n</ul>\n</nav>"
    )


def _section(
    section: Section, plots: Mapping[str, str], own: str | None, level: int, attributes: str = ""
) -> str:
    parts = [f"<section{attributes}>", f"<h{level}>{_text(section.title)}</h{level}>"]
    parts += [f"<p>{_text(paragraph)}</p>" for paragraph in section.paragraphs]
    if section.plot is not None and section.plot in plots:
        parts.append(plots[section.plot])
    if section.table is not None and section.table.rows:
        table = _tables(section.title, section.table, own)
        if section.folded:
            table = f"<details>\n<summary>Show the table</summary>\n{table}\n</details>"
        parts.append(table)
    elif section.table is not None:
        parts.append("<p>None.</p>")
    parts += [_section(part, plots, own, level + 1) for part in section.parts]
    return "\n".join([*parts, "</section>"])


def _tables(title: str, table: Table, own: str | None) -> str:
    """Return a table; the later rows of a long one only when asked for."""
    if len(table.rows) <= _MOST_ROWS + 4:
        return _table(title, table, table.rows, own)
    first, rest = table.rows[:_MOST_ROWS], table.rows[_MOST_ROWS:]
    return (
        f"{_table(title, table, first, own)}\n<details>\n<summary>The other {len(rest):,} rows"
        f"</summary>\n{_table(f'{title}, other rows', table, rest, own)}\n</details>"
    )


def _table(title: str, table: Table, rows: Sequence[Sequence[str]], own: str | None) -> str:
    sides = ["r" if side == ">" else "l" for side in table.align]
    # A table whose cells are stacked is none to a screen reader unless it says so.
    roles = {role: f' role="{role}"' if table.stacked else "" for role in _ROLES}
    head = "".join(
        f'<th scope="col" class="{side}"{roles["columnheader"]}>{_text(text)}</th>'
        for side, text in zip(sides, table.headers, strict=True)
    )
    lines = []
    for row in rows:
        first, *others = row
        cells = [
            f'<td class="{_classes(side, text)}" data-label="{_text(header)}"{roles["cell"]}>'
            f"{_text(text)}</td>"
            for side, header, text in zip(sides[1:], table.headers[1:], others, strict=True)
        ]
        mark = ' class="own"' if first == own else ""
        lines.append(
            f'<tr{mark}{roles["row"]}><th scope="row" class="{sides[0]}"{roles["rowheader"]}>'
            f"{_text(first)}</th>{''.join(cells)}</tr>"
        )
    stacked = ' class="stacked"' if table.stacked else ""
    many = len(table.headers) > _MOST_PRINTED_COLUMNS
    unprinted = (
        f'<p class="only-printed">Too wide for paper: a table of {len(table.headers)} columns.</p>'
        if many
        else ""
    )
    return (
        f'{unprinted}<div class="scroll{" many" if many else ""}" role="region" tabindex="0" '
        f'aria-label="{_text(f"Table: {title}")}">'
        f"<table{stacked}{roles['table']}>\n<thead{roles['rowgroup']}>"
        f"<tr{roles['row']}>{head}</tr></thead>\n<tbody{roles['rowgroup']}>\n"
        + "\n".join(lines)
        + "\n</tbody></table></div>"
    )


def _classes(side: str, text: str) -> str:
    tone = _TONES.get(text)
    return side if tone is None else f"{side} {tone}"
