"""Reliability: how often answers were good where that probability was predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ReliabilityCurve", "reliability_curves"]

_Floats = NDArray[np.float64]

_N_BINS = 15
_RIGHT_FROM = 0.5
_Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class ReliabilityCurve:
    """Predicted and observed shares of good answers of one model.

    Attributes
    ----------
    model : str
        Its name.
    predicted : tuple of float
        Mean predicted probability of each bin, ascending.
    observed : tuple of float
        Share of good answers in each bin.
    low, high : tuple of float
        Wilson's 95 % interval of each share (Wilson, "Probable inference", 1927).
    count : tuple of int
        Answers in each bin.
    """

    model: str
    predicted: tuple[float, ...]
    observed: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    count: tuple[int, ...]


def reliability_curves(
    predicted: Sequence[_Floats], quality: Sequence[_Floats], models: Sequence[str]
) -> tuple[ReliabilityCurve, ...]:
    """Return the reliability of each model's probabilities, over all splits together.

    Parameters
    ----------
    predicted, quality : sequence of ndarray of shape (n_test, n_models)
        Predicted probability and true quality of each split's test prompts. A quality of one
        half or more is a good answer.
    models : sequence of str
        Names of the models.

    Returns
    -------
    tuple of ReliabilityCurve
        One a model, with up to 15 bins of equal counts. A prompt that is in several test splits
        counts in each, so that the intervals are a little too narrow.

    Examples
    --------
    >>> import numpy as np
    >>> curve, = reliability_curves([np.full((40, 1), 0.5)], [np.eye(40)[:, :1]], ["small"])
    >>> curve.predicted, curve.observed
    ((0.5,), (0.025,))
    """
    expected = np.concatenate(predicted)
    right = np.concatenate(quality) >= _RIGHT_FROM
    return tuple(_curve(name, expected[:, j], right[:, j]) for j, name in enumerate(models))


def _curve(name: str, predicted: _Floats, right: NDArray[np.bool_]) -> ReliabilityCurve:
    order = np.argsort(predicted, kind="stable")
    ascending = predicted[order]
    # equal predictions stay in one bin
    first_equal = np.searchsorted(ascending, ascending, side="left")
    starts = np.flatnonzero(np.diff(first_equal * _N_BINS // len(ascending), prepend=-1))
    count = np.diff(np.append(starts, len(ascending)))
    mean = np.add.reduceat(ascending, starts) / count
    share = np.add.reduceat(right[order].astype(np.float64), starts) / count
    centre, half = _wilson(share, count)
    return ReliabilityCurve(
        name,
        tuple(mean.tolist()),
        tuple(share.tolist()),
        tuple((centre - half).tolist()),
        tuple((centre + half).tolist()),
        tuple(count.tolist()),
    )


def _wilson(share: _Floats, count: NDArray[np.integer]) -> tuple[_Floats, _Floats]:
    z2 = _Z95**2
    centre = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = np.sqrt(share * (1 - share) / count + z2 / (4 * count**2)) * _Z95 / (1 + z2 / count)
    return centre, half
