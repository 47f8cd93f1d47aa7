"""Sections about what the router predicts: qualities and lengths, and how far to believe it."""

from __future__ import annotations

import math

import numpy as np

from router.eval.report.figures import NONE, number, plain, share
from router.eval.report.sections import Section, Table
from router.eval.result import BenchmarkResult

__all__ = ["CALIBRATION_FIGURES", "predictions_section"]

CALIBRATION_FIGURES = ("auc", "brier", "ece", "ece_floor")
"""Figures about predicted qualities."""


def predictions_section(result: BenchmarkResult) -> Section:
    """Return how well qualities and lengths are predicted."""
    rows = []
    for method in result.methods:
        intervals = [method.interval(name) for name in CALIBRATION_FIGURES]
        if not math.isnan(intervals[1].mean):
            rows.append((method.name, *(plain(interval) for interval in intervals)))
    length = result.router.interval("length_error")
    length_text = (
        "The router predicts no answer lengths, or no true length is known."
        if math.isnan(length.mean)
        else "Half of the answer lengths that the router predicts are within a factor of "
        f"{math.exp(length.mean):.2f} of the true ones (length_error {plain(length)})."
    )
    return Section(
        "Predictions",
        (
            "How well each method predicts the quality of an answer, mean over the models. "
            "auc: 0.5 is chance, 1 is perfect. brier: mean squared error. ece: gap between "
            "predicted and observed shares of right answers in 15 bins of equal counts; the "
            "floor is what perfect calibration would show with as few prompts.",
            length_text,
        ),
        Table(("method", "auc", "brier", "ece", "ece floor"), tuple(rows), "<>>>>"),
        parts=(
            *((_reliability(result),) if result.reliability else ()),
            *((_lengths(result),) if any(fit.n_answers for fit in result.lengths) else ()),
        ),
    )


def _reliability(result: BenchmarkResult) -> Section:
    rows = []
    for curve in result.reliability:
        total = sum(curve.count)
        gaps = np.abs(np.subtract(curve.predicted, curve.observed))
        inside = np.less_equal(curve.low, curve.predicted) & np.less_equal(
            curve.predicted, curve.high
        )
        rows.append(
            (
                curve.model,
                f"{total:,}",
                f"{float(gaps @ np.array(curve.count)) / total:.3f}",
                f"{int(inside.sum())} of {len(inside)}",
            )
        )
    return Section(
        "Reliability of the router's probabilities",
        (
            "Test prompts of all seeds in 15 bins of equal counts by predicted probability; on the "
            "dashed line predictions come true. Bars are 95 % intervals.",
        ),
        Table(("model", "answers", "mean gap", "bins that hold"), tuple(rows), "<>>>"),
        plot="reliability",
    )


def _lengths(result: BenchmarkResult) -> Section:
    return Section(
        "Lengths of answers",
        (
            "Predicted completion tokens against true ones, which decide energy as much as the "
            "size of a model does. In the plot, test prompts of all seeds in ten bins by predicted "
            "length: dots are medians, bars quartiles of the true lengths.",
        ),
        Table(
            ("model", "answers", "median tokens", "half within a factor of", "predicted in total"),
            tuple(
                (
                    fit.model,
                    f"{fit.n_answers:,}" if fit.n_answers else "none of known length",
                    number(fit.median_tokens),
                    NONE if math.isnan(fit.half_within) else f"{fit.half_within:.2f}",
                    share(fit.total_ratio),
                )
                for fit in result.lengths
            ),
            "<>>>>",
        ),
        plot="lengths",
    )
