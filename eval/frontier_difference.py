"""The difference between the frontiers of two routers on the same prompts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from router.eval.frontier import operating_points, upper_hull, zero_router_points
from router.eval.intervals import Interval
from router.eval.metrics import log_energy_ratio
from router.eval.protocol import BenchmarkSplit
from router.eval.scoring import Truth

__all__ = ["frontier_difference"]

_N_RESAMPLES = 400


def frontier_difference(
    first: NDArray[np.integer],
    second: NDArray[np.integer],
    split: BenchmarkSplit,
    truth: Truth,
    groups: NDArray[np.integer],
) -> Interval:
    """Return how far one frontier's `log_energy_ratio` is below another's.

    Parameters
    ----------
    first, second : ndarray of shape (n_settings, n_test)
        Column of the model that each setting of a router's dial chooses for each test prompt.
    split : BenchmarkSplit
        What both learned on; its seed is that of the resamples.
    truth : Truth
        What happened on the test prompts.
    groups : ndarray of shape (n_test,)
        Test prompts of one group are drawn together.

    Returns
    -------
    Interval
        First less second, with the 95 % percentile interval of 400 bootstrap resamples of the test
        prompts. What training learned is held fixed.

    References
    ----------
    Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """

    def measured(rows: NDArray[np.intp]) -> float:
        quality, energy_j = truth.quality[rows], truth.energy_j[rows]
        zero = zero_router_points(split.train.quality, split.train_energy_j, quality, energy_j)
        column = truth.reference
        reference = np.array([energy_j[:, column].mean(), quality[:, column].mean()])
        ratios = [
            # the hull has all that counts, and far fewer points
            log_energy_ratio(
                upper_hull(operating_points(choices[:, rows], quality, energy_j)), zero, reference
            )
            for choices in (first, second)
        ]
        return ratios[0] - ratios[1]

    rng = np.random.default_rng(split.seed)
    _, member = np.unique(groups, return_inverse=True)
    rows_of = [np.flatnonzero(member == group) for group in range(int(member.max()) + 1)]
    found = []
    for _ in range(_N_RESAMPLES):
        drawn = rng.integers(len(rows_of), size=len(rows_of))
        found.append(measured(np.concatenate([rows_of[group] for group in drawn])))
    low, high = np.quantile(found, [0.025, 0.975])
    return Interval(measured(np.arange(len(groups))), float(low), float(high))
