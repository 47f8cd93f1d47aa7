"""Score what a method decided against the truth, and average frontiers over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.eval import metrics
from router.eval.frontier import energy_at_quality, operating_points
from router.eval.protocol import QUALITY_BARS, Outcome

__all__ = ["Score", "Truth", "average_frontier", "score"]

_Floats = NDArray[np.float64]

_CURVE_POINTS = 61


@dataclass(frozen=True, slots=True)
class Truth:
    """What happened on the test prompts of one split.

    Attributes
    ----------
    quality : ndarray of shape (n_test, n_models)
        True quality.
    energy_j : ndarray of shape (n_test, n_models)
        True energy in joules.
    completion_tokens : ndarray of shape (n_test, n_models)
        True lengths in tokens, NaN where unknown.
    reference : int
        Column of the reference model.
    zero_points : ndarray of shape (n_points, 2)
        Mean energy in joules and mean quality of the zero router's models.
    """

    quality: _Floats
    energy_j: _Floats
    completion_tokens: _Floats
    reference: int
    zero_points: _Floats

    @property
    def model_points(self) -> _Floats:
        """Mean energy in joules and mean quality of every model, of shape (n_models, 2)."""
        return np.stack([self.energy_j.mean(axis=0), self.quality.mean(axis=0)], axis=1)

    @property
    def reference_point(self) -> _Floats:
        """Mean energy in joules and mean quality of the reference model."""
        return np.asarray(self.model_points[self.reference])


@dataclass(frozen=True, slots=True)
class Score:
    """Figures of one method on one split.

    Attributes
    ----------
    figures : dict of str to float
        The protocol's figures and the method's own; NaN where one does not apply.
    points : ndarray of shape (n_points, 2)
        Mean energy and mean quality of the settings and of the reference model, both
        relative to the reference model's.
    """

    figures: dict[str, float]
    points: _Floats


def score(outcome: Outcome, truth: Truth, seed: int) -> Score:
    """Compute the protocol's figures of one outcome.

    Parameters
    ----------
    outcome : Outcome
        What a method decided.
    truth : Truth
        The same test prompts.
    seed : int
        Seed of the simulated calibration floor.

    Returns
    -------
    Score
        Its figures and its relative frontier.

    Raises
    ------
    ValueError
        If the outcome does not fit the test prompts and models.
    """
    points = _points(outcome, truth)
    reference = truth.reference_point
    figures = {"log_energy_ratio": metrics.log_energy_ratio(points, truth.zero_points, reference)}
    energies_j = metrics.energies_at_bars(points, reference)
    for bar, energy_j in zip(QUALITY_BARS, energies_j, strict=True):
        share = energy_j / reference[0] if reference[0] > 0 else np.nan
        figures[f"energy_at_{bar:.2f}"] = float(share)
    figures["peak_quality"] = metrics.peak_quality(points, reference)
    figures.update(dict.fromkeys(("auc", "brier", "ece", "ece_floor", "length_error"), np.nan))
    if outcome.quality is not None:
        predicted = _checked(outcome.quality, truth, "quality")
        figures["auc"] = metrics.auc(predicted, truth.quality)
        figures["brier"] = metrics.brier(predicted, truth.quality)
        figures["ece"] = metrics.ece(predicted, truth.quality)
        figures["ece_floor"] = metrics.ece_floor(predicted, seed)
    if outcome.energy_j is not None:
        _checked(outcome.energy_j, truth, "energy_j")
    if outcome.completion_tokens is not None:
        tokens = _checked(outcome.completion_tokens, truth, "completion_tokens")
        figures["length_error"] = metrics.length_error(tokens, truth.completion_tokens)
    figures.update({name: float(value) for name, value in outcome.figures.items()})
    if not reference.all():
        relative = np.full((len(points) + 1, 2), np.nan)
    else:
        relative = np.vstack([points, reference]) / reference
    return Score(figures, relative)


def average_frontier(points: Sequence[_Floats]) -> _Floats:
    """Average frontiers over seeds: mean energy at each of a range of qualities.

    Parameters
    ----------
    points : sequence of ndarray of shape (n_points, 2)
        Energy and quality of each seed's settings, relative to the reference model.

    Returns
    -------
    ndarray of shape (n, 2)
        Energy and quality along the mean upper hull, as far up as every seed's hull goes;
        empty if no seed has a frontier.
    """
    known = [seed for seed in points if np.isfinite(seed).all()]
    if not known:
        return np.empty((0, 2))
    cheapest = [seed[np.lexsort((-seed[:, 1], seed[:, 0]))[0], 1] for seed in known]
    low, high = float(np.mean(cheapest)), min(float(seed[:, 1].max()) for seed in known)
    qualities = np.linspace(min(low, high), high, _CURVE_POINTS)
    energies = [[energy_at_quality(seed, quality) for quality in qualities] for seed in known]
    return np.stack([np.mean(energies, axis=0), qualities], axis=1)


def _points(outcome: Outcome, truth: Truth) -> _Floats:
    n_test, n_models = truth.quality.shape
    if outcome.choices is not None:
        choices = outcome.choices
        if choices.ndim != 2 or choices.shape[1] != n_test or not len(choices):
            raise ValueError(f"choices must have shape (n_settings, {n_test}), got {choices.shape}")
        if choices.size and not (choices.min() >= 0 and choices.max() < n_models):
            raise ValueError(f"choices must be columns from 0 to {n_models - 1}")
        return operating_points(choices, truth.quality, truth.energy_j)
    if outcome.shares is None:
        raise ValueError("an outcome needs choices or shares")
    shares = outcome.shares
    if shares.ndim != 2 or shares.shape[1] != n_models or not len(shares):
        raise ValueError(f"shares must have shape (n_settings, {n_models}), got {shares.shape}")
    if not (np.allclose(shares.sum(axis=1), 1) and (shares >= 0).all()):
        raise ValueError("each row of shares must be at least 0 and sum to 1")
    return np.asarray(shares @ truth.model_points)


def _checked(values: _Floats, truth: Truth, name: str) -> _Floats:
    if values.shape != truth.quality.shape:
        raise ValueError(f"{name} must have shape {truth.quality.shape}, got {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError(f"{name} has values that are not finite")
    return values.astype(np.float64)
