"""What a few graded prompts say of one more model, given the latents of a trained router.

A quantity of the new model (the value of a link, the logarithm of its answers' lengths) is taken
to be linear in the router's latents, plus a part of its own that is linear in the features. With
Gaussian priors on all weights this is a Gaussian process with a linear kernel: there are only as
many unknowns as graded prompts, and the weights follow from them. The prior of the latents'
weights comes from the models that the router knows; how far the new model strays from it is
averaged over a grid by marginal likelihood (Rasmussen and Williams, "Gaussian Processes for
Machine Learning", 2006, chapters 2, 3 and 5).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from router.training.heads import TrainingBlocks

__all__ = ["Column", "ColumnPrior", "GradedBlocks", "fit_linear_column", "fit_logistic_column"]

_Floats = NDArray[np.float64]

_STRAY = (0.3, 1.0, 3.0)
_NGRAMS = (0.0, 0.3, 1.0, 3.0)
_DENSE = (0.0, 0.3, 1.0)
_NOISE = (0.2, 0.4, 0.7, 1.0)
_CONTROL = 0.3
_COMMON_CONTROL = 1.0
_LEAST_SHARE = 0.02
_MODERATION = np.pi / 8.0
_NEWTON_STEPS = 40
_LEAST_STEP = 1e-3
_TOLERANCE = 1e-5
_LEAST_CURVATURE = 1e-6
_MAX_LOG_ODDS = 30.0


@dataclass(frozen=True, slots=True)
class ColumnPrior:
    """What is believed before any answer of the new model was graded.

    Attributes
    ----------
    base : float
        Value at the mean latents of the graded prompts.
    spread : float
        Variance of that value, and the scale of the part of the model's own.
    mean : ndarray of shape (n_latents,)
        Expected weights of the latents.
    covariance : ndarray of shape (n_latents, n_latents)
        Covariance of the weights.
    """

    base: float
    spread: float
    mean: _Floats
    covariance: _Floats


@dataclass(frozen=True, slots=True)
class GradedBlocks:
    """Feature blocks of the n graded prompts with their kernels, each of mean diagonal 1.

    Attributes
    ----------
    dense : ndarray of shape (n, n_dense)
        Embedding, statistics and waves.
    ngrams : sparse matrix of shape (n, n_columns)
        The weighted n-gram block.
    dense_scale, ngram_scale : float
        From inner products of rows to the kernels.
    dense_kernel, ngram_kernel : ndarray of shape (n, n)
        Similarity of the prompts in each block.
    control_kernel : ndarray of shape (n, n)
        Similarity in how much better than expected other models did on the prompts.
    """

    dense: _Floats
    ngrams: sparse.csr_matrix
    dense_scale: float
    ngram_scale: float
    dense_kernel: _Floats
    ngram_kernel: _Floats
    control_kernel: _Floats

    @classmethod
    def build(cls, blocks: TrainingBlocks, surprise: _Floats | None = None) -> GradedBlocks:
        """Take the kernels of n prompts.

        Parameters
        ----------
        blocks : TrainingBlocks
            Their features.
        surprise : ndarray of shape (n, n_others), optional
            Grades of other models less what the router expects of them. They stand for what is
            hard about a prompt and does not show in its features. As long as they take part, a
            fit is not misled by prompts that the router was trained on: there the latents, too,
            know the other models' answers.
        """
        dense = blocks.dense.astype(np.float64)
        dense_kernel = dense @ dense.T
        ngram_kernel = (blocks.ngrams @ blocks.ngrams.T).toarray().astype(np.float64)
        control = np.zeros_like(dense_kernel)
        if surprise is not None:
            centred = surprise - surprise.mean(axis=0)
            total = centred.sum(axis=1)
            control = _CONTROL * (centred @ centred.T) + _COMMON_CONTROL * np.outer(total, total)
        dense_scale, ngram_scale = _scale(dense_kernel), _scale(ngram_kernel)
        return cls(
            dense=dense,
            ngrams=blocks.ngrams,
            dense_scale=dense_scale,
            ngram_scale=ngram_scale,
            dense_kernel=dense_kernel * dense_scale,
            ngram_kernel=ngram_kernel * ngram_scale,
            control_kernel=control,
        )


@dataclass(frozen=True, slots=True)
class Column:
    """A fitted quantity of the new model.

    It is ``intercept + latent @ coefficients + dense @ dense_weights + ngrams @ ngram_weights``.

    Attributes
    ----------
    coefficients : ndarray of shape (n_latents,)
        Weights of the latents.
    intercept : float
        Intercept.
    dense_weights : ndarray of shape (n_dense,)
        Weights of the dense block.
    ngram_weights : ndarray of shape (n_columns,)
        Weights of the n-grams.
    unseen : ndarray of shape (n,)
        Value at each graded prompt by a fit without that prompt's own grade.
    deviation : float
        Posterior standard deviation of the expected outcome's mean over the graded prompts.
    """

    coefficients: _Floats
    intercept: float
    dense_weights: _Floats
    ngram_weights: _Floats
    unseen: _Floats
    deviation: float


@dataclass(frozen=True, slots=True)
class _Solution:
    """The posterior under one kernel: values are ``mean + kernel @ alpha``."""

    evidence: float
    alpha: _Floats
    unseen: _Floats
    variance: float
    unseen_variance: float


_Solver = Callable[[_Floats, _Floats], list[_Solution]]


def fit_linear_column(
    latent: _Floats, blocks: GradedBlocks, outcome: _Floats, prior: ColumnPrior
) -> Column:
    """Fit a quantity that is the expected outcome itself.

    Parameters
    ----------
    latent : ndarray of shape (n, n_latents)
        Latents of the graded prompts.
    blocks : GradedBlocks
        Their features.
    outcome : ndarray of shape (n,)
        What was observed, with noise.
    prior : ColumnPrior
        Belief before that.

    Returns
    -------
    Column
        Mean of the posterior.
    """
    variance = max(float(np.var(outcome)), 1e-6)

    def solve(kernel: _Floats, mean: _Floats) -> list[_Solution]:
        found = []
        residual, reach, n = outcome - mean, kernel.sum(axis=1), len(kernel)
        for noise in _NOISE:
            system = kernel + noise * variance * np.eye(n)
            factor = linalg.cholesky(system, lower=True, check_finite=False)
            inverse = linalg.cho_solve((factor, True), np.eye(n), check_finite=False)
            alpha = inverse @ residual
            own = np.diag(inverse)
            found.append(
                _Solution(
                    evidence=-0.5 * float(residual @ alpha) - _half_log_determinant(factor),
                    alpha=alpha,
                    unseen=outcome - alpha / own,
                    variance=float(reach.sum() - reach @ inverse @ reach) / n**2,
                    unseen_variance=float((1.0 / own).mean()) - noise * variance,
                )
            )
        return found

    return _fit(latent, blocks, prior, solve, moderated=False)


def fit_logistic_column(
    latent: _Floats, blocks: GradedBlocks, quality: _Floats, prior: ColumnPrior
) -> Column:
    """Fit log-odds of a good answer by Laplace's approximation.

    The column is moderated: its logistic function is about the expected quality under the
    posterior and not that at the mode (MacKay, "The evidence framework applied to classification
    networks", 1992), with one variance for all prompts.

    Parameters
    ----------
    latent : ndarray of shape (n, n_latents)
        Latents of the graded prompts.
    blocks : GradedBlocks
        Their features.
    quality : ndarray of shape (n,)
        Grades in [0, 1]; one in between counts as a right and a wrong answer in proportion.
    prior : ColumnPrior
        Belief before that, in log-odds.

    Returns
    -------
    Column
        Log-odds.
    """

    def solve(kernel: _Floats, mean: _Floats) -> list[_Solution]:
        alpha, objective = _mode(kernel, mean, quality)
        value = mean + kernel @ alpha
        probability, curvature = _logistic(value)
        factor, root = _newton_system(kernel, curvature)
        half = linalg.solve_triangular(factor, root[:, None] * kernel, lower=True)
        own = np.diag(kernel) - np.einsum("ij,ij->j", half, half)
        without = own / np.maximum(1.0 - own * curvature, _LEAST_STEP)
        variance = curvature @ kernel @ curvature - np.square(half @ curvature).sum()
        return [
            _Solution(
                evidence=objective - _half_log_determinant(factor),
                alpha=alpha,
                unseen=value - without * (quality - probability),
                variance=float(variance) / len(kernel) ** 2,
                unseen_variance=float(without.mean()),
            )
        ]

    return _fit(latent, blocks, prior, solve, moderated=True)


def _fit(
    latent: _Floats, blocks: GradedBlocks, prior: ColumnPrior, solve: _Solver, *, moderated: bool
) -> Column:
    """Solve for every point of the grid and average the solutions by their evidence."""
    centre = latent.mean(axis=0)
    centred = latent - centre
    mean = prior.base + centred @ prior.mean
    ladder = centred @ prior.covariance @ centred.T
    control = prior.spread * blocks.control_kernel
    grid = []
    for stray, ngrams, dense in product(_STRAY, _NGRAMS, _DENSE):
        own = 1.0 + ngrams * blocks.ngram_kernel + dense * blocks.dense_kernel
        kernel = stray * ladder + prior.spread * own + control
        grid += [(stray, ngrams, dense, solution) for solution in solve(kernel, mean)]
    evidence = np.array([solution.evidence for *_, solution in grid])
    shares = np.exp(evidence - evidence.max())
    shares[shares < _LEAST_SHARE] = 0.0
    shares /= shares.sum()

    n, n_latents = latent.shape
    coefficients, intercept, deviation = np.zeros(n_latents), 0.0, 0.0
    dense_alpha, ngram_alpha, unseen = np.zeros((3, n))
    for share, (stray, ngrams, dense, solution) in zip(shares.tolist(), grid, strict=True):
        if share == 0.0:
            continue
        alpha = solution.alpha
        surprise = control @ alpha
        deviation += share * float(np.sqrt(max(solution.variance, 0.0)))
        if moderated:
            hidden = solution.unseen_variance + float(surprise.var())
            share /= float(np.sqrt(1.0 + _MODERATION * hidden))
        weights = prior.mean + stray * (prior.covariance @ (centred.T @ alpha))
        level = prior.base + prior.spread * float(alpha.sum())
        coefficients += share * weights
        intercept += share * (level - float(centre @ weights))
        dense_alpha += share * dense * alpha
        ngram_alpha += share * ngrams * alpha
        unseen += share * (solution.unseen - surprise)
    return Column(
        coefficients=coefficients,
        intercept=intercept,
        dense_weights=prior.spread * blocks.dense_scale * (blocks.dense.T @ dense_alpha),
        ngram_weights=prior.spread * blocks.ngram_scale * np.asarray(blocks.ngrams.T @ ngram_alpha),
        unseen=unseen,
        deviation=deviation,
    )


def _mode(kernel: _Floats, mean: _Floats, quality: _Floats) -> tuple[_Floats, float]:
    """Newton's method with halved steps; the log posterior is concave."""
    alpha, value = np.zeros(len(mean)), mean
    objective = _log_likelihood(value, quality)
    for _ in range(_NEWTON_STEPS):
        probability, curvature = _logistic(value)
        factor, root = _newton_system(kernel, curvature)
        right = curvature * (value - mean) + quality - probability
        solved = linalg.cho_solve((factor, True), root * (kernel @ right), check_finite=False)
        direction = right - root * solved - alpha
        step, reached = 1.0, -np.inf
        while step >= _LEAST_STEP:
            trial = alpha + step * direction
            moved = kernel @ trial
            reached = -0.5 * float(trial @ moved) + _log_likelihood(mean + moved, quality)
            if reached >= objective:
                break
            step /= 2.0
        if reached < objective:
            break
        gain, objective = reached - objective, reached
        alpha, value = trial, mean + moved
        if gain < _TOLERANCE:
            break
    return alpha, objective


def _newton_system(kernel: _Floats, curvature: _Floats) -> tuple[_Floats, _Floats]:
    """Cholesky factor of ``I + W^1/2 K W^1/2``, and the roots of W."""
    root = np.sqrt(curvature)
    system = root[:, None] * kernel * root
    system[np.diag_indices_from(system)] += 1.0
    return linalg.cholesky(system, lower=True, check_finite=False), root


def _half_log_determinant(factor: _Floats) -> float:
    return float(np.log(np.diag(factor)).sum())


def _logistic(value: _Floats) -> tuple[_Floats, _Floats]:
    """Probabilities and the curvature of the log likelihood."""
    probability = 1.0 / (1.0 + np.exp(-np.clip(value, -_MAX_LOG_ODDS, _MAX_LOG_ODDS)))
    return probability, np.maximum(probability * (1.0 - probability), _LEAST_CURVATURE)


def _log_likelihood(value: _Floats, quality: _Floats) -> float:
    return float(np.sum(quality * value - np.logaddexp(0.0, value)))


def _scale(kernel: _Floats) -> float:
    """Return what brings the mean diagonal to 1; 0 for a block that is not in use."""
    mean = float(np.trace(kernel)) / len(kernel)
    return 1.0 / mean if mean > 1e-12 else 0.0
