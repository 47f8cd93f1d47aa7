"""Choosing the prompts that are most worth grading.

Every other prompt is chosen so that, once it is graded, the expected qualities of all prompts are
least uncertain in the mean (Cohn, "Neural network exploration using optimal experiment design",
1996; for Gaussian processes Seo et al., "Gaussian process regression: active data selection and
test point rejection", IJCNN 2000). The process is the one that adds a model to a router: the
router's latents, as far as its models differ in them, and similarity of the features. So kinds of
prompts are covered, common ones first, and within them the prompts on which models part ways.
Without a router the features alone decide.

The others are drawn at random. What is chosen for what it tells is extreme, and a fit to extremes
is off for the bulk of the prompts wherever its assumptions are not quite right (Bach, "Active
learning for misspecified generalized linear models", NIPS 2006).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from threadpoolctl import threadpool_limits

from router.artifact import Artifact
from router.errors import ConfigError, DataError
from router.eval.protocol import feature_rows
from router.features import Features
from router.training.blocks import fit_scaler
from router.training.heads import TrainingBlocks
from router.training.ladder import LINEAR_SPREAD, LOGISTIC_SPREAD, ladder_prior

__all__ = ["MAX_CANDIDATES", "Selection", "select_prompts"]

_Array = NDArray[np.float32]
_Floats = NDArray[np.float64]

MAX_CANDIDATES = 4_000
"""Prompts among which the choice is made; of more, a sample of that many."""

_NOISE = 4.0
_NGRAMS = 0.5
_DENSE = 0.3
_ABILITY_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class Selection:
    """The prompts that were chosen.

    Attributes
    ----------
    index : ndarray of shape (n,)
        Their positions among the candidates: the most informative one first, then one that is
        drawn at random, then the most informative one beside these, and so on.
    uncertainty : ndarray of shape (n,)
        Mean variance of the expected qualities that is left once this prompt and those before it
        are graded, relative to nothing graded.
    """

    index: NDArray[np.int64]
    uncertainty: _Floats


def select_prompts(
    features: Features,
    n: int,
    *,
    artifact: Artifact | None = None,
    groups: ArrayLike | None = None,
    graded: ArrayLike | None = None,
    seed: int = 0,
) -> Selection:
    """Choose the prompts that are most worth grading.

    Parameters
    ----------
    features : Features
        Features of the candidates.
    n : int
        How many to choose.
    artifact : Artifact, optional
        The router that a model is to be added to; features alone where absent.
    groups : array-like of shape (n_candidates,), optional
        Group of each candidate; one of each is enough.
    graded : array-like of shape (n_candidates,), optional
        Which candidates are graded already; they are taken into account and not chosen.
    seed : int
        Seed of what is drawn at random: every other prompt, and the candidates themselves where
        there are more than 4,000.

    Returns
    -------
    Selection
        The same for the same input.

    Raises
    ------
    ConfigError
        If `n` is less than 1.
    DataError
        If there are fewer than `n` distinct candidates that are not graded.
    """
    if n < 1:
        raise ConfigError(f"n is {n!r}: choose at least one prompt")
    done = np.zeros(len(features), bool) if graded is None else np.asarray(graded, bool)
    labels = np.arange(len(features)) if groups is None else np.asarray(groups)
    rows = _candidates(labels, done, n, seed)
    free = len(rows) - int(done[rows].sum())
    if free < n:
        raise DataError(
            f"{free} distinct prompts to choose from, {n} are asked for: ask for fewer, or give "
            "more prompts"
        )
    with threadpool_limits(1):
        covariance = _covariance(feature_rows(features, rows), artifact)
        luck = np.random.default_rng([seed, 1]).permutation(len(rows))
        chosen, left = _alternate(covariance, n, done[rows], luck)
    return Selection(rows[chosen].astype(np.int64), left)


def _candidates(
    labels: NDArray[np.generic], done: NDArray[np.bool_], n: int, seed: int
) -> NDArray[np.intp]:
    """One prompt of each group, a graded one where there is one; a sample of too many."""
    order = np.argsort(~done, kind="stable")
    _, first = np.unique(labels[order], return_index=True)
    rows = np.sort(order[first])
    if len(rows) <= MAX_CANDIDATES:
        return rows
    fixed, open_ = rows[done[rows]], rows[~done[rows]]
    most = max(MAX_CANDIDATES - len(fixed), n)
    rng = np.random.default_rng(seed)
    return np.sort(np.concatenate([fixed, rng.choice(open_, min(most, len(open_)), replace=False)]))


def _covariance(features: Features, artifact: Artifact | None) -> _Array:
    """Covariance of log-odds of a good answer over prompts, before anything is graded."""
    scaler = fit_scaler(features) if artifact is None else artifact.model.scaler
    blocks = TrainingBlocks.build(scaler, features)
    covariance = _DENSE * _scaled(blocks.dense @ blocks.dense.T)
    covariance += _NGRAMS * _scaled((blocks.ngrams @ blocks.ngrams.T).toarray())
    covariance += 1.0
    if artifact is None:
        return covariance
    model = artifact.model
    latent = model.latent(features)
    pool_quality = model.score(features, np.ones(len(features))).quality.mean(axis=0)
    for link in model.links:
        read = latent[:, link.columns]
        prior = ladder_prior(link, read, pool_quality, float(pool_quality.mean()))
        moment = prior.covariance + _ABILITY_SHARE * np.outer(prior.mean, prior.mean)
        centred = read - read.mean(axis=0)
        scale = link.weight / (LOGISTIC_SPREAD if link.logistic else LINEAR_SPREAD)
        covariance += (scale * (centred @ moment @ centred.T)).astype(np.float32)
    return covariance


def _scaled(kernel: _Array) -> _Array:
    """Bring the mean diagonal to 1."""
    mean = float(np.trace(kernel)) / len(kernel)
    return (kernel / max(mean, 1e-12)).astype(np.float32)


def _alternate(
    covariance: _Array, n: int, graded: NDArray[np.bool_], luck: NDArray[np.int64]
) -> tuple[NDArray[np.int64], _Floats]:
    """Condition on the graded prompts, then on n more: the one that helps most and the next drawn.

    `luck` is the order in which prompts are drawn.
    """
    before = float(np.trace(covariance))
    for j in np.flatnonzero(graded):
        _condition(covariance, int(j))
    free = ~graded
    chosen, left = np.empty(n, np.int64), np.empty(n)
    for i in range(n):
        if i % 2:
            chosen[i] = luck[free[luck].argmax()]
        else:
            explained = np.einsum("ij,ij->j", covariance, covariance)
            helped = explained / (np.diag(covariance) + _NOISE)
            chosen[i] = np.where(free, helped, -1.0).argmax()
        free[chosen[i]] = False
        _condition(covariance, int(chosen[i]))
        left[i] = float(np.trace(covariance)) / before
    return chosen, left


def _condition(covariance: _Array, j: int) -> None:
    """Take away, in place, what a grade of prompt j explains."""
    column = covariance[:, j].copy()
    covariance -= np.outer(column / (column[j] + _NOISE), column)
