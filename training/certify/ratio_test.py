"""Exact test of how much of the reference model's quality a router keeps, for 0/1 grades.

The router answers every prompt and so does the reference model; each answer is right or wrong.
Only prompts that at least one of them gets right tell them apart. Of N such prompts let ``gained``
be those that only the router gets right and ``lost`` those that only the reference model does.
With shares ``g`` and ``l`` behind them, the router keeps less than the bar b exactly if
``l >= 1 - b + b g`` (write the mean qualities as sums of the shares). The statistic

    T = (b gained + (1 - b) N - lost) / sqrt(b (gained + lost))

compares the losses with what the bar allows; at b = 1 it is McNemar's. Its tail probability is
computed exactly, as a sum over the multinomial distribution, for the worst ``l`` (the least that
breaks the bar, because more losses only make a large T rarer) and the worst ``g`` in a
Clopper-Pearson interval whose own error is added to the p-value.

References
----------
Lachenbruch and Lynch, "Assessing screening tests: extensions of McNemar's test", Statistics in
Medicine 17, 1998 (the hypothesis). Suissa and Shuster, "The 2 x 2 matched-pairs trial: exact
unconditional design and analysis", Biometrics 47, 1991 (the exact tail). Berger and Boos, "P values
maximized over a confidence set for the nuisance parameter", JASA 89, 1994 (the interval).
"""

from __future__ import annotations

from functools import lru_cache
from math import ceil, floor, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, betaincinv, gammaln, xlog1py, xlogy

__all__ = ["ratio_p_value"]

_Floats = NDArray[np.float64]

_INTERVAL_ERROR = 1e-3
_N_SHARES = 12
_TAIL_SD = 6.0


@lru_cache(maxsize=65_536)
def ratio_p_value(gained: int, lost: int, both: int, bar: float) -> float:
    """Return the p-value of "the router keeps less than `bar` of the reference's mean quality".

    Parameters
    ----------
    gained, lost, both : int
        Prompts that only the router, only the reference model, and both got right.
    bar : float
        Share of the reference model's mean quality, in (0, 1].

    Returns
    -------
    float
        In (0, 1]. If the hypothesis is true, the chance of a p-value of at most p is at most
        p, for any number of prompts.

    Examples
    --------
    >>> round(ratio_p_value(gained=30, lost=33, both=400, bar=0.95), 3)
    0.012
    >>> ratio_p_value(gained=3, lost=33, both=40, bar=0.95)
    1.0
    """
    n = gained + lost + both
    surplus = bar * gained + (1.0 - bar) * n - lost
    if surplus <= 0.0:
        return 1.0
    # without a prompt that tells them apart, T is the largest there is
    statistic = surplus / sqrt(bar * (gained + lost)) if gained + lost else np.inf
    worst = _tails(n, bar, statistic, _shares(gained, n, bar)).max()
    return min(1.0, float(worst) + _INTERVAL_ERROR)


def _shares(gained: int, n: int, bar: float) -> _Floats:
    """Shares of gained prompts to look at: an interval, cut where the hypothesis ends."""
    half = _INTERVAL_ERROR / 2
    low = float(betaincinv(gained, n - gained + 1, half)) if gained else 0.0
    high = float(betaincinv(gained + 1, n - gained, 1.0 - half)) if gained < n else 1.0
    largest = bar / (1.0 + bar)
    # even on the scale of square roots, where a share is as well known anywhere
    return np.linspace(sqrt(min(low, largest)), sqrt(min(high, largest)), _N_SHARES) ** 2


def _tails(n: int, bar: float, statistic: float, shares: _Floats) -> _Floats:
    """Chance of a statistic at least as large, for each share of gained prompts, ascending."""
    spread = _TAIL_SD * np.sqrt(n * shares * (1.0 - shares)) + 10.0
    first, last = n * shares[0] - spread[0], n * shares[-1] + spread[-1]
    gained = np.arange(max(0, floor(first)), min(n, ceil(last)) + 1)
    share = shares[:, None]
    chance = np.exp(_log_choices(n, gained) + xlogy(gained, share) + xlog1py(n - gained, -share))
    lost_share = np.minimum((1.0 - bar + bar * share) / (1.0 - share), 1.0)
    most = np.minimum(_most_lost(gained, n, bar, statistic), n - gained)
    within = np.where(most >= 0, bdtr(np.maximum(most, 0), n - gained, lost_share), 0.0)
    return np.asarray((chance * within).sum(axis=1))


def _log_choices(n: int, k: NDArray[np.int64]) -> _Floats:
    """Logarithm of the ways to choose k of n."""
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1))


def _most_lost(gained: NDArray[np.int64], n: int, bar: float, statistic: float) -> _Floats:
    """Return the most losses with which the statistic is as large; negative where none is."""
    if statistic == np.inf:
        return np.where(gained == 0, 0.0, -1.0)
    allowed = bar * gained + (1.0 - bar) * n
    scale = bar * statistic**2
    root = np.sqrt(scale * (allowed + gained) + scale**2 / 4)
    # the observed losses themselves count, whatever rounding does
    most = np.floor(allowed + scale / 2 - root + 1e-9)
    return np.where(allowed > 0.0, most, -1.0)
