"""A benchmark on a terminal."""

from __future__ import annotations

import textwrap

from router.cli.table import render_table
from router.eval.report.sections import benchmark_sections
from router.eval.result import BenchmarkResult

__all__ = ["render_benchmark"]

_N_SECTIONS = 4
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
    for section in benchmark_sections(result)[:_N_SECTIONS]:
        if section.table is not None and section.table.rows:
            table = section.table
            lines = render_table(table.headers, table.rows, table.align)
            blocks.append(f"{section.title}\n{lines}")
    return "\n\n".join(blocks) + "\n"
