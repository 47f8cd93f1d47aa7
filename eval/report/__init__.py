"""Reports of a benchmark: HTML, Markdown, JSON and text for a terminal."""

from __future__ import annotations

import json
from pathlib import Path

from router.eval.report.html import html_report
from router.eval.report.markdown import markdown_report
from router.eval.report.plots import frontier_svg, headline_svg
from router.eval.report.sections import benchmark_sections
from router.eval.report.text import render_benchmark
from router.eval.result import BenchmarkResult

__all__ = ["render_benchmark", "write_report"]


def write_report(result: BenchmarkResult, folder: str | Path) -> None:
    """Write report.html, report.md and report.json.

    Parameters
    ----------
    result : BenchmarkResult
        What to report.
    folder : str or Path
        Where to; it is made if needed.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    folder = Path(folder)
    sections = benchmark_sections(result)
    plots = {"headline": headline_svg(result), "frontier": frontier_svg(result)}
    title = f"Benchmark of {result.router.name} on the pool {result.pool}"
    pages = {
        "report.html": html_report(title, result.verdict(), sections, plots),
        "report.md": markdown_report(title, result.verdict(), sections),
        "report.json": json.dumps(result.to_dict(), indent=1, allow_nan=False) + "\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in pages.items():
        (folder / name).write_text(page, encoding="utf-8")
