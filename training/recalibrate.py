"""Fitting the map from expected quality to the probability of a good answer.

Stacks are fitted to mean quality, on out-of-fold predictions of several candidates. What comes
out is a little too timid or too bold in places, and where answers earn part of a point it is not
a probability at all. A monotone curve of each model's log-odds, fitted to out-of-fold
expectations and shrunken towards no change, mends both.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from router.recalibration import KNOTS, Recalibration, log_odds

__all__ = ["RIGHT_FROM", "fit_recalibration"]

_Floats = NDArray[np.float64]

RIGHT_FROM = 0.5
"""Quality from which an answer counts as good."""

_RIDGE = 10.0
_OFFSET_RIDGE = 0.01
_LEAST_SLOPE = 0.05
_MIN_ROWS = 20
_CELL = 0.01


def fit_recalibration(expected: _Floats, quality: _Floats) -> Recalibration:
    """Fit one monotone map a model, by penalised logistic regression on a linear spline.

    The slopes between the knots are pulled to 1 as if by ten prompts, so that few prompts change
    little. It is Platt's scaling (Platt, "Probabilistic outputs for support vector machines",
    1999) with room for a curve: beta calibration (Kull et al., AISTATS 2017) has one of a fixed
    shape, and the steps of isotonic regression predicted worse out of fold.

    Parameters
    ----------
    expected : ndarray of shape (n, n_models)
        Out-of-fold expected quality.
    quality : ndarray of shape (n, n_models)
        What happened; NaN where a model was not graded.

    Returns
    -------
    Recalibration
        No change for models with fewer than 20 graded answers.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> truth = rng.uniform(0.2, 0.6, (4000, 1))
    >>> right = (rng.random((4000, 1)) < truth).astype(float)
    >>> fitted = fit_recalibration(truth + 0.2, right)  # expectations that are 0.2 too high
    >>> abs(float(fitted.probability(np.array([[0.6]]))[0, 0]) - 0.4) < 0.03
    True
    """
    values = Recalibration.identity(expected.shape[1]).values.copy()
    for j, column in enumerate(values):
        graded = ~np.isnan(quality[:, j])
        if graded.sum() >= _MIN_ROWS:
            right = (quality[graded, j] >= RIGHT_FROM).astype(np.float64)
            column += _correction(log_odds(expected[graded, j]), right)
    return Recalibration(values)


def _correction(place: _Floats, right: _Floats) -> _Floats:
    """Return what to add to the log-odds at each knot."""
    # prompts of nearly the same log-odds count together, which is as good and much faster
    near, cell, count = np.unique(np.round(place / _CELL), return_inverse=True, return_counts=True)
    n_right = np.bincount(cell, right)
    place = near * _CELL
    rises = np.clip(place[:, None] - KNOTS[:-1], 0.0, np.diff(KNOTS))
    design = np.hstack([np.ones((len(place), 1)), rises])
    ridge = np.full(design.shape[1], _RIDGE)
    ridge[0] = _OFFSET_RIDGE

    def loss(weights: _Floats) -> tuple[float, _Floats]:
        value = place + design @ weights
        penalty = ridge * weights
        error = count / (1.0 + np.exp(-value)) - n_right
        fit = float(np.sum(count * np.logaddexp(0.0, value) - n_right * value))
        return fit + 0.5 * float(penalty @ weights), design.T @ error + penalty

    bounds = [(None, None)] + [(_LEAST_SLOPE - 1.0, None)] * rises.shape[1]
    start = np.zeros(design.shape[1])
    weights = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return np.asarray(weights[0] + np.concatenate([[0.0], np.cumsum(weights[1:])]))
