"""Small panels, one a model: reliability of probabilities, and predicted lengths."""

from __future__ import annotations

from typing import Any

import numpy as np

from router.eval.report.svg import INK, OWN, new_figure, plot_text, style, to_svg
from router.eval.result import BenchmarkResult

__all__ = ["lengths_plot", "reliability_plot"]

_TOKENS = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
_DENSE_TICKS = 60.0


def reliability_plot(result: BenchmarkResult, name: str, narrow: bool) -> str:
    """Draw predicted against observed shares of good answers, one panel a model."""
    curves = result.reliability
    figure, panels = _grid(len(curves), narrow)
    for axes, curve in zip(panels, curves, strict=True):
        axes.plot([0, 1], [0, 1], color=INK, lw=0.8, ls="--")
        axes.vlines(curve.predicted, curve.low, curve.high, color=OWN, lw=2, alpha=0.4)
        axes.plot(curve.predicted, curve.observed, "o-", color=OWN, ms=3, lw=1)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
        _title(axes, curve.model)
    _labels(figure, "predicted probability of a good answer", "share of good answers")
    label = "Predicted against observed shares of good answers, one panel a model"
    return to_svg(figure, name, label, css_class="narrow" if narrow else "wide")


def lengths_plot(result: BenchmarkResult, name: str, narrow: bool) -> str:
    """Draw predicted against true answer lengths, one panel a model with known lengths."""
    fits = [fit for fit in result.lengths if fit.n_answers]
    figure, panels = _grid(len(fits), narrow)
    for axes, fit in zip(panels, fits, strict=True):
        ends = np.array([*fit.predicted, *fit.low, *fit.high])
        ends = ends[ends > 0]
        low, high = float(ends.min()) / 1.3, float(ends.max()) * 1.3
        axes.plot([low, high], [low, high], color=INK, lw=0.8, ls="--")
        axes.vlines(fit.predicted, fit.low, fit.high, color=OWN, lw=2, alpha=0.4)
        axes.plot(fit.predicted, fit.median, "o", color=OWN, ms=3)
        axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), aspect="equal")
        # labels between the powers of ten fit where the axis has few of those
        tokens = _TOKENS if high / low <= _DENSE_TICKS else _TOKENS[::2]
        ticks = [tick for tick in tokens if low <= tick <= high]
        axes.set_xticks(ticks, [_short(tick) for tick in ticks])
        axes.set_yticks(ticks, [_short(tick) for tick in ticks])
        axes.minorticks_off()
        _title(axes, fit.model)
    _labels(figure, "predicted completion tokens", "true completion tokens")
    label = "Predicted against true lengths of answers, one panel a model"
    return to_svg(figure, name, label, css_class="narrow" if narrow else "wide")


def _grid(n: int, narrow: bool) -> tuple[Any, list[Any]]:
    columns = min(2 if narrow else 4, max(n, 1))
    rows = max(-(-n // columns), 1)
    width = (1.75 if narrow else 2.1) * columns
    figure = new_figure(width, 1.95 * rows + 0.2 if narrow else 2.15 * rows + 0.2)
    return figure, [figure.add_subplot(rows, columns, number + 1) for number in range(n)]


def _title(axes: Any, model: str) -> None:
    style(axes, 7.5)
    axes.set_title(plot_text(model, 22), fontsize=7.5, color=INK)


def _labels(figure: Any, across: str, upright: str) -> None:
    figure.supxlabel(across, fontsize=8, color=INK)
    figure.supylabel(upright, fontsize=8, color=INK)


def _short(tokens: int) -> str:
    return f"{tokens // 1000}k" if tokens >= 1000 else str(tokens)
