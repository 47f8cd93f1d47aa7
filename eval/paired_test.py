"""Tests of means that were taken on the same prompts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

__all__ = ["PairedTest", "paired_test"]

_Floats = NDArray[np.float64]

_N_RESAMPLES = 4000
_CHUNK_CELLS = 4_000_000
_POWER = 0.8


@dataclass(frozen=True, slots=True)
class PairedTest:
    """A one-sided test that a mean is above zero.

    Attributes
    ----------
    mean : float
        The mean over the prompts.
    low, high : float
        Ends of its two-sided 90 % interval: the test at the level 0.05 rejects where `low` is
        above 0. They reach to 0 where the differences are all equal.
    p_value : float
        Chance of a statistic as large as this if the true mean were 0.
    n : int
        Prompts.
    n_groups : int
        Distinct texts among them, which are what was drawn.
    n_needed : int or None
        Prompts with which a true mean as large as this one would be found in four cases of five at
        the level 0.05; None where the mean is not above 0.
    """

    mean: float
    low: float
    high: float
    p_value: float
    n: int
    n_groups: int
    n_needed: int | None


def paired_test(differences: ArrayLike, groups: ArrayLike, seed: int = 0) -> PairedTest:
    """Test whether the mean of paired differences is above zero, by the bootstrap-t.

    Prompts of one group are drawn together. The statistic is the mean over its standard error;
    its distribution under a mean of 0 is that of the resampled means around the mean at hand,
    each over its own standard error. Unlike the t test this follows the skewness of energies. The
    level is kept as the number of prompts grows; with few prompts not for differences of grades,
    which take few values and rarely the telling ones: an exact test is for those.

    Parameters
    ----------
    differences : array-like of shape (n,)
        One a prompt.
    groups : array-like of shape (n,)
        Prompts of the same group are not independent.
    seed : int
        Seed of the resamples.

    Returns
    -------
    PairedTest
        With differences that are all equal, `p_value` is 1: what has not varied yet may still,
        and nothing says how much.

    Raises
    ------
    ValueError
        If there are fewer than two groups, or the lengths differ.

    References
    ----------
    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapters 12 and 16.

    Examples
    --------
    >>> found = paired_test([0.1, 0.3, 0.2, 0.4] * 5, range(20))
    >>> found.low > 0, round(found.mean, 3)
    (True, 0.25)
    """
    values = np.asarray(differences, np.float64)
    labels = np.asarray(groups)
    if values.shape != labels.shape or values.ndim != 1:
        raise ValueError(f"{values.shape} differences for {labels.shape} groups")
    _, member = np.unique(labels, return_inverse=True)
    counts = np.bincount(member).astype(np.float64)
    sums = np.bincount(member, weights=values)
    n_groups = len(counts)
    if n_groups < 2:
        raise ValueError("a test needs prompts of at least two groups")
    mean = float(sums.sum() / counts.sum())
    rest = sums - mean * counts
    error = float(_moves(np.ones((1, n_groups)), rest, counts)[1][0])
    if error <= 1e-12 * np.abs(values).max():
        ends = min(mean, 0.0), max(mean, 0.0)
        return PairedTest(mean, *ends, 1.0, len(values), n_groups, None)
    rng = np.random.default_rng(seed)
    parts: list[_Floats] = []
    rows = max(1, _CHUNK_CELLS // n_groups)
    for start in range(0, _N_RESAMPLES, rows):
        size = min(rows, _N_RESAMPLES - start)
        drawn = rng.multinomial(n_groups, np.full(n_groups, 1.0 / n_groups), size=size)
        moves, errors = _moves(drawn.astype(np.float64), rest, counts)
        # a resample of one value over and over says nothing of the spread
        varied = errors > 1e-9 * error
        parts.append(moves[varied] / errors[varied])
    statistics = np.concatenate(parts)
    least = mean / error - 1e-9 * (1.0 + abs(mean / error))  # ties count, whatever the rounding
    p_value = float((1 + (statistics >= least).sum()) / (1 + len(statistics)))
    low, high = mean - np.quantile(statistics, [0.95, 0.05]) * error
    needed = None
    if mean > 0:
        z = norm.ppf(0.95) + norm.ppf(_POWER)
        needed = int(np.ceil(len(values) * (z * error / mean) ** 2))
    return PairedTest(mean, float(low), float(high), p_value, len(values), n_groups, needed)


def _moves(drawn: _Floats, rest: _Floats, counts: _Floats) -> tuple[_Floats, _Floats]:
    """Return how far the means of resamples moved, and their standard errors as ratios of sums.

    `rest` are the groups' sums less what the mean makes them: centred, so that nothing cancels.
    """
    n_groups = len(counts)
    totals = drawn @ counts
    moves = drawn @ rest / totals
    # the sum of drawn * (rest - moves * counts) ** 2, multiplied out
    squares = (
        drawn @ rest**2 - 2.0 * moves * (drawn @ (rest * counts)) + moves**2 * (drawn @ counts**2)
    )
    errors = np.sqrt(np.maximum(squares, 0.0) * n_groups / (n_groups - 1)) / totals
    return moves, errors
