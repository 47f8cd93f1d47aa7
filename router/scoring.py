"""Scoring of trained heads in numpy: from features to qualities and answer lengths."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["cluster_of", "neighbour_weights"]

_Array = NDArray[np.float32]


def neighbour_weights(
    queries: _Array, bank: _Array, neighbours: int
) -> tuple[NDArray[np.int64], _Array]:
    """Find the nearest prompts of a bank and weigh them by closeness.

    Parameters
    ----------
    queries : ndarray of shape (n, n_features)
        Prompts to look up.
    bank : ndarray of shape (n_bank, n_features)
        Prompts with known outcomes.
    neighbours : int
        How many to use, at most ``n_bank``.

    Returns
    -------
    index : ndarray of shape (n, neighbours)
        Rows of the bank.
    weight : ndarray of shape (n, neighbours)
        Non-negative, of sum 1; falls to almost nothing at the farthest neighbour.
    """
    distance = (bank * bank).sum(axis=1) - 2.0 * (queries @ bank.T)
    index = np.argpartition(distance, neighbours - 1, axis=1)[:, :neighbours]
    near = np.take_along_axis(distance, index, axis=1)
    weight = near.max(axis=1, keepdims=True) - near
    weight += 0.05 * weight.max(axis=1, keepdims=True) + 1e-6
    return index.astype(np.int64), weight / weight.sum(axis=1, keepdims=True)


def cluster_of(queries: _Array, centres: _Array) -> NDArray[np.int64]:
    """Return the nearest centre of each query, of shape (n,)."""
    distance = (centres * centres).sum(axis=1) - 2.0 * (queries @ centres.T)
    return distance.argmin(axis=1).astype(np.int64)
