"""How well the lengths of answers are predicted, model by model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LengthFit", "length_fits"]

_Floats = NDArray[np.float64]

_N_BINS = 10


@dataclass(frozen=True, slots=True)
class LengthFit:
    """Predicted and true completion tokens of one model.

    Attributes
    ----------
    model : str
        Its name.
    n_answers : int
        Answers of known length, over all seeds.
    median_tokens : float
        Median of the true lengths; NaN without any.
    half_within : float
        Factor within which half of the predictions are.
    total_ratio : float
        Predicted tokens of all answers together over the true ones.
    predicted, median, low, high : tuple of float
        For each of up to ten bins of equal counts by predicted length: its median prediction,
        and the median and the quartiles of the true lengths.
    """

    model: str
    n_answers: int
    median_tokens: float
    half_within: float
    total_ratio: float
    predicted: tuple[float, ...]
    median: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def length_fits(
    predicted: Sequence[_Floats], tokens: Sequence[_Floats], models: Sequence[str]
) -> tuple[LengthFit, ...]:
    """Compare predicted with true completion tokens, over all splits together.

    Parameters
    ----------
    predicted, tokens : sequence of ndarray of shape (n_test, n_models)
        Predicted and true completion tokens of each split's test prompts; the true ones are NaN
        where they are unknown.
    models : sequence of str
        Names of the models.

    Returns
    -------
    tuple of LengthFit
        One a model.

    Examples
    --------
    >>> fit, = length_fits([np.array([[10.0], [20.0]])], [np.array([[20.0], [10.0]])], ["small"])
    >>> fit.half_within, fit.total_ratio
    (2.0, 1.0)
    """
    expected, true = np.concatenate(predicted), np.concatenate(tokens)
    return tuple(_fit(name, expected[:, j], true[:, j]) for j, name in enumerate(models))


def _fit(name: str, expected: _Floats, true: _Floats) -> LengthFit:
    known = np.isfinite(true) & (true > 0) & (expected > 0)
    expected, true = expected[known], true[known]
    if not len(true):
        return LengthFit(name, 0, math.nan, math.nan, math.nan, (), (), (), ())
    order = np.argsort(expected, kind="stable")
    bins = [part for part in np.array_split(order, _N_BINS) if len(part)]
    quartiles = np.array([np.quantile(true[part], (0.25, 0.5, 0.75)) for part in bins])
    return LengthFit(
        model=name,
        n_answers=len(true),
        median_tokens=float(np.median(true)),
        half_within=round(float(np.exp(np.median(np.abs(np.log(expected / true))))), 12),
        total_ratio=float(expected.sum() / true.sum()),
        predicted=tuple(float(np.median(expected[part])) for part in bins),
        median=tuple(quartiles[:, 1].tolist()),
        low=tuple(quartiles[:, 0].tolist()),
        high=tuple(quartiles[:, 2].tolist()),
    )
