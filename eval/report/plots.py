"""Plots of a benchmark as SVG that takes its text colour from the page."""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from router.errors import MissingExtraError
from router.eval.baselines.fixed import ORACLE, ZERO_ROUTER
from router.eval.learning_curve import MARGIN, LearningCurve
from router.eval.protocol import QUALITY_BARS
from router.eval.result import HEADLINE, BenchmarkResult
from router.eval.served import SERVED_DIFFERENCE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["curve_svg", "frontier_svg", "headline_svg", "reliability_svg"]

# Stands for the page's text colour until the SVG is written; matplotlib knows no such colour.
_INK = "#010203"
_ROUTER = "#2f81f7"
_MUTED = "#8b949e"
_COLOURS = (
    "#d4772c", "#3fa34d", "#b65fcf", "#c94f5d", "#1fa3a3", "#a3860b", "#e0679f", "#6f7bd9",
    "#7f9f3f", "#a9746e",
)  # fmt: skip


def headline_svg(result: BenchmarkResult) -> str:
    """Draw the `log_energy_ratio` of every method with its 95 % interval.

    Parameters
    ----------
    result : BenchmarkResult
        What to draw.

    Returns
    -------
    str
        An ``<svg>`` element.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    methods = [method for method in result.methods if method.name != ORACLE][::-1]
    figure = _figure(8.2, 0.9 + 0.3 * len(methods))
    axes = figure.add_subplot()
    for row, method in enumerate(methods):
        interval = method.interval(HEADLINE)
        colour = _ROUTER if method is result.router else _MUTED
        if np.isfinite(interval.low):
            axes.plot([interval.low, interval.high], [row, row], color=colour, lw=3, alpha=0.6)
        axes.plot(interval.mean, row, "o", color=colour, ms=6)
    axes.axvline(0, color=_INK, lw=0.8, ls="--")
    axes.set_yticks(range(len(methods)), [_plain_text(method.name) for method in methods])
    axes.set_xlabel("log_energy_ratio: left of 0 needs less energy than the zero router")
    _style(axes)
    axes.grid(axis="y", visible=False)
    return _svg(figure, "Headline figure of every method", "headline")


def frontier_svg(result: BenchmarkResult) -> str:
    """Draw the mean frontier of every method, and the models of the pool.

    Parameters
    ----------
    result : BenchmarkResult
        What to draw.

    Returns
    -------
    str
        An ``<svg>`` element.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    figure = _figure(9.6, 5.4)
    axes = figure.add_subplot()
    colours = iter(_COLOURS * (1 + len(result.baselines) // len(_COLOURS)))
    for method in result.methods[::-1]:
        if not len(method.frontier):
            continue
        look: dict[str, Any] = {"color": next(colours), "lw": 1.2}
        if method is result.router:
            look = {"color": _ROUTER, "lw": 3.2}
        elif method.name == ZERO_ROUTER:
            look = {"color": _INK, "lw": 1.8, "ls": "--"}
        elif method.name == ORACLE:
            look = {"color": _MUTED, "lw": 1.5, "ls": ":"}
        axes.plot(*method.frontier.T, label=_plain_text(method.name), **look)
    for model in result.models:
        spot = (model.relative_energy, model.relative_quality)
        if np.isfinite(spot).all() and spot[0] > 0:
            axes.plot(*spot, "o", color=_INK, ms=4)
            to_the_right = spot[0] < 1.5
            axes.annotate(
                _plain_text(model.name),
                spot,
                xytext=(4 if to_the_right else -4, -9),
                textcoords="offset points",
                ha="left" if to_the_right else "right",
                fontsize=7,
                color=_INK,
            )
    for bar in QUALITY_BARS:
        axes.axhline(bar, color=_INK, lw=0.5, alpha=0.35)
    axes.set_xscale("log")
    axes.set_xlabel("mean energy, relative to the reference model (log scale)")
    axes.set_ylabel("mean quality, relative to the reference model")
    _style(axes)
    legend = axes.legend(
        loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8, reverse=True
    )
    for text in legend.get_texts():
        text.set_color(_INK)
    return _svg(figure, "Quality that every method reaches at what energy", "frontier")


def curve_svg(curve: LearningCurve) -> str:
    """Draw the ratios to the zero router by the number of training prompts.

    Parameters
    ----------
    curve : LearningCurve
        What to draw.

    Returns
    -------
    str
        An ``<svg>`` element.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    figure = _figure(8.2, 4.2)
    axes = figure.add_subplot()
    sizes = [point.size for point in curve.points]
    for name, label, colour in (
        (HEADLINE, "frontier", _ROUTER),
        (SERVED_DIFFERENCE, "served, less the zero router as served", _COLOURS[0]),
    ):
        intervals = [point.interval(name) for point in curve.points]
        axes.plot(sizes, [interval.mean for interval in intervals], "o-", color=colour, label=label)
        if all(np.isfinite(interval.low) for interval in intervals):
            low, high = [i.low for i in intervals], [i.high for i in intervals]
            axes.fill_between(sizes, low, high, color=colour, alpha=0.15, lw=0)
    axes.axhline(0, color=_INK, lw=0.8, ls="--")
    axes.axhline(MARGIN, color=_INK, lw=0.5, alpha=0.35)
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("training prompts (log scale)")
    axes.set_ylabel("ln(energy / energy of the zero router)")
    _style(axes)
    legend = axes.legend(frameon=False, fontsize=8)
    for text in legend.get_texts():
        text.set_color(_INK)
    return _svg(figure, "Energy relative to the zero router by training prompts", "curve")


def reliability_svg(result: BenchmarkResult) -> str:
    """Draw predicted against observed shares of good answers, one panel a model.

    Parameters
    ----------
    result : BenchmarkResult
        What to draw.

    Returns
    -------
    str
        An ``<svg>`` element.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    curves = result.reliability
    columns = min(4, max(len(curves), 1))
    n_rows = -(-len(curves) // columns)
    figure = _figure(2.4 * columns, 2.5 * max(n_rows, 1))
    for number, curve in enumerate(curves, 1):
        axes = figure.add_subplot(max(n_rows, 1), columns, number)
        axes.plot([0, 1], [0, 1], color=_INK, lw=0.8, ls="--")
        axes.vlines(curve.predicted, curve.low, curve.high, color=_ROUTER, lw=2, alpha=0.4)
        axes.plot(curve.predicted, curve.observed, "o-", color=_ROUTER, ms=3, lw=1)
        axes.set_title(_plain_text(curve.model), fontsize=8, color=_INK)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        _style(axes)
    figure.supxlabel("predicted probability of a good answer", fontsize=9, color=_INK)
    figure.supylabel("share of good answers", fontsize=9, color=_INK)
    return _svg(figure, "Predicted against observed shares of good answers", "reliability")


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "train") from error
    return Figure(figsize=(width, height), layout="constrained")


def _style(axes: Any) -> None:
    axes.patch.set_alpha(0)
    axes.grid(color=_INK, alpha=0.12, lw=0.6)
    axes.tick_params(which="both", colors=_INK, labelsize=8)
    axes.xaxis.label.set(color=_INK, size=9)
    axes.yaxis.label.set(color=_INK, size=9)
    for spine in axes.spines.values():
        spine.set_color(_INK)
        spine.set_alpha(0.4)


def _plain_text(text: str) -> str:
    """Text that matplotlib does not take for mathematics."""
    return text.replace("$", r"\$")


def _svg(figure: Figure, label: str, name: str) -> str:
    """Render without fonts, dates or random ids."""
    import matplotlib

    file = io.StringIO()
    settings: Any = {"svg.fonttype": "none", "svg.hashsalt": f"wattroute {name}"}
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # The page's fonts draw the text, whatever letters matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(
            file,
            format="svg",
            transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    page = file.getvalue()
    drawing = page[page.index("<svg") :].replace(_INK, "currentColor")
    return drawing.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
