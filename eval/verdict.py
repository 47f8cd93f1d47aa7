"""Whether a router beats a baseline, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum

from router.eval.intervals import Interval

__all__ = ["Comparison", "compare", "state_verdict"]


class Comparison(Enum):
    """How a router compares with a baseline."""

    BEATS = "beats"
    UNCLEAR = "not clearly different"
    LOSES = "loses to"
    UNKNOWN = "no interval"


def compare(difference: Interval) -> Comparison:
    """Judge a paired difference of figures of which less is better.

    Parameters
    ----------
    difference : Interval
        Router minus baseline.

    Returns
    -------
    Comparison
        BEATS or LOSES only if the whole interval lies on one side of 0; UNKNOWN if there is
        none, as with a single seed.

    Examples
    --------
    >>> compare(Interval(mean=-0.2, low=-0.3, high=-0.1)).value
    'beats'
    """
    if math.isnan(difference.low) or math.isnan(difference.high):
        return Comparison.UNKNOWN
    if difference.high < 0:
        return Comparison.BEATS
    if difference.low > 0:
        return Comparison.LOSES
    return Comparison.UNCLEAR


def state_verdict(
    router: str, headline: Interval, n_seeds: int, others: Mapping[str, Comparison]
) -> str:
    """Say first how a router compares with the zero router, then with the other baselines.

    Parameters
    ----------
    router : str
        Name of the router.
    headline : Interval
        Its `log_energy_ratio`, which is its paired difference from the zero router.
    n_seeds : int
        Seeds that the interval is over.
    others : mapping of str to Comparison
        How it compares with each other baseline, by its name.

    Returns
    -------
    str
        A few sentences.
    """
    change = math.exp(headline.mean) - 1
    amount = f"{abs(change):.0%} {'less' if change < 0 else 'more'} energy at equal quality"
    if headline.mean == 0:
        amount = "the same energy at equal quality"
    known = not math.isnan(headline.low)
    interval = f", 95 % interval {headline.low:+.3f} to {headline.high:+.3f}" if known else ""
    seeds = f"{n_seeds} seed{'' if n_seeds == 1 else 's'}"
    figure = f"{amount} (log_energy_ratio {headline.mean:+.3f}{interval}, {seeds})"
    opening = {
        Comparison.BEATS: f"{router} beats the zero router",
        Comparison.LOSES: f"{router} loses to the zero router",
        Comparison.UNCLEAR: f"{router} does not clearly differ from the zero router",
        Comparison.UNKNOWN: f"No verdict on {router}, one seed gives no interval",
    }[compare(headline)]
    sentences = [f"{opening}: {figure}."]
    for comparison, words in (
        (Comparison.BEATS, "It beats"),
        (Comparison.UNCLEAR, "It does not clearly differ from"),
        (Comparison.LOSES, "It loses to"),
    ):
        names = [name for name, found in others.items() if found is comparison]
        if names:
            sentences.append(f"{words} {_listed(names)}.")
    return " ".join(sentences)


def _listed(names: list[str]) -> str:
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} and {names[-1]}"
