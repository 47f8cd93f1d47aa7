"""Sections about what traffic gets: at each bar, each day, each task, and at worst."""

from __future__ import annotations

import math
from collections.abc import Sequence

from router.eval.intervals import Interval, interval95
from router.eval.regrets import Loss, Regret
from router.eval.report.figures import (
    NONE,
    energies,
    energy,
    number,
    percent,
    plain,
    points,
    scaled,
    share,
    signed,
    span,
)
from router.eval.report.sections import Section, Table
from router.eval.result import TASK_BAR, BenchmarkResult
from router.eval.served import SERVED, SERVED_DIFFERENCE, ZERO_SERVED
from router.eval.task_outcomes import TaskOutcome
from router.eval.traffic import ServedTraffic

__all__ = ["REQUESTS_PER_DAY", "bars_section", "savings_section", "tasks_section", "worst_section"]

REQUESTS_PER_DAY = (1_000, 10_000, 1_000_000)
"""Traffic that savings are shown for."""

_SHOWN_BARS = (0.80, 0.85, 0.90, 0.95, 0.98, 1.00)
_LEAST_SHARE = 0.005
_FEW_PROMPTS = 10


def bars_section(result: BenchmarkResult, served: ServedTraffic) -> Section:
    """Return what is kept, spent and chosen at each bar."""
    models = [model.name for model in result.models]
    return Section(
        "What you get at a quality bar",
        (
            "You ask for a bar, the share of the reference model's quality to keep, and get the "
            "one setting that training found for it. Here is what that led to on prompts that "
            "training did not see, in per cent of the reference model, mean and 95 % interval "
            "over the seeds. Beside it, a mix of two fixed models that keeps the same bar on the "
            "training prompts.",
            f"Served in this way, ln(energy / energy of the zero router at the quality that was "
            f"really kept) is {_ratio(served, SERVED)}; for the zero router itself, served by "
            f"training prompts as well, {_ratio(served, ZERO_SERVED)}; the difference is "
            f"{_ratio(served, SERVED_DIFFERENCE)}. Below 0 the router is the better bargain.",
        ),
        Table(
            (
                "bar",
                "quality kept",
                "energy",
                "bar kept in",
                "J per request",
                "fixed mix keeps",
                "fixed mix energy",
                "goes to",
            ),
            tuple(
                (
                    f"{bar.bar:.2f}",
                    percent(interval95(bar.quality)),
                    percent(interval95(bar.energy)),
                    f"{bar.n_kept} of {len(result.seeds)}",
                    plain(interval95(bar.energy_j)),
                    percent(interval95(bar.zero_quality)),
                    percent(interval95(bar.zero_energy)),
                    _mix(bar.shares, models),
                )
                for bar in map(served.at, _SHOWN_BARS)
            ),
            ">>>>>>><",
        ),
        "explorer",
    )


def savings_section(result: BenchmarkResult, served: ServedTraffic) -> Section:
    """Return the energy saved in a day by traffic."""
    low = min((model.low_factor for model in result.models), default=1.0)
    high = max((model.high_factor for model in result.models), default=1.0)
    caveat = (
        ""
        if low == high
        else "The joules per token of the pool's models may be off by a factor of "
        f"{low:g} to {high:g}; were all of them off together, savings would scale with them."
    )
    bars = [served.at(bar) for bar in _SHOWN_BARS]
    most = REQUESTS_PER_DAY[-1]
    saved = energies([scaled(bar.saved_j, most) for bar in bars])
    against_zero = energies([scaled(bar.saved_against_zero_j, most) for bar in bars])
    return Section(
        "Energy saved per day",
        (
            "At a number of requests a day, against always using the reference model, with the "
            "95 % interval over the seeds. The last column is against serving the same bar by the "
            "mix of two fixed models, which may keep another quality: see the table above.",
            *((caveat,) if caveat else ()),
        ),
        Table(
            (
                "bar",
                *(f"{n:,} requests" for n in REQUESTS_PER_DAY),
                f"against the fixed mix, {most:,}",
            ),
            tuple(
                (
                    f"{bar.bar:.2f}",
                    *(energy(n * bar.saved_j.mean) for n in REQUESTS_PER_DAY[:-1]),
                    saved[i],
                    against_zero[i],
                )
                for i, bar in enumerate(bars)
            ),
            ">" + ">" * (len(REQUESTS_PER_DAY) + 1),
        ),
    )


def tasks_section(result: BenchmarkResult, tasks: Sequence[TaskOutcome]) -> Section:
    """Return who is chosen for each task, the quality kept and the energy."""
    models = [model.name for model in result.models]
    return Section(
        "Tasks",
        (
            f"At bar {TASK_BAR:.2f}, on all test prompts of a task. Quality is the mean grade in "
            "per cent; the difference is in points, with a 95 % interval over the prompts where "
            f"there are at least {_FEW_PROMPTS}. A bar is a promise for all traffic together: "
            "single tasks may keep more or less.",
        ),
        Table(
            ("task", "prompts", "quality", "reference", "difference", "energy", "goes to"),
            tuple(
                (
                    task.task or "(no label)",
                    f"{task.n_prompts:,}",
                    f"{100 * task.quality:.1f}",
                    f"{100 * task.reference_quality:.1f}",
                    points(
                        task.difference
                        if task.n_prompts >= _FEW_PROMPTS
                        else Interval(task.difference.mean, math.nan, math.nan)
                    ),
                    share(task.energy),
                    _mix(task.shares, models, most=3),
                )
                for task in tasks
            ),
            "<>>>>><",
        ),
    )


def worst_section(regrets: Sequence[Regret], *, prompts: bool) -> Section:
    """Return the worst decisions with their reasons."""
    quality = [regret for regret in regrets if regret.loss is Loss.QUALITY]
    energies = [regret for regret in regrets if regret.loss is Loss.ENERGY]
    return Section(
        "Worst decisions",
        (
            f"At bar {TASK_BAR:.2f}, among all test prompts. No router that saves energy is "
            "without such: look for a pattern, such as a task that needs runs of its own."
            + ("" if prompts else " Texts of prompts were left out of this report."),
        ),
        parts=(
            Section(
                "Quality lost",
                (
                    "The reference model's answer was better; the decisions that the router was "
                    "most sure of.",
                ),
                _regret_table(quality, prompts),
            ),
            Section(
                "Energy spent in vain",
                ("Good answers that a model with less energy would have given as well.",),
                _regret_table(energies, prompts),
            ),
        ),
    )


def _regret_table(regrets: Sequence[Regret], prompts: bool) -> Table:
    return Table(
        ("prompt", "task", "chosen", "better", "why it was chosen"),
        tuple(
            (
                regret.text if prompts else regret.prompt_id,
                regret.task or "(no label)",
                _outcome(regret.chosen, regret.quality, regret.energy_j),
                _outcome(regret.better, regret.better_quality, regret.better_energy_j),
                regret.reason,
            )
            for regret in regrets
        ),
        "<<<<<",
        stacked=True,
    )


def _outcome(model: str, quality: float, energy_j: float) -> str:
    return f"{model}: grade {quality:.2g}, {number(energy_j)} J"


def _mix(shares: Sequence[float], models: Sequence[str], most: int = 6) -> str:
    """Return the models that get a share, the largest first."""
    ranked = sorted(zip(shares, models, strict=True), key=lambda pair: -pair[0])
    ranked = [(part, name) for part, name in ranked if part >= _LEAST_SHARE]
    named = [f"{name} {share(part)}" for part, name in ranked[:most]]
    rest = sum(part for part, _ in ranked[most:])
    return ", ".join([*named, *([f"others {share(rest)}"] if rest else [])]) or NONE


def _ratio(served: ServedTraffic, figure: str) -> str:
    interval = served.interval(figure)
    found = signed(interval)
    return found if math.isnan(interval.low) else f"{found} ({span(interval)})"
