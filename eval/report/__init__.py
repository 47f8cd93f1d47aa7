"""Reports of a benchmark: HTML, Markdown, JSON and text for a terminal."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from router.calibration import Calibration
from router.eval.learning_curve import LearningCurve
from router.eval.report.benchmark import benchmark_sections
from router.eval.report.explorer import explorer_data
from router.eval.report.figure_html import benchmark_figures, curve_figure
from router.eval.report.html import html_report
from router.eval.report.learning_curve import CURVE_PLOT, render_curve, write_curve_report
from router.eval.report.markdown import markdown_report
from router.eval.report.sections import Section
from router.eval.report.summary import summarise
from router.eval.report.text import render_benchmark
from router.eval.result import BenchmarkResult

__all__ = ["render_benchmark", "render_curve", "write_curve_report", "write_report"]


def write_report(
    result: BenchmarkResult,
    folder: str | Path,
    curve: LearningCurve | None = None,
    *,
    calibration: Calibration | None = None,
    runs: Sequence[Section] = (),
    prompts: bool = True,
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
    calibration : Calibration, optional
        What the stored router promises: its certificates are reported.
    runs : sequence of Section
        What to say about the evaluation runs, inside the section on data.
    prompts : bool
        Whether the texts of prompts are in the report; else their ids stand for them.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    folder = Path(folder)
    sections = benchmark_sections(
        result, curve=curve, calibration=calibration, runs=tuple(runs), prompts=prompts
    )
    plots = benchmark_figures(result)
    found = result.to_dict(prompts=prompts)
    if curve is not None:
        plots[CURVE_PLOT] = curve_figure(curve)
        found["learning_curve"] = curve.to_dict()
    if calibration is not None:
        found["calibration"] = calibration.to_dict()
    title = f"Benchmark of {result.router.name} on the pool {result.pool}"
    summary = summarise(result, calibration)
    pages = {
        "report.html": html_report(
            title, summary, sections, plots, own=result.router.name, data=explorer_data(result)
        ),
        "report.md": markdown_report(title, summary, sections),
        "report.json": json.dumps(found, indent=1, allow_nan=False) + "\n",
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in pages.items():
        (folder / name).write_text(page, encoding="utf-8")
