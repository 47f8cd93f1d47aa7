"""The routing policy: price energy, then take the best bargain for each prompt.

A prompt goes to the model with the largest ``quality - price * energy``. One price holds for
all prompts, because a quality bar is a property of traffic: a threshold on each prompt's own
probability pays for the largest model on every prompt that no model can answer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["TIE", "best_bargain", "price_grid"]

_Floats = NDArray[np.float64]
_Index = NDArray[np.int64]

TIE = 1e-12
"""Difference of two bargains that counts as none."""


def best_bargain(quality: _Floats, energy_j: _Floats, price: float) -> _Index:
    """Choose the model with the largest ``quality - price * energy_j`` for each prompt.

    Parameters
    ----------
    quality : ndarray of shape (n, n_models)
        Expected quality.
    energy_j : ndarray of shape (n, n_models)
        Expected energy in joules.
    price : float
        Quality that one joule must buy, at least 0.

    Returns
    -------
    ndarray of shape (n,)
        Column of the chosen model; ties go to the lower energy.

    Examples
    --------
    >>> import numpy as np
    >>> best_bargain(np.array([[0.7, 0.9]]), np.array([[10.0, 100.0]]), 0.001)
    array([1])
    >>> best_bargain(np.array([[0.7, 0.9]]), np.array([[10.0, 100.0]]), 0.01)
    array([0])
    """
    utility = quality - price * energy_j
    best = utility.max(axis=1, keepdims=True)
    tied = np.where(utility >= best - TIE, energy_j, np.inf)
    return np.asarray(tied.argmin(axis=1), np.int64)


def price_grid(quality: _Floats, energy_j: _Floats, n_prices: int) -> _Floats:
    """Return geometric prices from one that buys the cheapest model to one that hardly matters.

    Parameters
    ----------
    quality, energy_j : ndarray of shape (n, n_models)
        Expected quality and energy in joules.
    n_prices : int
        Number of prices, at least 2.

    Returns
    -------
    ndarray of shape (n_prices,)
        Quality per joule, descending; the last one is zero.

    Raises
    ------
    ValueError
        If `n_prices` is less than 2.
    """
    if n_prices < 2:
        raise ValueError(f"n_prices is {n_prices}: use at least 2")
    gap = energy_j.max(axis=1) - energy_j.min(axis=1)
    typical = float(np.median(gap[gap > 0])) if (gap > 0).any() else 1.0
    return np.append(np.geomspace(1e3, 1e-4, n_prices - 1) / typical, 0.0)
