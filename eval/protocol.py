"""The benchmark protocol: splits, true energy, and what a method sees and returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from router.dial import PoolMeans
from router.errors import ConfigError, DataError
from router.eval.gaps import mean_outcomes
from router.eval.matrix import AnswerMatrix, Prompt
from router.features import Features
from router.messages import prompt_text
from router.pool import Pool

__all__ = [
    "QUALITY_BARS",
    "SERVED_BARS",
    "BenchmarkSplit",
    "Method",
    "Outcome",
    "feature_rows",
    "reference_model",
    "split_prompts",
    "true_energy",
]

QUALITY_BARS = (0.90, 0.95, 0.98, 1.00)
"""Shares of the reference model's mean quality that the headline averages over."""

SERVED_BARS = tuple(percent / 100 for percent in range(80, 101))
"""Shares of the reference model's mean quality at which served traffic is described."""

_TRAIN_SHARE = 0.7
_FALLBACK_COMPLETION_TOKENS = 300.0
_CHARACTERS_PER_TOKEN = 4.0


def split_prompts(groups: ArrayLike, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split prompts into training and test, never through a group.

    Groups, numbered in the order of their first prompt, are shuffled with
    ``numpy.random.default_rng(seed)``. The first 70 % of the prompts in that order are the
    training split; the group that lies across that border belongs to it too, unless nothing
    were left to test on.

    Parameters
    ----------
    groups : array-like of shape (n_prompts,)
        Group of each prompt, as in `AnswerMatrix.groups`. Only equality matters.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    train_index, test_index : ndarray
        Positions of the prompts of each part, ascending.

    Raises
    ------
    DataError
        If there are fewer than two groups.

    Examples
    --------
    >>> train, test = split_prompts([0, 0, 1, 2, 3, 4, 5, 6, 7, 8], seed=0)
    >>> len(train), len(test)
    (7, 3)
    """
    labels = np.asarray(groups)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    n_groups = len(first)
    if n_groups < 2:
        raise DataError(
            f"{len(labels)} prompts have {n_groups} distinct texts: a split needs at least two"
        )
    order = np.argsort(first)[np.random.default_rng(seed).permutation(n_groups)]
    place = np.empty(n_groups, np.intp)
    place[order] = np.arange(n_groups)
    places = place[inverse.reshape(-1)]
    filled = np.cumsum(np.bincount(places, minlength=n_groups))
    n_train_groups = int(np.searchsorted(filled, round(_TRAIN_SHARE * len(labels)))) + 1
    in_train = places < min(n_train_groups, n_groups - 1)
    return np.flatnonzero(in_train), np.flatnonzero(~in_train)


def true_energy(
    matrix: AnswerMatrix, pool: Pool, expected_tokens: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Energy that every model of the pool spent on every prompt.

    Measured energy wins. Elsewhere it is prompt tokens times joules per prompt token plus
    completion tokens times joules per completion token. Unknown completion tokens count as
    `expected_tokens`, else as the model's `assumed_completion_tokens`, else as its median in
    `matrix`, else as 300; unknown prompt tokens as a quarter of the prompt's characters.

    Parameters
    ----------
    matrix : AnswerMatrix
        All prompts of the runs, because the medians are taken over them.
    pool : Pool
        The candidates; `matrix` must have a column of each.
    expected_tokens : ndarray of shape (n_prompts, n_models), optional
        Completion tokens that a trained router expects of the pool's models, in the pool's order.
        A constant for every prompt would change which model is the cheap one.

    Returns
    -------
    ndarray of shape (n_prompts, n_models)
        Joules, with one column for each model of the pool in its order. Cells that were
        never run have a number too, and it means nothing.

    Raises
    ------
    KeyError
        If `matrix` lacks a model of the pool.
    """
    cells = matrix.columns(pool.names)
    prompt_tokens = cells.prompt_tokens
    unknown = np.isnan(prompt_tokens)
    if unknown.any():
        rows = np.flatnonzero(unknown.any(axis=1))
        lengths = np.zeros(len(cells))
        lengths[rows] = [len(prompt_text(cells.prompts[row]).text) for row in rows]
        estimate = np.maximum(1.0, np.rint(lengths / _CHARACTERS_PER_TOKEN))
        prompt_tokens = np.where(unknown, estimate[:, None], prompt_tokens)
    completion_tokens = cells.completion_tokens.copy()
    if expected_tokens is not None:
        gaps = np.isnan(completion_tokens)
        completion_tokens[gaps] = expected_tokens[gaps]
    for column, model in zip(completion_tokens.T, pool.models, strict=True):
        unknown = np.isnan(column)
        fallback = model.assumed_completion_tokens
        if fallback is None:
            fallback = (
                _FALLBACK_COMPLETION_TOKENS if unknown.all() else float(np.median(column[~unknown]))
            )
        column[unknown] = fallback
    energy_j = pool.joules(prompt_tokens, completion_tokens)
    return np.where(np.isnan(cells.energy_j), energy_j, cells.energy_j)


def reference_model(quality: NDArray[np.float64], energy_j: NDArray[np.float64]) -> int:
    """Return the column of the best mean quality, of equally good ones the least energy.

    Parameters
    ----------
    quality, energy_j : ndarray of shape (n_prompts, n_models)
        Outcomes on the training split; quality is NaN where a model was not run.

    Returns
    -------
    int
        Column of the reference model.

    Examples
    --------
    >>> reference_model(np.array([[1.0, 1.0, 0.0]]), np.array([[9.0, 5.0, 1.0]]))
    1
    """
    means = mean_outcomes(quality, energy_j)
    return int(np.lexsort((np.array(means.energy_j), -np.array(means.quality)))[0])


def feature_rows(features: Features, index: ArrayLike) -> Features:
    """Return the features of the prompts at `index`.

    Parameters
    ----------
    features : Features
        Features of n prompts.
    index : array-like of int
        Rows wanted, in this order.

    Returns
    -------
    Features
        One row for each entry of `index`.
    """
    rows = np.asarray(index, np.intp)
    starts, counts = features.indptr[rows], np.diff(features.indptr)[rows]
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    entries = np.repeat(starts - indptr[:-1], counts) + np.arange(indptr[-1])
    return Features(
        dense=features.dense[rows],
        profile=features.profile[rows],
        indptr=indptr,
        indices=features.indices[entries],
        values=features.values[entries],
        n_columns=features.n_columns,
        n_embedding=features.n_embedding,
    )


@dataclass(frozen=True, slots=True)
class BenchmarkSplit:
    """All that a method may look at in one split; outcomes on test prompts are not in it.

    Attributes
    ----------
    seed : int
        Seed of the split, and of whatever a method draws at random.
    train : AnswerMatrix
        The training prompts with the outcomes of the pool's models, in the pool's order.
    extra : AnswerMatrix or None
        The same prompts with the outcomes of models outside the pool; cells may be missing.
    test_prompts : tuple of Prompt
        The ``n_test`` test prompts.
    test_ids : tuple of str
        Their ids.
    test_tasks : tuple of str
        Their task labels, for the baselines that are told the true task.
    train_features, test_features : Features
        Features of the training and the test prompts.
    train_energy_j : ndarray of shape (n_train, n_models)
        True energy in joules.
    test_energy_j : ndarray of shape (n_test, n_models), optional
        The energy in joules that the router predicts; None until it has.
    """

    seed: int
    train: AnswerMatrix
    extra: AnswerMatrix | None
    test_prompts: tuple[Prompt, ...]
    test_ids: tuple[str, ...]
    test_tasks: tuple[str, ...]
    train_features: Features
    test_features: Features
    train_energy_j: NDArray[np.float64]
    test_energy_j: NDArray[np.float64] | None = None

    @property
    def reference(self) -> int:
        """Column of the reference model."""
        return reference_model(self.train.quality, self.train_energy_j)

    @property
    def means(self) -> PoolMeans:
        """Mean quality and energy of each model on the training prompts."""
        return mean_outcomes(self.train.quality, self.train_energy_j)

    @property
    def predicted_energy_j(self) -> NDArray[np.float64]:
        """The router's predicted energy in joules, for methods that run after it.

        Raises
        ------
        ConfigError
            If no router has predicted it.
        """
        if self.test_energy_j is None:
            raise ConfigError("test_energy_j is not set: run the method that predicts energy first")
        return self.test_energy_j


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a method decided on the test prompts of one split.

    A method gives either `choices`, or `shares` if its choice does not depend on the prompt.

    Attributes
    ----------
    choices : ndarray of shape (n_settings, n_test), optional
        Column of the model that each setting of the dial chooses for each prompt, from the
        cheapest setting to the best quality.
    quality : ndarray of shape (n_test, n_models), optional
        Predicted quality.
    energy_j : ndarray of shape (n_test, n_models), optional
        Predicted energy in joules.
    figures : mapping of str to float
        Further figures of this run, such as ``train_s``.
    completion_tokens : ndarray of shape (n_test, n_models), optional
        Predicted completion tokens.
    shares : ndarray of shape (n_settings, n_models), optional
        Share of all prompts that each setting sends to each model; a row sums to 1.
    served : ndarray of shape (len(SERVED_BARS), n_test), optional
        Column of the model that a stored router would choose at each of the `SERVED_BARS`, by
        the one setting that training found for it.
    """

    choices: NDArray[np.integer] | None = None
    quality: NDArray[np.float64] | None = None
    energy_j: NDArray[np.float64] | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    completion_tokens: NDArray[np.float64] | None = None
    shares: NDArray[np.float64] | None = None
    served: NDArray[np.integer] | None = None


class Method(Protocol):
    """Something that can be benchmarked: the router or a baseline."""

    @property
    def name(self) -> str:
        """Name in reports."""

    def run(self, split: BenchmarkSplit) -> Outcome:
        """Learn from the training prompts and decide for the test prompts."""
