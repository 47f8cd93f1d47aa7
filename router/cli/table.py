"""Plain text tables."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["render_table"]


def render_table(
    headers: Sequence[str], rows: Sequence[Sequence[object]], align: str | None = None
) -> str:
    """Return a table with aligned columns, a rule under the header and no trailing blanks.

    Parameters
    ----------
    headers : sequence of str
        One text a column.
    rows : sequence of sequences
        One cell a column; shown as `str` shows it, None as nothing.
    align : str, optional
        One character a column: ``<`` for left, ``>`` for right. All left when not given.

    Raises
    ------
    ValueError
        If a row or `align` does not have as many columns as `headers`.

    Examples
    --------
    >>> print(render_table(["model", "J"], [["small", 0.1], ["large", 12]], "<>"))
    model    J
    -----  ---
    small  0.1
    large   12
    """
    align = "<" * len(headers) if align is None else align
    if len(align) != len(headers) or set(align) - set("<>"):
        raise ValueError(f"align must be {len(headers)} of '<' and '>', got {align!r}")
    body = [[_cell(cell) for cell in row] for row in rows]
    for number, row in enumerate(body, start=1):
        if len(row) != len(headers):
            raise ValueError(f"row {number} has {len(row)} cells under {len(headers)} headers")
    widths = [max(map(len, column)) for column in zip(headers, *body, strict=True)]
    lines = [headers, ["-" * width for width in widths], *body]
    return "\n".join(
        "  ".join(f"{c:{a}{w}}" for c, a, w in zip(line, align, widths, strict=True)).rstrip()
        for line in lines
    )


def _cell(value: object) -> str:
    # A line break would tear the row apart.
    return "" if value is None else " ".join(str(value).split())
