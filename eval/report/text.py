"""A benchmark on a terminal."""

from __future__ import annotations

import textwrap

from router.cli.table import render_table
from router.eval.report.comparison import comparison_section, frontier_section
from router.eval.report.predictions import predictions_section
from router.eval.report.served_sections import bars_section
from router.eval.result import BenchmarkResult

__all__ = ["render_benchmark"]

_WIDTH = 100


def render_benchmark(result: BenchmarkResult) -> str:
    """Return the verdict and the main tables as text.

    Parameters
    ----------
    result : BenchmarkResult
        What to show.

    Returns
    -------
    str
        Lines of text; the report has the rest.
    """
    blocks = [textwrap.fill(result.verdict(), _WIDTH)]
    served = () if result.served is None else (bars_section(result, result.served),)
    sections = (
        comparison_section(result),
        frontier_section(result),
        *served,
        predictions_section(result),
    )
    for section in sections:
        if section.table is not None and section.table.rows:
            table = section.table
            lines = render_table(table.headers, table.rows, table.align)
            blocks.append(f"{section.title}\n{lines}")
    return "\n\n".join(blocks) + "\n"
