"""Look-ups of nearest prompts and clusters, the same in training and serving."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["cluster_of", "neighbour_weights", "squared_norms"]

_Array = NDArray[np.float32]


def neighbour_weights(
    queries: _Array, bank: _Array, neighbours: tuple[int, ...], squares: _Array
) -> tuple[list[NDArray[np.int64]], list[_Array]]:
    """Find the nearest prompts of a bank and weigh them by closeness.

    Parameters
    ----------
    queries : ndarray of shape (n, n_features)
        Prompts to look up.
    bank : ndarray of shape (n_bank, n_features)
        Prompts with known outcomes.
    neighbours : tuple of int
        How many to use, each at most ``n_bank``; one answer for each.
    squares : ndarray of shape (n_bank,)
        Squared norms of the bank.

    Returns
    -------
    index : list of ndarray of shape (n, k)
        Rows of the bank, for each k of `neighbours`.
    weight : list of ndarray of shape (n, k)
        Non-negative, of sum 1; falls to almost nothing at the farthest neighbour.
    """
    distance = squares - 2.0 * (queries @ bank.T)
    indices, weights = [], []
    for k in neighbours:
        index = np.argpartition(distance, k - 1, axis=1)[:, :k]
        near = np.take_along_axis(distance, index, axis=1)
        weight = near.max(axis=1, keepdims=True) - near
        weight += 0.05 * weight.max(axis=1, keepdims=True) + 1e-6
        indices.append(index)
        weights.append(weight / weight.sum(axis=1, keepdims=True))
    return indices, weights


def cluster_of(queries: _Array, centres: _Array, squares: _Array) -> NDArray[np.int64]:
    """Return the nearest centre of each query, of shape (n,).

    Parameters
    ----------
    queries : ndarray of shape (n, n_features)
        Prompts.
    centres : ndarray of shape (n_clusters, n_features)
        Centres.
    squares : ndarray of shape (n_clusters,)
        Squared norms of the centres.
    """
    return np.asarray((squares - 2.0 * (queries @ centres.T)).argmin(axis=1), np.int64)


def squared_norms(rows: _Array) -> _Array:
    """Return the squared norm of each row, of shape (n,)."""
    return np.einsum("nd,nd->n", rows, rows)
