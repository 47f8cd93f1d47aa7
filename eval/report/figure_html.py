"""The figures of a page: plots for both widths, with the legend that belongs to them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from html import escape
from typing import Any

from router.eval.learning_curve import LearningCurve
from router.eval.report.explorer import explorer_html
from router.eval.report.figures import tidy
from router.eval.report.panels import lengths_plot, reliability_plot
from router.eval.report.plots import (
    curve_plot,
    drawn_methods,
    frontier_plot,
    headline_plot,
    line_looks,
    quality_range,
    two_widths,
)
from router.eval.report.svg import page_style
from router.eval.result import BenchmarkResult

__all__ = ["benchmark_figures", "curve_figure"]


def benchmark_figures(result: BenchmarkResult) -> dict[str, str]:
    """Return the figures of a benchmark by the names that its sections use.

    Parameters
    ----------
    result : BenchmarkResult
        What to draw.

    Returns
    -------
    dict of str to str
        HTML that is safe to insert.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    found = {
        "headline": _figure("headline", partial(headline_plot, result)),
        "frontier": _figure("frontier", partial(frontier_plot, result), _legend(result)),
    }
    if result.served is not None:
        found["explorer"] = explorer_html()
    if result.reliability:
        found["reliability"] = _figure("reliability", partial(reliability_plot, result), small=True)
    if any(fit.n_answers for fit in result.lengths):
        found["lengths"] = _figure("lengths", partial(lengths_plot, result), small=True)
    return found


def curve_figure(curve: LearningCurve) -> str:
    """Return the figure of a learning curve.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    return _figure("curve", partial(curve_plot, curve))


def _figure(
    name: str, draw: Callable[[str, bool], str], legend: str = "", *, small: bool = False
) -> str:
    css_class = ' class="small"' if small else ""
    return f'<figure id="plot-{name}"{css_class}>{two_widths(name, draw)}{legend}</figure>'


def _legend(result: BenchmarkResult) -> str:
    looks = line_looks(result)
    entries = "\n".join(
        f"<li>{_swatch(looks[method.name])}{escape(tidy(method.name))}</li>"
        for method in drawn_methods(result)
    )
    lowest = quality_range(result)[0]
    below = [
        f"{model.name} ({model.relative_quality:.0%})"
        for model in result.models
        if model.relative_quality < lowest
    ]
    caption = (
        f"\n<figcaption>Below the plot: {escape(tidy(', '.join(below)))}.</figcaption>"
        if below
        else ""
    )
    return f'\n<ul class="legend" aria-label="Lines of the plot">\n{entries}\n</ul>{caption}'


def _swatch(look: dict[str, Any]) -> str:
    width, dashes = float(look["lw"]), look.get("ls", "-")
    pattern = ""
    if not isinstance(dashes, str):
        pattern = f"; stroke-dasharray: {' '.join(f'{width * dash:g}' for dash in dashes[1])}"
    colour = page_style(look["color"])
    return (
        '<svg viewBox="0 0 28 10" aria-hidden="true"><line x1="0" x2="28" y1="5" y2="5" '
        f'style="stroke: {colour}; stroke-width: {width:g}{pattern}"></line></svg>'
    )
