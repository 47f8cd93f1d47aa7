"""Sections that compare the router with every baseline."""

from __future__ import annotations

import math

from router.eval.protocol import QUALITY_BARS
from router.eval.report.figures import NONE, percent, plain, signed, span
from router.eval.report.sections import Section, Table
from router.eval.result import HEADLINE, BenchmarkResult

__all__ = ["comparison_section", "frontier_section", "tuning_section"]

_CHOSEN = "chosen_"


def comparison_section(result: BenchmarkResult) -> Section:
    """Return the headline figure of every method, and the router's lead over each."""
    comparisons = result.comparisons()
    rows = []
    for method in result.methods:
        figure = method.interval(HEADLINE)
        difference = result.router.difference(HEADLINE, method)
        own = method is result.router
        rows.append(
            (
                method.name,
                _change(figure.mean),
                signed(figure),
                span(figure),
                NONE if own else signed(difference),
                NONE if own else span(difference),
                NONE if own else comparisons[method.name].value,
            )
        )
    return Section(
        "Energy at equal quality",
        (
            "How much energy every method needs for the quality that the zero router, the best "
            "random mix of fixed models, reaches: mean over the quality bars 0.90, 0.95, 0.98 and "
            "1.00. log_energy_ratio is the logarithm of that ratio; below 0 is less energy. The "
            "last columns compare the router with each method, split by split. Intervals are "
            "95 %, over the seeds. Static task rules and true-task means are told the true task "
            "of every prompt, and the oracle the outcome: they show what there is to win.",
        ),
        Table(
            (
                "method",
                "energy vs zero router",
                "log_energy_ratio",
                "95 % interval",
                "router minus method",
                "95 % interval of that",
                "router",
            ),
            tuple(rows),
            "<>>>>><",
        ),
        "headline",
    )


def _change(log_ratio: float) -> str:
    """Return a ratio's logarithm as more or less in whole per cent."""
    if not math.isfinite(log_ratio):
        return NONE
    return f"{round(100 * (math.exp(log_ratio) - 1)) + 0:+,}%"


def frontier_section(result: BenchmarkResult) -> Section:
    """Return the energy that each quality costs with every method."""
    names = [f"energy_at_{bar:.2f}" for bar in QUALITY_BARS]
    return Section(
        "Quality against energy",
        (
            "Each line is what a method reaches as its dial is turned from cheap to good; further "
            "up and further left is better. Dots are single models. "
            + (
                "Diamonds are what the router serves at the bars 0.90, 0.95, 0.98 and 1.00 by "
                "the setting that training chose. "
                if result.served is not None
                else ""
            )
            + "The table has the least energy with which a method keeps a share of the reference "
            "model's quality, in per cent of the reference model's energy, and the best quality "
            "that it reaches.",
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


def tuning_section(result: BenchmarkResult) -> Section:
    """Return what was chosen for the baselines."""
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
        Table(("baseline", "train_s", "settings, seed by seed"), tuple(rows), "<><", stacked=True),
        folded=True,
    )
