"""Look-ups and quick arithmetic that training and serving share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "cluster_of",
    "neighbour_weights",
    "probabilities",
    "squared_norms",
    "widened",
    "within",
]

_Array = NDArray[np.float32]
_Floats = NDArray[np.float64]

# From the exponent bias of half precision, 15, to that of single precision, 127.
_REBIAS = np.float32(2.0**112)
_SIGN_AND_MAGNITUDE = np.int32(-0x70002000)


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
        How many to use, one or several counts from 1 to ``n_bank``; one answer for each.
    squares : ndarray of shape (n_bank,)
        Squared norms of the bank.

    Returns
    -------
    index : list of ndarray of shape (n, k)
        Rows of the bank, for each k of `neighbours`.
    weight : list of ndarray of shape (n, k)
        Positive, of sum 1; falls in proportion to the squared distance, to a twentieth of the
        range at the farthest neighbour.

    Raises
    ------
    ValueError
        If a count is not between 1 and ``n_bank``.

    Examples
    --------
    >>> import numpy as np
    >>> bank = np.array([[0.0], [1.0], [3.0]], np.float32)
    >>> (index,), (weight,) = neighbour_weights(bank[:1], bank, (2,), squared_norms(bank))
    >>> index, weight.round(3)
    (array([[0, 1]]), array([[0.955, 0.045]], dtype=float32))
    """
    if not 1 <= min(neighbours) <= max(neighbours) <= len(bank):
        raise ValueError(f"neighbours is {neighbours}: use counts from 1 to {len(bank)}")
    distance = queries @ bank.T
    distance *= -2.0
    distance += squares
    order = distance.argpartition([k - 1 for k in neighbours], axis=1)[:, : max(neighbours)]
    nearest = distance[np.arange(len(distance))[:, None], order]
    indices, weights = [], []
    for k in neighbours:
        near = nearest[:, :k]
        weight = np.maximum.reduce(near, axis=1, keepdims=True) - near
        weight += 0.05 * np.maximum.reduce(weight, axis=1, keepdims=True) + 1e-6
        weight /= np.add.reduce(weight, axis=1, keepdims=True)
        indices.append(order[:, :k])
        weights.append(weight)
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

    Examples
    --------
    >>> import numpy as np
    >>> centres = np.array([[0.0], [4.0]], np.float32)
    >>> cluster_of(np.array([[1.0], [3.0]], np.float32), centres, squared_norms(centres))
    array([0, 1])
    """
    return np.asarray((squares - 2.0 * (queries @ centres.T)).argmin(axis=1), np.int64)


def squared_norms(rows: _Array) -> _Array:
    """Return the squared norm of each row.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        Vectors.

    Returns
    -------
    ndarray of shape (n,)
        float32.
    """
    return np.asarray(np.einsum("nd,nd->n", rows, rows), np.float32)


def widened(halves: NDArray[np.float16]) -> _Array:
    """Return finite half-precision numbers in single precision, exactly.

    numpy converts them one by one where it was built without the processor's instruction;
    moving the bits of all of them at once is several times faster.

    Parameters
    ----------
    halves : ndarray
        Finite and contiguous.

    Returns
    -------
    ndarray
        float32, of the same shape.

    Examples
    --------
    >>> import numpy as np
    >>> widened(np.array([1.5, -0.25], np.float16))
    array([ 1.5 , -0.25], dtype=float32)
    """
    bits = halves.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= _SIGN_AND_MAGNITUDE
    singles = bits.view(np.float32)
    singles *= _REBIAS
    return singles


def within(values: _Floats, low: float, high: float | _Floats) -> _Floats:
    """Return values moved into a range, as `numpy.clip` does, which takes four times as long.

    Parameters
    ----------
    values : ndarray
        Any numbers.
    low : float
        Lower end.
    high : float or ndarray
        Upper end.

    Returns
    -------
    ndarray
        Of the same shape.

    Examples
    --------
    >>> import numpy as np
    >>> within(np.array([-1.0, 0.25, 7.0]), 0.0, 1.0)
    array([0.  , 0.25, 1.  ])
    """
    return np.asarray(np.minimum(np.maximum(values, low), high))


def probabilities(log_odds: _Floats) -> _Floats:
    """Return the probabilities of log-odds, by a function that cannot overflow.

    Parameters
    ----------
    log_odds : ndarray
        Any numbers.

    Returns
    -------
    ndarray
        Of the same shape, in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> probabilities(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    found = np.tanh(log_odds * 0.5)
    found *= 0.5
    found += 0.5
    return found
