"""Reports of a benchmark: HTML, Markdown, JSON and text for a terminal."""

from __future__ import annotations

import json
from pathlib import Path

from router.eval.learning_curve import LearningCurve
from router.eval.report.html import html_report
from router.eval.report.learning_curve import (
    CURVE_PLOT,
    curve_sections,
    render_curve,
    write_curve_report,
)
from router.eval.report.markdown import markdown_report
from router.eval.report.plots import curve_svg, frontier_svg, headline_svg, reliability_svg
from router.eval.report.sections import RELIABILITY_PLOT, benchmark_sections
from router.eval.report.text import render_benchmark
from router.eval.result import BenchmarkResult

__all__ = ["render_benchmark", "render_curve", "write_curve_report", "write_report"]


def write_report(
    result: BenchmarkResult, folder: str | Path, curve: LearningCurve | None = None
) -> None:
    """Write report.html, report.md and report.json.

    Parameters
    ----------
    result : BenchmarkResult
        What to report.
    folder : str or Path
        Where to; it is made if needed.
    curve : LearningCurve, optional
        Reported too where there is one.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    folder = Path(folder)
    sections = benchmark_sections(result)
    plots = {"headline": headline_svg(result), "frontier": frontier_svg(result)}
    if result.reliability:
        plots[RELIABILITY_PLOT] = reliability_svg(result)
    found = result.to_dict()
    if curve is not None:
        sections = (*sections[:-1], *curve_sections(curve), sections[-1])
        plots[CURVE_PLOT] = curve_svg(curve)
        found["learning_curve"] = curve.to_dict()
    title = f"Benchmark of {result.router.name} on the pool {result.pool}"
    pages = {
        "report.html": html_report(
            title, result.verdict(), sections, plots, own=result.router.name
        ),
        "report.md": markdown_report(title, result.verdict(), sections),
        "report.json": json.dumps(found, indent=1, allow_nan=False) + "\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in pages.items():
        (folder / name).write_text(page, encoding="utf-8")
