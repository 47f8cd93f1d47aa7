"""Lower bounds by betting, for grades between 0 and 1 that are not only 0 and 1.

A gambler bets before each prompt on the router keeping its bar: with a stake s, his capital is
multiplied by ``1 + s * (routed - bar * reference)``, where the two are the grades of the routed
answer and of the reference model's. If the router keeps less than the bar, the capital is expected
to shrink whatever the stakes, so that it ever grows tenfold with a chance of at most one in ten
(Ville's inequality). A bar that makes the gambler rich is thus certified.

References
----------
Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", Journal of the
Royal Statistical Society B 86, 2024: predictable plug-in stakes for a fixed number of prompts.
"""

from __future__ import annotations

from math import log

import numpy as np
from numpy.typing import NDArray

__all__ = ["log_capital", "stakes"]

_Floats = NDArray[np.float64]

_LARGEST_STAKE = 0.75
_FIRST_VARIANCE = 0.25


def stakes(differences: _Floats, error: float) -> _Floats:
    """Return the stake on each prompt, set before its grades are seen.

    Parameters
    ----------
    differences : ndarray of shape (n,)
        Grade of the routed answer less the reference model's, in [-1, 1].
    error : float
        Chance that the bound may be wrong, in (0, 1).

    Returns
    -------
    ndarray of shape (n,)
        ``sqrt(2 ln(1 / error) / (n v))`` with the variance v of the prompts so far, at most
        0.75: capital stays positive.
    """
    n = len(differences)
    seen = np.arange(1, n + 1)
    mean = np.cumsum(differences) / (seen + 1)
    variance = (_FIRST_VARIANCE + np.cumsum((differences - mean) ** 2)) / (seen + 1)
    before = np.concatenate([[_FIRST_VARIANCE], variance[:-1]]) if n else variance
    return np.asarray(np.minimum(np.sqrt(2.0 * log(1.0 / error) / (n * before)), _LARGEST_STAKE))


def log_capital(routed: _Floats, reference: _Floats, bar: float, error: float) -> float:
    """Return the logarithm of the most capital that the gambler ever has, starting with 1.

    Parameters
    ----------
    routed, reference : ndarray of shape (n,)
        Grades of the routed answers and of the reference model's, in [0, 1], in an order that
        does not depend on them.
    bar : float
        Share of the reference model's mean quality, in (0, 1].
    error : float
        Chance that the bound may be wrong; it sets the stakes.

    Returns
    -------
    float
        At least ``ln(1 / error)``: the bar is certified. Falls as the bar rises.

    Examples
    --------
    >>> grades = np.tile([0.5, 0.9, 0.8], 200)
    >>> log_capital(grades - 0.01, grades, bar=0.95, error=0.1) > log(10)
    True
    >>> log_capital(grades - 0.10, grades, bar=0.95, error=0.1) > log(10)
    False
    """
    bets = stakes(routed - reference, error)
    growth = np.log1p(bets * (routed - bar * reference))
    return float(np.cumsum(growth).max(initial=0.0))
