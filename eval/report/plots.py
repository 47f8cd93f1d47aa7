"""The plots of a benchmark's report, each for wide and for narrow screens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from router.eval.baselines.fixed import ORACLE, ZERO_ROUTER
from router.eval.learning_curve import MARGIN, LearningCurve
from router.eval.protocol import QUALITY_BARS
from router.eval.report.labels import place_labels
from router.eval.report.svg import INK, OWN, SOFT, new_figure, plot_text, series, style, to_svg
from router.eval.result import HEADLINE, BenchmarkResult, MethodResult
from router.eval.served import SERVED_DIFFERENCE

__all__ = [
    "curve_plot",
    "drawn_methods",
    "frontier_plot",
    "headline_plot",
    "line_looks",
    "quality_range",
    "two_widths",
]

_DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
_LEAST_QUALITY = 0.7


def two_widths(name: str, draw: Callable[[str, bool], str]) -> str:
    """Draw a plot for wide and for narrow screens; the page shows one of them.

    Parameters
    ----------
    name : str
        Prefix of the ids.
    draw : callable
        Draws it, given the prefix of ids and whether it is the narrow one.

    Returns
    -------
    str
        Two ``<svg>`` elements.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    return draw(f"{name}-wide", False) + draw(f"{name}-narrow", True)


def line_looks(result: BenchmarkResult) -> dict[str, dict[str, Any]]:
    """Return how the line of each method is drawn, as keyword arguments of Matplotlib.

    Parameters
    ----------
    result : BenchmarkResult
        Its methods.

    Returns
    -------
    dict of str to dict
        By the method's name. No two of the first 32 baselines look the same.
    """
    looks: dict[str, dict[str, Any]] = {}
    number = 0
    for method in result.methods:
        if method is result.router:
            looks[method.name] = {"color": OWN, "lw": 3.0}
        elif method.name == ZERO_ROUTER:
            looks[method.name] = {"color": INK, "lw": 1.8, "ls": _DASHES[1]}
        elif method.name == ORACLE:
            looks[method.name] = {"color": SOFT, "lw": 1.5, "ls": _DASHES[2]}
        else:
            dashes = _DASHES[(number // 8 + number) % len(_DASHES)]
            looks[method.name] = {"color": series(number), "lw": 1.3, "ls": dashes}
            number += 1
    return looks


def drawn_methods(result: BenchmarkResult) -> tuple[MethodResult, ...]:
    """Return the methods that have a line in the frontier plot, by the number of their line."""
    return tuple(
        method
        for method in result.methods
        if len(method.frontier) and np.ptp(method.frontier, axis=0).any()
    )


def quality_range(result: BenchmarkResult) -> tuple[float, float]:
    """Return the qualities that the frontier plot shows, relative to the reference model.

    Parameters
    ----------
    result : BenchmarkResult
        What is drawn.

    Returns
    -------
    lowest, highest : float
        What hardly anybody would serve is left out: it would squeeze the rest.
    """
    qualities = np.concatenate(
        [
            [1.0],
            *(method.frontier[:, 1] for method in drawn_methods(result)),
            [model.relative_quality for model in result.models],
        ]
    )
    finite = qualities[np.isfinite(qualities)]
    return max(float(finite.min()), _LEAST_QUALITY) - 0.01, float(finite.max()) + 0.02


def headline_plot(result: BenchmarkResult, name: str, narrow: bool) -> str:
    """Draw the energy of every method relative to the zero router, with its 95 % interval."""
    methods = [method for method in result.methods if method.name != ORACLE][::-1]
    size = 7.5 if narrow else 8.5
    figure = new_figure(3.6 if narrow else 8.6, 0.7 + 0.27 * len(methods))
    axes = figure.add_subplot()
    means = [method.interval(HEADLINE).mean for method in methods]
    for row, method in enumerate(methods):
        interval = method.interval(HEADLINE)
        colour = OWN if method is result.router else SOFT
        if np.isfinite(interval.low):
            ends = np.exp([interval.low, interval.high])
            axes.plot(ends, [row, row], color=colour, lw=3, alpha=0.5, solid_capstyle="butt")
        axes.plot(np.exp(interval.mean), row, "o", color=colour, ms=6)
    axes.axvline(1, color=INK, lw=0.9, ls="--")
    axes.set_yticks(range(len(methods)), [plot_text(m.name, 20 if narrow else 32) for m in methods])
    finite = [mean for mean in means if np.isfinite(mean)] or [0.0]
    # A wide interval runs out of the plot rather than squeeze what it is about.
    low, high = np.exp(min(*finite, -0.3) - 0.35), np.exp(max(*finite, 0.3) + 0.35)
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    _times(axes, (0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 50))
    axes.set_xlabel("energy at equal quality, zero router = 1" + ("" if narrow else " (log scale)"))
    style(axes, size)
    axes.grid(axis="y", visible=False)
    label = "Energy of every method at equal quality, relative to the zero router"
    return to_svg(figure, name, label, css_class=_class(narrow))


def frontier_plot(result: BenchmarkResult, name: str, narrow: bool) -> str:
    """Draw the mean frontier of every method, the models, and what is served at the bars."""
    size = 7.5 if narrow else 8.5
    figure = new_figure(3.6 if narrow else 8.6, 3.9 if narrow else 4.9)
    axes = figure.add_subplot()
    looks = line_looks(result)
    shown = drawn_methods(result)
    for number, method in reversed(list(enumerate(shown))):
        (line,) = axes.plot(*method.frontier.T, **looks[method.name])
        line.set_gid(f"line-{number}")
    spots = np.array(
        [(model.relative_energy, model.relative_quality) for model in result.models], np.float64
    ).reshape(-1, 2)
    lowest, highest = quality_range(result)
    for bar in QUALITY_BARS:
        axes.axhline(bar, color=INK, lw=0.5, alpha=0.3)
    if result.served is not None:
        for bar in QUALITY_BARS:
            found = result.served.at(bar)
            axes.plot(
                np.mean(found.energy),
                np.mean(found.quality),
                "D",
                color=OWN,
                ms=5,
                mew=1.2,
                zorder=5,
            )
    axes.set_xscale("log")
    axes.set_ylim(lowest, highest)
    axes.set_xlabel(
        "energy, reference model = 100%" + ("" if narrow else " (mean of a request, log scale)")
    )
    axes.set_ylabel("quality, reference model = 100%")
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f}%")
    style(axes, size)
    known = np.isfinite(spots).all(axis=1) & (spots > 0).all(axis=1)
    inside = known & (spots[:, 1] >= lowest) & (spots[:, 1] <= highest)
    axes.plot(*spots[inside].T, "o", color=INK, ms=4.5, zorder=4)
    _percentages(axes, narrow)
    place_labels(
        figure,
        axes,
        spots[inside],
        [plot_text(result.models[j].name, 22) for j in np.flatnonzero(inside)],
        size - 1,
    )
    label = "Quality that every method reaches at what energy; the tables below have the figures"
    return to_svg(figure, name, label, axes, _class(narrow))


def curve_plot(curve: LearningCurve, name: str, narrow: bool) -> str:
    """Draw the ratios to the zero router by the number of training prompts."""
    size = 7.5 if narrow else 8.5
    figure = new_figure(3.6 if narrow else 8.6, 3.0 if narrow else 3.6)
    axes = figure.add_subplot()
    sizes = [point.size for point in curve.points]
    means: list[float] = []
    for figure_name, label, colour, mark, shift in (
        (HEADLINE, "frontier", OWN, "o-", 0.985),
        (SERVED_DIFFERENCE, "served, less the zero router", series(0), "s--", 1.015),
    ):
        intervals = [point.interval(figure_name) for point in curve.points]
        places = [shift * size for size in sizes]  # so that intervals do not hide each other
        found = [interval.mean for interval in intervals]
        means += found
        axes.plot(places, found, mark, color=colour, label=label, ms=5)
        ends = [interval.low for interval in intervals], [interval.high for interval in intervals]
        axes.vlines(places, *ends, color=colour, lw=3, alpha=0.35)
    axes.axhline(0, color=INK, lw=0.8, ls="--")
    axes.axhline(MARGIN, color=INK, lw=0.5, alpha=0.35)
    finite = [mean for mean in means if np.isfinite(mean)] or [0.0]
    axes.set_ylim(min(*finite, -0.1) - 0.3, max(*finite, 0.1) + 0.3)
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("training prompts (log scale)")
    axes.set_ylabel("ln(energy / zero router's)" if narrow else "ln(energy / zero router's energy)")
    style(axes, size)
    legend = axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=1 if narrow else 2,
        frameon=False,
        fontsize=size,
    )
    for text in legend.get_texts():
        text.set_color(INK)
    label = "Energy relative to the zero router by training prompts"
    return to_svg(figure, name, label, css_class=_class(narrow))


def _class(narrow: bool) -> str:
    return "narrow" if narrow else "wide"


def _times(axes: Any, values: tuple[float, ...]) -> None:
    low, high = axes.get_xlim()
    shown = [value for value in values if low <= value <= high]
    axes.set_xticks(shown, [f"{value:g}" for value in shown])
    axes.minorticks_off()


def _percentages(axes: Any, narrow: bool) -> None:
    """Label a logarithmic axis of shares in per cent, with a few ticks a decade."""
    low, high = axes.get_xlim()
    decades = np.log10(high / low)
    steps = (1.0,) if narrow and decades > 2 else (1.0, 3.0) if decades > 1.5 else (1.0, 2.0, 5.0)
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    shown = [
        step * 10.0**power
        for power in range(first, last + 1)
        for step in steps
        if low <= step * 10.0**power <= high
    ]
    axes.set_xticks(shown, [f"{100 * value:g}%" for value in shown])
    axes.minorticks_off()
