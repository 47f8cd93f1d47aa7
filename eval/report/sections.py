"""What a report says, independent of how it is written down."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from router.eval.baselines.fixed import ORACLE
from router.eval.protocol import QUALITY_BARS
from router.eval.report.figures import NONE, number, percent, plain, signed, span
from router.eval.result import HEADLINE, BenchmarkResult

__all__ = ["RELIABILITY_PLOT", "Section", "Table", "benchmark_sections"]

RELIABILITY_PLOT = "reliability"
"""Name of the plot."""

_CALIBRATION = ("auc", "brier", "ece", "ece_floor")
_PROTOCOL_FIGURES = frozenset(
    {
        HEADLINE,
        *(f"energy_at_{bar:.2f}" for bar in QUALITY_BARS),
        "peak_quality",
        *_CALIBRATION,
        "length_error",
    }
)
_CHOSEN = "chosen_"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts.

    Attributes
    ----------
    headers : tuple of str
        One a column.
    rows : tuple of tuple of str
        One text a column.
    align : str
        ``<`` for a left, ``>`` for a right column.
    """

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    align: str


@dataclass(frozen=True, slots=True)
class Section:
    """One section of a report.

    Attributes
    ----------
    title : str
        Its heading.
    paragraphs : tuple of str
        Text before the table.
    table : Table, optional
        Its table.
    plot : str, optional
        Name of its plot.
    """

    title: str
    paragraphs: tuple[str, ...]
    table: Table | None = None
    plot: str | None = None


def benchmark_sections(result: BenchmarkResult) -> tuple[Section, ...]:
    """Return the sections of a benchmark's report.

    Parameters
    ----------
    result : BenchmarkResult
        What to report.

    Returns
    -------
    tuple of Section
        From the headline to the method. The verdict is not among them.
    """
    return (
        _headline(result),
        _energy_at(result),
        _calibration(result),
        *(() if not result.reliability else (_reliability(result),)),
        _router(result),
        _baselines(result),
        _models(result),
        _data(result),
        _method(result),
    )


def _headline(result: BenchmarkResult) -> Section:
    comparisons = result.comparisons()
    rows = []
    for method in result.methods:
        figure = method.interval(HEADLINE)
        difference = result.router.difference(HEADLINE, method)
        own = method is result.router
        rows.append(
            (
                method.name,
                signed(figure),
                span(figure),
                f"{math.exp(figure.mean) - 1:+.0%}",
                NONE if own else signed(difference),
                NONE if own else span(difference),
                NONE if own else comparisons[method.name].value,
            )
        )
    return Section(
        "Energy at equal quality",
        (
            "log_energy_ratio is the mean over the quality bars 0.90, 0.95, 0.98 and 1.00 of "
            "ln(energy / energy of the zero router at the same quality). Below 0 a method needs "
            "less energy than any mix of fixed models. Intervals are 95 %, over the seeds; the "
            "last columns compare the router with each method, split by split.",
        ),
        Table(
            (
                "method",
                "log_energy_ratio",
                "95 % interval",
                "energy vs zero router",
                "router minus method",
                "95 % interval",
                "router",
            ),
            tuple(rows),
            "<>>>>><",
        ),
        "headline",
    )


def _energy_at(result: BenchmarkResult) -> Section:
    names = [f"energy_at_{bar:.2f}" for bar in QUALITY_BARS]
    return Section(
        "Energy at each quality bar",
        (
            "Least energy with which a method keeps a share of the reference model's mean "
            "quality, in per cent of the reference model's energy. Peak quality is the best "
            "that a method reaches, in per cent of the reference model's quality.",
        ),
        Table(
            ("method", *(f"at {bar:.2f}" for bar in QUALITY_BARS), "peak quality"),
            tuple(
                (
                    method.name,
                    *(percent(method.interval(name)) for name in names),
                    percent(method.interval("peak_quality")),
                )
                for method in result.methods
            ),
            "<" + ">" * (len(names) + 1),
        ),
        "frontier",
    )


def _calibration(result: BenchmarkResult) -> Section:
    rows = []
    for method in result.methods:
        intervals = [method.interval(name) for name in _CALIBRATION]
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
        plot=RELIABILITY_PLOT,
    )


def _router(result: BenchmarkResult) -> Section:
    rows = [
        (name, plain(result.router.interval(name)))
        for name in result.router.per_seed
        if name not in _PROTOCOL_FIGURES
    ]
    rows.append(("peak_rss_mb", number(result.peak_rss_mb)))
    return Section(
        "Cost of the router itself",
        (
            "train_s: seconds to train. decision_us: microseconds of one decision on one "
            "thread, median and 99th percentile. artifact_mb: size of the stored router. "
            "peak_rss_mb: most memory that the whole benchmark held.",
        ),
        Table(("figure", "mean and 95 % interval"), tuple(rows), "<>"),
    )


def _baselines(result: BenchmarkResult) -> Section:
    rows = []
    for method in result.baselines:
        chosen = [
            f"{name.removeprefix(_CHOSEN)} = {', '.join(f'{value:g}' for value in values)}"
            for name, values in method.per_seed.items()
            if name.startswith(_CHOSEN)
        ]
        if chosen:
            rows.append((method.name, plain(method.interval("train_s")), "; ".join(chosen)))
    return Section(
        "Tuning of the baselines",
        ("Chosen for each seed by cross-validation on its training prompts.",),
        Table(("baseline", "train_s", "settings, seed by seed"), tuple(rows), "<><"),
    )


def _models(result: BenchmarkResult) -> Section:
    return Section(
        "Models",
        ("Means over all prompts of the pool. Energy is that of one request.",),
        Table(
            (
                "model",
                "mean quality",
                "mean energy J",
                "J per prompt token",
                "J per completion token",
                "basis",
                "energy measured",
                "length unknown",
                "reference",
            ),
            tuple(
                (
                    model.name,
                    f"{model.mean_quality:.3f}",
                    number(model.mean_energy_j),
                    number(model.joules_per_prompt_token),
                    number(model.joules_per_completion_token),
                    model.basis,
                    f"{model.measured_share:.0%}",
                    f"{model.unknown_length_share:.0%}",
                    f"{model.n_reference} of {len(result.seeds)}",
                )
                for model in result.models
            ),
            "<>>>><>>>",
        ),
    )


def _data(result: BenchmarkResult) -> Section:
    data = result.data
    return Section(
        "Data",
        (),
        Table(
            ("what", "value"),
            (
                ("evaluation runs", ", ".join(data.runs) or NONE),
                ("prompts graded on every model of the pool", f"{data.n_prompts:,}"),
                ("prompts left out because a grade is missing", f"{data.n_left_out:,}"),
                ("distinct texts", f"{data.n_groups:,}"),
                ("tasks", f"{data.n_tasks:,}"),
                ("training prompts in a split", f"{data.n_train:,}"),
                ("test prompts in a split", f"{data.n_test:,}"),
                ("models outside the pool", f"{data.n_extra_models:,}"),
                ("seeds", ", ".join(map(str, result.seeds))),
            ),
            "<>",
        ),
    )


def _method(result: BenchmarkResult) -> Section:
    assumed = [model.name for model in result.models if model.unknown_length_share > 0]
    limits = (
        f"Unknown answer lengths were replaced by an assumed or typical one for "
        f"{', '.join(assumed)}: their energy rests on it."
        if assumed
        else "All answer lengths are known."
    )
    return Section(
        "Method and limits",
        (
            "Split: distinct texts are shuffled by the seed, 70 % of the prompts train and the "
            "rest test; the same text is never on both sides. Everything learned or chosen uses "
            "the training part alone.",
            "Energy: measured where the runs have it, else prompt and completion tokens times "
            f"the model's joules per token. {limits}",
            "Reference model: the best mean quality on the training part. Frontier: the dial is "
            "swept from the cheapest setting to the best quality; settings may be mixed at "
            "random, and always taking the reference model is one more setting of every method. "
            "A bar that is never reached costs twice the reference model's energy.",
            "Zero router: the models on the upper hull of the training means, mixed at random. "
            "The task baselines are told the true task of every prompt, which no router is. "
            f"The {ORACLE} knows every answer's quality and energy beforehand: a bound that in "
            "part is luck.",
            "Intervals are Student's t over the seeds. Seeds share prompts, so an interval says "
            "how far a figure depends on the split; how it changes with other traffic, other "
            "graders or other joules per token it does not say.",
        ),
    )
