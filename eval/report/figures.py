"""How figures are written in reports: a mean, its interval, a share."""

from __future__ import annotations

import math

from router.eval.intervals import Interval

__all__ = ["NONE", "number", "percent", "plain", "signed", "span"]

NONE = "-"
"""Stands where there is no figure."""


def signed(interval: Interval) -> str:
    """Return the mean with its sign."""
    return NONE if math.isnan(interval.mean) else f"{interval.mean:+.3f}"


def span(interval: Interval) -> str:
    """Return the ends of the interval with their signs."""
    return NONE if math.isnan(interval.low) else f"{interval.low:+.3f} to {interval.high:+.3f}"


def percent(interval: Interval) -> str:
    """Return the mean in per cent with half the width of the interval."""
    if math.isnan(interval.mean):
        return NONE
    if math.isnan(interval.low):
        return f"{100 * interval.mean:.1f}"
    return f"{100 * interval.mean:.1f} ± {100 * (interval.high - interval.mean):.1f}"


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
    return f"{value:,.{_places(value)}f}" if abs(value) >= 1 else f"{value:.3g}"


def _places(value: float) -> int:
    """Decimal places that leave about three significant digits."""
    return 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
