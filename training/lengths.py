"""The length head: completion tokens of every model, on the log scale, with quantiles."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.training.stacking import combine

__all__ = ["FittedLengths", "fit_lengths"]

_Array = NDArray[np.float64]

_QUANTILES = (0.1, 0.9)
_ITERATIONS = 30
_MAX_SLOPE = 1.5
_MAX_SURPRISE = 3.0
_MIN_ANSWERS = 20


@dataclass(frozen=True, slots=True)
class FittedLengths:
    """A fitted length head.

    Attributes
    ----------
    mean : ndarray of shape (n_targets,)
        Mean of each log target.
    weights : ndarray of shape (n_candidates, n_targets)
        Non-negative weights of the candidates.
    factor : ndarray of shape (n_models,)
        From the exponential of a log length to the mean length.
    limit : ndarray of shape (n_models,)
        Longest answer seen, in tokens.
    low, high : ndarray of shape (n_models,)
        10 % and 90 % quantiles of actual over expected tokens, out of fold.
    """

    mean: _Array
    weights: _Array
    factor: _Array
    limit: _Array
    low: _Array
    high: _Array

    def log_lengths(self, candidates: NDArray[np.float32]) -> _Array:
        """Combine candidates (n_candidates, n, n_targets) into (n, n_targets)."""
        centred = candidates - self.mean
        return np.asarray(np.einsum("cnk,ck->nk", centred, self.weights)) + self.mean

    def tokens(self, log_lengths: _Array) -> _Array:
        """Return expected completion tokens of shape (n, n_models)."""
        n_models = self.factor.size
        return np.clip(np.exp(log_lengths[:, :n_models]) * self.factor, 1.0, self.limit)


def fit_lengths(
    log_tokens: _Array,
    log_prompt_ratio: _Array,
    candidates: NDArray[np.float32],
    *,
    ran: NDArray[np.bool_] | None = None,
    copies: int = 1,
    by_prompt: bool = True,
) -> FittedLengths:
    """Fit the length head on out-of-fold predictions.

    Parameters
    ----------
    log_tokens : ndarray of shape (n, n_models)
        Logarithm of completion tokens.
    log_prompt_ratio : ndarray of shape (n,)
        Logarithm of prompt tokens per character.
    candidates : ndarray of shape (n_candidates, n, n_models + 1)
        Out-of-fold predictions of both.
    ran : ndarray of shape (n, n_models), optional
        Which lengths are of answers. Filled gaps vary too little and are predicted too well, so
        that answers alone decide the weights, where there are 20, the mean lengths, the quantiles
        and the longest answer. All where absent.
    copies : int
        How often each prompt is in the rows, with predictions of other folds.
    by_prompt : bool
        Whether lengths depend on the prompt; each model's mean otherwise.

    Returns
    -------
    FittedLengths
        Ready to predict.
    """
    truth = np.hstack([log_tokens, log_prompt_ratio[:, None]])
    mean = truth.mean(axis=0)
    rows = np.ones(log_tokens.shape, bool) if ran is None else ran
    # a handful of answers would fit any candidates
    weighed = rows | (rows.sum(axis=0) < _MIN_ANSWERS * copies)
    weighed = np.hstack([weighed, np.ones((len(truth), 1), bool)])
    weights = np.stack(
        [
            combine(
                truth[index, k] - mean[k],
                (candidates[:, index, k] - mean[k]).T.astype(np.float64),
                copies,
            )
            for k, index in enumerate(weighed.T)
        ],
        axis=1,
    )
    if not by_prompt:
        weights = np.zeros_like(weights)
    expected = np.einsum("cnk,ck->nk", candidates - mean, weights) + mean
    # Energy needs the mean of a skewed length. One factor for all prompts gives it only where
    # every length is equally uncertain; a slope beside it also holds where long ones are more so.
    slope, factor = np.ones(mean.size), np.ones(mean.size - 1)
    for j, index in enumerate(rows.T):
        movement = expected[index, j] - mean[j]
        slope[j], factor[j] = _mean_length(log_tokens[index, j], movement, mean[j])
    weights = weights * slope
    expected = (expected - mean) * slope + mean
    surprise = np.exp((truth - expected)[:, :-1]) / factor
    low, high = np.array(
        [np.quantile(surprise[index, j], _QUANTILES) for j, index in enumerate(rows.T)]
    ).T
    return FittedLengths(
        mean=mean,
        weights=weights,
        factor=factor,
        limit=np.exp([log_tokens[index, j].max() for j, index in enumerate(rows.T)]),
        low=np.minimum(low, 1.0),
        high=np.maximum(high, 1.0),
    )


def _mean_length(log_tokens: _Array, movement: _Array, mean: float) -> tuple[float, float]:
    """Slope and factor with which ``exp(mean + slope * movement) * factor`` is the mean length.

    Poisson regression with a log link by iterated least squares: for any lengths it estimates
    the mean, and its predictions add up to what was seen (Gourieroux, Monfort and Trognon,
    "Pseudo maximum likelihood methods: applications to Poisson models", Econometrica 1984).
    """
    # a runaway answer says little about the next one, and alone could carry the whole mean
    scaled = np.exp(np.minimum(log_tokens - mean, movement + _MAX_SURPRISE))
    slope, offset = 1.0, 0.0
    for _ in range(_ITERATIONS):
        offset = float(np.log(scaled.mean() / np.exp(slope * movement).mean()))
        fitted = np.exp(offset + slope * movement)
        centred = movement - np.average(movement, weights=fitted)
        spread = float(fitted @ centred**2)
        if spread <= 1e-12:
            break
        step = float((scaled - fitted) @ centred) / spread
        slope = float(np.clip(slope + np.clip(step, -0.5, 0.5), 0.0, _MAX_SLOPE))
    offset = float(np.log(scaled.mean() / np.exp(slope * movement).mean()))
    return slope, float(np.exp(offset))
