"""Stacking of candidate heads into qualities.

The candidates' out-of-fold predictions are rotated into directions of the answer matrix: the
first is about how hard a prompt is for everybody, later ones about what sets models apart. In each
direction a non-negative combination of the candidates is fitted (Breiman, "Stacked
regressions", 1996) and shrunken by its own evidence, so that directions in which nothing can be
predicted vanish: reduced-rank regression with a soft rank. A link, linear or logistic, leads
from the directions to each model's probability of a good answer.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

__all__ = ["FittedStack", "Stack", "combine", "fit_stack", "stack_variants"]

_Array = NDArray[np.float64]

_EVIDENCE = 4.0
_LOGISTIC_C = 0.3
_MAX_DIRECTIONS = 16


@dataclass(frozen=True, slots=True)
class Stack:
    """One way of stacking.

    Attributes
    ----------
    extra : bool
        Whether the models outside the pool take part in the directions.
    rank : int
        Number of directions.
    link : {"linear", "logistic"}
        From directions to probabilities.
    """

    extra: bool
    rank: int
    link: str

    @property
    def name(self) -> str:
        """A short name such as ``extra-4-logistic``."""
        return f"{'extra' if self.extra else 'pool'}-{self.rank}-{self.link}"


@dataclass(frozen=True, slots=True)
class FittedStack:
    """A fitted stack.

    Attributes
    ----------
    stack : Stack
        The way of stacking.
    mean : ndarray of shape (n_targets,)
        Means of the quality targets.
    directions : ndarray of shape (n_targets, rank)
        Orthonormal directions.
    weights : ndarray of shape (n_candidates, rank)
        Non-negative weights of the candidates in each direction.
    coefficients : ndarray of shape (rank, n_models)
        From directions to the models of the pool.
    intercept : ndarray of shape (n_models,)
        Intercepts; in log-odds where the link is logistic.
    """

    stack: Stack
    mean: _Array
    directions: _Array
    weights: _Array
    coefficients: _Array
    intercept: _Array

    def latent(self, candidates: NDArray[np.float32]) -> _Array:
        """Combine candidate predictions of shape (n_candidates, n, n_all) into (n, rank)."""
        used = candidates[:, :, : self.mean.size]
        projected = (used - self.mean) @ self.directions
        return np.asarray(np.einsum("cnk,ck->nk", projected, self.weights))

    def quality(self, latent: _Array) -> _Array:
        """Return the qualities of shape (n, n_models) that belong to latents (n, rank)."""
        value = latent @ self.coefficients + self.intercept
        if self.stack.link == "logistic":
            return np.asarray(1.0 / (1.0 + np.exp(-np.clip(value, -30.0, 30.0))))
        return np.clip(value, 0.0, 1.0)


def stack_variants(n_models: int, n_extra: int) -> tuple[Stack, ...]:
    """Return the ways of stacking that are tried for a pool."""
    full = min(n_models, _MAX_DIRECTIONS)
    shapes = [(False, full)]
    if n_extra:
        shapes += [(True, rank) for rank in (4, 8) if rank <= n_models + n_extra]
    return tuple(
        Stack(extra, rank, link) for extra, rank in shapes for link in ("linear", "logistic")
    )


def fit_stack(
    stack: Stack,
    targets: _Array,
    observed: NDArray[np.bool_],
    candidates: NDArray[np.float32],
    n_models: int,
    *,
    copies: int = 1,
    evidence: bool = True,
) -> FittedStack:
    """Fit a stack on out-of-fold predictions.

    Parameters
    ----------
    stack : Stack
        The way of stacking.
    targets : ndarray of shape (n, n_all)
        Qualities, the models of the pool first, without NaN.
    observed : ndarray of shape (n, n_all)
        Which of them were measured.
    candidates : ndarray of shape (n_candidates, n, n_all)
        Out-of-fold predictions.
    n_models : int
        Number of models in the pool.
    copies : int
        How often each prompt is in the rows, with predictions of other folds.
    evidence : bool
        Whether each direction is shrunken by its evidence.

    Returns
    -------
    FittedStack
        Ready to predict.
    """
    width = targets.shape[1] if stack.extra else n_models
    y = targets[:, :width]
    mean = y.mean(axis=0)
    centred = y - mean
    predictions = candidates[:, :, :width] - mean
    directions = _directions(centred, predictions, min(stack.rank, width))
    truth = centred @ directions
    projected = predictions @ directions
    weights = np.stack(
        [
            combine(truth[:, k], projected[:, :, k].T, copies, evidence=evidence)
            for k in range(directions.shape[1])
        ],
        axis=1,
    )
    latent = np.einsum("cnk,ck->nk", projected, weights)
    if stack.link == "logistic":
        coefficients, intercept = _logistic(
            latent, targets[:, :n_models], observed[:, :n_models], copies
        )
    else:
        coefficients, intercept = directions[:n_models].T.copy(), mean[:n_models].copy()
    return FittedStack(stack, mean, directions, weights, coefficients, intercept)


def _directions(centred: _Array, predictions: _Array, rank: int) -> _Array:
    """Leading directions of the covariance between answers and the best candidate."""
    errors = [float(((p - centred) ** 2).mean()) for p in predictions]
    best = predictions[int(np.argmin(errors))]
    covariance = centred.T @ best
    _, vectors = np.linalg.eigh(covariance + covariance.T)
    leading = vectors[:, ::-1][:, :rank]
    # A fixed sign makes two runs comparable.
    signs = np.sign(leading[np.abs(leading).argmax(axis=0), np.arange(leading.shape[1])])
    return np.asarray(leading * np.where(signs == 0, 1.0, signs))


def combine(truth: _Array, columns: _Array, copies: int = 1, *, evidence: bool = True) -> _Array:
    """Fit non-negative weights of (n, n_candidates) columns, shrunken by their evidence.

    The factor is the positive-part James-Stein one: fitted energy less noise, over fitted energy.
    """
    weights, _ = nnls(columns, truth)
    fitted = columns @ weights
    energy = float(fitted @ fitted)
    if energy <= 0.0:
        return np.zeros_like(weights)
    if not evidence:
        return np.asarray(weights)
    noise = float(((truth - fitted) ** 2).mean())
    return np.asarray(weights * max(0.0, 1.0 - copies * _EVIDENCE * noise / energy))


def _logistic(
    latent: _Array, quality: _Array, observed: NDArray[np.bool_], copies: int
) -> tuple[_Array, _Array]:
    """Logistic regressions from latents to the quality of each model."""
    deviation = latent.std(axis=0)
    alive = deviation > 1e-9
    scaled = latent[:, alive] / deviation[alive]
    coefficients = np.zeros((latent.shape[1], quality.shape[1]))
    intercept = np.zeros(quality.shape[1])
    for j in range(quality.shape[1]):
        rows = observed[:, j]
        y = np.clip(quality[rows, j], 0.0, 1.0)
        mean = float(np.clip(y.mean(), 1e-4, 1 - 1e-4)) if len(y) else 0.5
        if not alive.any() or len(y) < 2 or y.std() < 1e-9:
            intercept[j] = np.log(mean / (1.0 - mean))
            continue
        # A graded answer counts as a right one and a wrong one, in proportion.
        design = np.vstack([scaled[rows], scaled[rows]])
        label = np.repeat([1, 0], len(y))
        weight = np.concatenate([y, 1.0 - y]) / copies
        keep = weight > 0
        model = LogisticRegression(C=_LOGISTIC_C, max_iter=500)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(design[keep], label[keep], sample_weight=weight[keep])
        coefficients[alive, j] = model.coef_[0] / deviation[alive]
        intercept[j] = model.intercept_[0]
    return coefficients, intercept
