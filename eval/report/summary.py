"""The first lines of a benchmark's report: whether to switch the router on."""

from __future__ import annotations

import math

from router.calibration import Calibration
from router.eval.intervals import Interval, interval95
from router.eval.protocol import QUALITY_BARS
from router.eval.report.certificates import USUAL_CONFIDENCE, certified_energy
from router.eval.report.figures import NONE, energies, number, percent, scaled
from router.eval.report.sections import Card, Summary
from router.eval.result import HEADLINE, TASK_BAR, BenchmarkResult
from router.eval.served import SERVED_DIFFERENCE
from router.eval.verdict import Comparison, compare

__all__ = ["summarise"]

_A_MILLION = 1_000_000


def summarise(result: BenchmarkResult, calibration: Calibration | None = None) -> Summary:
    """Sum a benchmark up.

    Parameters
    ----------
    result : BenchmarkResult
        What was measured.
    calibration : Calibration, optional
        What a stored router promises.

    Returns
    -------
    Summary
        Whether the router beats a random mix of fixed models, what that means, the verdict with
        its figures, and the main figures.
    """
    headline = result.router.interval(HEADLINE)
    comparison = compare(headline)
    name = result.router.name
    answer = {
        Comparison.BEATS: f"{name} beats every random mix of fixed models: "
        f"{_change(headline.mean)} energy at equal quality",
        Comparison.LOSES: f"{name} does not beat a random mix of fixed models: "
        f"{_change(headline.mean)} energy at equal quality",
        Comparison.UNCLEAR: f"{name} is not shown to beat a random mix of fixed models: "
        f"{_change(headline.mean)} energy at equal quality, within chance",
        Comparison.UNKNOWN: f"{name} is not shown to beat a random mix of fixed models: one split "
        f"gives {_change(headline.mean)} energy at equal quality, and no interval",
    }[comparison]
    return Summary(
        answer=answer,
        tone={Comparison.BEATS: "good", Comparison.LOSES: "bad"}.get(comparison, "unclear"),
        paragraphs=(f"{_advice(result, comparison)}{_kept(result)}", result.verdict()),
        cards=(*_cards(result, headline), *_promised(calibration)),
    )


def _advice(result: BenchmarkResult, comparison: Comparison) -> str:
    served = result.served
    if comparison is Comparison.BEATS:
        if served is None:
            return "Switch it on? Yes, as far as your traffic is like these runs."
        standing = compare(served.interval(SERVED_DIFFERENCE))
        if standing is Comparison.BEATS:
            return (
                "Switch it on? Yes, as far as your traffic is like these runs: what it serves at "
                "a bar that it chose in training is a better bargain than a mix of fixed models "
                "chosen in the same way."
            )
        if standing is Comparison.LOSES:
            return (
                "Switch it on? Not yet: its frontier is better, but what it serves at a bar that "
                "it chose in training is a worse bargain than a mix of fixed models chosen in "
                "the same way. Certify a bar first."
            )
        return (
            "Switch it on? Its frontier is better, as far as your traffic is like these runs; "
            "whether what it serves at a bar chosen in training is a better bargain than a mix "
            "of fixed models is within chance."
        )
    if comparison is Comparison.LOSES:
        return "Switch it on? No: a mix of fixed models does better on these runs."
    if comparison is Comparison.UNKNOWN:
        return "Switch it on? That cannot be told from one split: measure on five."
    return (
        "Switch it on? Not on this evidence: a mix of fixed models may do as well. More seeds or "
        "more graded prompts would tell."
    )


def _kept(result: BenchmarkResult) -> str:
    """Say where the bar that most will use was not kept."""
    if result.served is None:
        return ""
    bar = result.served.at(TASK_BAR)
    missed = len(bar.quality) - bar.n_kept
    if not missed:
        return ""
    return (
        f" Mind that by its estimate alone it kept less than the bar {TASK_BAR:.2f} in {missed} of "
        f"{len(bar.quality)} splits, {100 * min(bar.quality):.1f}% at worst: ask for a certified "
        "bar, or for a higher one."
    )


def _cards(result: BenchmarkResult, headline: Interval) -> tuple[Card, ...]:
    cards = [
        Card(
            "Energy at equal quality",
            _percent_change(headline.mean),
            "against the best mix of fixed models"
            + (
                ""
                if math.isnan(headline.low)
                else f"; 95 % interval {_percent_change(headline.low)} to "
                f"{_percent_change(headline.high)}"
            ),
        )
    ]
    if result.served is not None:
        bar = result.served.at(TASK_BAR)
        n_seeds = len(result.seeds)
        cards += [
            Card(
                f"Quality kept at bar {TASK_BAR:.2f}",
                f"{percent(interval95(bar.quality))}%",
                f"of the reference model's; the bar was kept in {bar.n_kept} of {n_seeds} "
                f"split{'' if n_seeds == 1 else 's'}",
            ),
            Card(
                f"Energy spent at bar {TASK_BAR:.2f}",
                f"{percent(interval95(bar.energy))}%",
                "of always using the reference model",
            ),
            Card(
                "Saved per million requests",
                energies([scaled(bar.saved_j, _A_MILLION)])[0],
                f"against the reference model, at bar {TASK_BAR:.2f}",
            ),
        ]
    speed = result.router.interval("decision_us_p50").mean
    if not math.isnan(speed):
        cards.append(
            Card("One decision takes", f"{number(speed / 1000)} ms", "median, on one thread")
        )
    return tuple(cards)


def _promised(calibration: Calibration | None) -> tuple[Card, ...]:
    """Return the highest bar that is certified for all traffic."""
    if calibration is None:
        return ()
    held = [bar for bar in QUALITY_BARS if calibration.certificate(bar, USUAL_CONFIDENCE).holds]
    n = f"{calibration.groups[0].n:,} prompts"
    label = f"Certified, confidence {USUAL_CONFIDENCE:g}"
    if not held:
        return (Card(label, "no bar", f"from {QUALITY_BARS[0]:.2f} upwards, on {n}"),)
    energy = certified_energy(calibration, held[-1], USUAL_CONFIDENCE)
    note = f"by the stored router, at {energy} of the reference model's energy, on {n}"
    return (Card(label, f"bar {held[-1]:.2f}", note),)


def _change(log_ratio: float) -> str:
    if math.isnan(log_ratio):
        return NONE
    change = math.exp(log_ratio) - 1
    if abs(change) < 0.005:
        return "about the same"
    return f"{abs(change):.0%} {'less' if change < 0 else 'more'}"


def _percent_change(log_ratio: float) -> str:
    if math.isnan(log_ratio):
        return NONE
    change = 100 * (math.exp(log_ratio) - 1)
    return f"{change:+,.0f}%" if change < 1000 else "> +1,000%"
