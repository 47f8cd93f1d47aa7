"""Runs in which not every model answered every prompt: what fills the gaps, and the means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from router.dial import PoolMeans

__all__ = ["additive", "fill_missing", "mean_outcomes"]

_Array = NDArray[np.float64]


def fill_missing(quality: _Array) -> _Array:
    """Fill gaps by an additive model of prompts and models.

    Each gap gets the model's mean, moved by how much better or worse the prompt went for the
    models that ran it; the movement is shrunken as if by two average answers.

    Parameters
    ----------
    quality : ndarray of shape (n, n_models)
        Qualities with NaN where a model was not run.

    Returns
    -------
    ndarray of shape (n, n_models)
        Without NaN, in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> fill_missing(np.array([[1.0, 1.0], [0.0, np.nan], [1.0, 1.0]]))[1].round(2)
    array([0.  , 0.78])
    """
    gaps = np.isnan(quality)
    if not gaps.any():
        return quality.copy()
    return np.where(gaps, np.clip(additive(quality), 0.0, 1.0), quality)


def additive(values: _Array) -> _Array:
    """Return what an additive model of prompts and models expects.

    Parameters
    ----------
    values : ndarray of shape (n, n_models)
        What is known, with NaN gaps.

    Returns
    -------
    ndarray of shape (n, n_models)
        Expectations of all cells.
    """
    gaps = np.isnan(values)
    count = (~gaps).sum(axis=0)
    mean = np.where(gaps, 0.0, values).sum(axis=0) / np.maximum(count, 1)
    residual = np.where(gaps, 0.0, values - mean)
    movement = residual.sum(axis=1) / ((~gaps).sum(axis=1) + 2.0)
    return np.asarray(mean + movement[:, None])


def mean_outcomes(quality: _Array, energy_j: _Array) -> PoolMeans:
    """Return the mean outcomes of models that were not all run on the same prompts.

    Parameters
    ----------
    quality, energy_j : ndarray of shape (n, n_models)
        Outcomes; quality is NaN where a model was not run.

    Returns
    -------
    PoolMeans
        Means of filled qualities, so that a model is not taken for a bad one because it only got
        hard prompts, and of the energy of what was run.
    """
    means = PoolMeans.of(quality, energy_j)
    if not np.isnan(quality).any():
        return means
    return replace(means, quality=tuple(fill_missing(quality).mean(axis=0).tolist()))
