"""Intervals of figures that were taken once for each seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t

__all__ = ["Interval", "interval95", "paired_interval95"]


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % interval.

    Attributes
    ----------
    mean : float
        Mean over the seeds; NaN if there was nothing to average.
    low, high : float
        Ends of the interval; NaN if fewer than two seeds gave a value.
    """

    mean: float
    low: float
    high: float

    def ends(self, digits: int) -> str:
        """Return both ends in words, with so many decimals; nothing where they are unknown.

        Examples
        --------
        >>> Interval(0.5, 0.41, 0.59).ends(1)
        '0.4 to 0.6'
        """
        return "" if np.isnan(self.low) else f"{self.low:.{digits}f} to {self.high:.{digits}f}"


def interval95(values: ArrayLike) -> Interval:
    """Mean and 95 % interval by Student's t distribution.

    Seeds share their prompts, so that the interval says how far the figure depends on the
    split, and less how far it depends on which prompts were collected.

    Parameters
    ----------
    values : array-like of shape (n_seeds,)
        One value a seed. Values that are not finite are left out.

    Returns
    -------
    Interval
        In the unit of the values.

    Examples
    --------
    >>> interval95([1.0, 2.0, 3.0]).mean
    2.0
    """
    finite = np.asarray(values, np.float64).reshape(-1)
    finite = finite[np.isfinite(finite)]
    if len(finite) == 0:
        return Interval(np.nan, np.nan, np.nan)
    mean = float(finite.mean())
    if len(finite) == 1:
        return Interval(mean, np.nan, np.nan)
    if np.ptp(finite) == 0:
        return Interval(float(finite[0]), float(finite[0]), float(finite[0]))
    half = float(t.ppf(0.975, len(finite) - 1) * finite.std(ddof=1) / np.sqrt(len(finite)))
    return Interval(mean, mean - half, mean + half)


def paired_interval95(first: Sequence[float], second: Sequence[float]) -> Interval:
    """Mean and 95 % interval of the differences first - second, seed by seed.

    Parameters
    ----------
    first, second : sequence of float of length n_seeds
        Values of the same seeds in the same order.

    Returns
    -------
    Interval
        Of the differences.

    Raises
    ------
    ValueError
        If the lengths differ.
    """
    if len(first) != len(second):
        raise ValueError(f"cannot pair {len(first)} values with {len(second)}")
    return interval95(np.asarray(first, np.float64) - np.asarray(second, np.float64))
