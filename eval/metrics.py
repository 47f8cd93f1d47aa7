"""Figures of one split: energy at quality, calibration, length error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from router.eval.frontier import energy_at_quality
from router.eval.protocol import QUALITY_BARS

__all__ = [
    "auc",
    "brier",
    "ece",
    "ece_floor",
    "energies_at_bars",
    "length_error",
    "log_energy_ratio",
    "peak_quality",
]

_Floats = NDArray[np.float64]

_N_BINS = 15
_RIGHT_FROM = 0.5
_FLOOR_DRAWS = 100
_LEAST_ENERGY_J = 1e-12


def energies_at_bars(
    points: _Floats, reference: _Floats, bars: Sequence[float] = QUALITY_BARS
) -> _Floats:
    """Least energy at which a frontier reaches each share of the reference model's quality.

    Parameters
    ----------
    points : ndarray of shape (n_points, 2)
        Mean energy in joules and mean quality of the settings. The reference model itself is
        added as one more point.
    reference : ndarray of shape (2,)
        Mean energy in joules and mean quality of the reference model on the same prompts.
    bars : sequence of float
        Shares of the reference model's mean quality.

    Returns
    -------
    ndarray of shape (n_bars,)
        Joules; twice the reference model's energy where the frontier never gets there.

    Examples
    --------
    >>> energies_at_bars(np.array([[1.0, 0.4]]), np.array([3.0, 0.8]), [0.75, 1.0])
    array([2., 3.])
    """
    frontier = np.vstack([points, reference])
    energy_j = np.array([energy_at_quality(frontier, bar * reference[1]) for bar in bars])
    return np.where(np.isfinite(energy_j), energy_j, 2 * reference[0])


def log_energy_ratio(points: _Floats, zero_points: _Floats, reference: _Floats) -> float:
    """Mean over the quality bars of ln(energy / energy of the zero router).

    Parameters
    ----------
    points, zero_points : ndarray of shape (n_points, 2)
        Mean energy in joules and mean quality of a method's settings and of the zero router.
    reference : ndarray of shape (2,)
        The same of the reference model.

    Returns
    -------
    float
        Below 0: less energy than any mix of fixed models at the same quality.
    """
    energy_j = np.maximum(energies_at_bars(points, reference), _LEAST_ENERGY_J)
    zero_j = np.maximum(energies_at_bars(zero_points, reference), _LEAST_ENERGY_J)
    return float(np.mean(np.log(energy_j / zero_j)))


def peak_quality(points: _Floats, reference: _Floats) -> float:
    """Best mean quality on a frontier, relative to the reference model.

    Parameters
    ----------
    points : ndarray of shape (n_points, 2)
        Mean energy in joules and mean quality of the settings.
    reference : ndarray of shape (2,)
        The same of the reference model, which is one more point.

    Returns
    -------
    float
        At least 1; NaN if the reference model's quality is 0.
    """
    if reference[1] == 0:
        return float("nan")
    return float(max(points[:, 1].max(initial=reference[1]), reference[1]) / reference[1])


def auc(predicted: _Floats, quality: _Floats) -> float:
    """Area under the ROC curve, mean over models.

    Parameters
    ----------
    predicted : ndarray of shape (n_prompts, n_models)
        Predicted quality.
    quality : ndarray of shape (n_prompts, n_models)
        True quality; from 0.5 up an answer counts as right.

    Returns
    -------
    float
        Models that were always or never right are left out; NaN if all were.

    Examples
    --------
    >>> auc(np.array([[0.1], [0.4], [0.4], [0.9]]), np.array([[0.0], [0.0], [1.0], [1.0]]))
    0.875
    """
    right = quality >= _RIGHT_FROM
    n_right, n_wrong = right.sum(axis=0), (~right).sum(axis=0)
    ranks = rankdata(predicted, axis=0)
    wins = (ranks * right).sum(axis=0) - n_right * (n_right + 1) / 2
    defined = (n_right > 0) & (n_wrong > 0)
    if not defined.any():
        return float("nan")
    return float((wins[defined] / (n_right[defined] * n_wrong[defined])).mean())


def brier(predicted: _Floats, quality: _Floats) -> float:
    """Mean squared difference of predicted and true quality, mean over models.

    Parameters
    ----------
    predicted, quality : ndarray of shape (n_prompts, n_models)
        Predicted and true quality.

    Returns
    -------
    float
        From 0, the best, to 1.
    """
    return float(np.square(predicted - quality).mean())


def ece(predicted: _Floats, quality: _Floats) -> float:
    """Return the calibration error in 15 bins of equal counts, mean over models.

    Equal predictions always share a bin, so that the order of the prompts has no say.

    Parameters
    ----------
    predicted : ndarray of shape (n_prompts, n_models)
        Predicted quality.
    quality : ndarray of shape (n_prompts, n_models)
        True quality; from 0.5 up an answer counts as right.

    Returns
    -------
    float
        Mean gap between the predicted and the observed share of right answers.

    References
    ----------
    Nixon et al., "Measuring Calibration in Deep Learning", CVPR workshops 2019.
    """
    right = (quality >= _RIGHT_FROM).astype(np.float64)
    gaps = [
        _calibration_gaps(column[order], right[order, j][None])[0]
        for j, column in enumerate(predicted.T)
        for order in [np.argsort(column, kind="stable")]
    ]
    return float(np.mean(gaps))


def ece_floor(predicted: _Floats, seed: int = 0) -> float:
    """Calibration error that perfectly calibrated predictions would show by chance.

    Outcomes are drawn from the predictions themselves, and `ece` is taken of the draws.

    Parameters
    ----------
    predicted : ndarray of shape (n_prompts, n_models)
        Predicted quality; clipped to [0, 1].
    seed : int
        Seed of the draws.

    Returns
    -------
    float
        Mean over the draws and models.
    """
    rng = np.random.default_rng(seed)
    gaps = []
    for column in np.clip(predicted, 0.0, 1.0).T:
        column = np.sort(column)
        draws = rng.random((_FLOOR_DRAWS, len(column))) < column
        gaps.append(_calibration_gaps(column, draws.astype(np.float64)).mean())
    return float(np.mean(gaps))


def length_error(predicted_tokens: _Floats, completion_tokens: _Floats) -> float:
    """Median absolute log ratio of predicted to true completion tokens.

    Parameters
    ----------
    predicted_tokens, completion_tokens : ndarray of shape (n_prompts, n_models)
        Predicted and true lengths in tokens; fewer than one counts as one. Answers of
        unknown length are NaN and left out.

    Returns
    -------
    float
        0.69 means that half of the lengths are off by more than a factor of two; NaN if no
        length is known.
    """
    known = ~np.isnan(completion_tokens)
    if not known.any():
        return float("nan")
    ratio = np.log(np.maximum(predicted_tokens[known], 1)) - np.log(
        np.maximum(completion_tokens[known], 1)
    )
    return float(np.median(np.abs(ratio)))


def _calibration_gaps(predicted: _Floats, right: _Floats) -> _Floats:
    """Calibration error of each row of `right`, for one model's ascending predictions."""
    n = len(predicted)
    first_equal = np.searchsorted(predicted, predicted, side="left")
    starts = np.flatnonzero(np.diff(first_equal * _N_BINS // n, prepend=-1))
    sums = np.add.reduceat(predicted - right, starts, axis=1)
    return np.asarray(np.abs(sums).sum(axis=1) / n)
