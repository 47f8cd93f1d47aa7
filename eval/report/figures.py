"""How figures are written in reports: a mean, its interval, a share, an amount of energy."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from router.eval.intervals import Interval

__all__ = [
    "NONE",
    "energies",
    "energy",
    "number",
    "percent",
    "plain",
    "points",
    "scaled",
    "share",
    "signed",
    "span",
    "tidy",
]

NONE = "-"
"""Stands where there is no figure."""

# Control characters, what turns the direction of text, and halves of surrogate pairs.
_UNSHOWABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
    "\ufffe\uffff]"
)


def tidy(text: str) -> str:
    """Return text without characters that a page cannot or should not show."""
    return _UNSHOWABLE.sub("\ufffd", text)


def signed(interval: Interval) -> str:
    """Return the mean with its sign."""
    return NONE if math.isnan(interval.mean) else _with_sign(interval.mean)


def span(interval: Interval) -> str:
    """Return the ends of the interval with their signs."""
    if math.isnan(interval.low):
        return NONE
    return f"{_with_sign(interval.low)} to {_with_sign(interval.high)}"


def percent(interval: Interval) -> str:
    """Return the mean in per cent with half the width of the interval."""
    if math.isnan(interval.mean):
        return NONE
    if math.isnan(interval.low):
        return f"{100 * interval.mean:.1f}"
    return f"{100 * interval.mean:.1f} ± {100 * (interval.high - interval.mean):.1f}"


def points(interval: Interval) -> str:
    """Return a difference of shares in percentage points with half the interval's width."""
    if math.isnan(interval.mean):
        return NONE
    text = f"{100 * interval.mean:+.1f}"
    if math.isnan(interval.low):
        return text
    return f"{text} ± {100 * (interval.high - interval.mean):.1f}"


def share(value: float) -> str:
    """Return a share in whole per cent, as ``<1%`` where it is small but not nothing."""
    if math.isnan(value):
        return NONE
    return "<1%" if 0 < value < 0.005 else f"{value:.0%}"


def plain(interval: Interval) -> str:
    """Return the mean with half the width of the interval, to about three digits."""
    if math.isnan(interval.mean):
        return NONE
    places = _places(interval.mean)
    text = f"{interval.mean:,.{places}f}"
    half = interval.high - interval.mean
    return text if math.isnan(half) or half == 0 else f"{text} ± {half:,.{places}f}"


def number(value: float) -> str:
    """Return a number to about three digits."""
    if math.isnan(value):
        return NONE
    if 0 < abs(value) < 1e-4:
        return f"{value:.2g}"
    return f"{value:,.{_places(value)}f}" if abs(value) >= 1 else f"{value:.3g}"


def energy(joules: float) -> str:
    """Return an amount of energy in Wh, kWh or MWh, to about three digits.

    Parameters
    ----------
    joules : float
        Joules, of either sign.

    Examples
    --------
    >>> energy(9_000_000.0)
    '2.50 kWh'
    """
    if math.isnan(joules):
        return NONE
    factor, unit = _unit(abs(joules))
    value = joules / factor
    return f"{value:,.{_places(value)}f} {unit}"


def scaled(interval: Interval, factor: float) -> Interval:
    """Return an interval whose mean and ends are `factor` times as large."""
    return Interval(factor * interval.mean, factor * interval.low, factor * interval.high)


def energies(column: Sequence[Interval]) -> list[str]:
    """Return amounts of energy in one unit and with equally many places, to be compared.

    Parameters
    ----------
    column : sequence of Interval
        Joules.

    Returns
    -------
    list of str
        Each mean with half the width of its interval.

    Examples
    --------
    >>> energies([Interval(7.2e6, 3.6e6, 10.8e6), Interval(9e7, 9e7, 9e7)])
    ['2.0 ± 1.0 kWh', '25.0 ± 0.0 kWh']
    """
    largest = max((abs(found.mean) for found in column if math.isfinite(found.mean)), default=0.0)
    factor, unit = _unit(largest)
    places = max(_places(largest / factor), 1)
    texts = []
    for found in column:
        if math.isnan(found.mean):
            texts.append(NONE)
            continue
        mean = f"{round(found.mean / factor, places) + 0.0:,.{places}f}"
        half = found.high - found.mean
        spread = "" if math.isnan(half) else f" ± {half / factor:,.{places}f}"
        texts.append(f"{mean}{spread} {unit}")
    return texts


def _with_sign(value: float) -> str:
    return f"{round(value, 3) + 0.0:+.3f}"  # what rounds to nothing has no minus


def _unit(joules: float) -> tuple[float, str]:
    """Return the unit that fits an amount, in joules and by name."""
    units = ((3.6e9, "MWh"), (3.6e6, "kWh"), (3600.0, "Wh"))
    return next((unit for unit in units if joules >= unit[0]), units[-1])


def _places(value: float) -> int:
    """Decimal places that leave about three significant digits."""
    return 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
