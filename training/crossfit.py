"""Cross-fitting: predictions of every candidate for prompts that it has not seen.

With folds alone, a stack fitted on out-of-fold predictions of some prompts would still be judged
too well on the others, because each prompt's answers went into the predictions of the rest.
So the candidates are also fitted without each *pair* of folds: for every outer fold that gives
out-of-fold predictions of all other prompts that do not depend on it, and a stack fitted on those
is judged on the outer fold without favour (nested cross-validation).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from router.training.backend import map_shared
from router.training.heads import HeadBank

__all__ = ["CrossFit", "assign_folds", "cross_fit"]

_Array = NDArray[np.float32]
_Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CrossFit:
    """Candidate predictions for prompts that the candidates did not see.

    Attributes
    ----------
    fold : ndarray of shape (n,)
        Fold of each prompt.
    outer : ndarray of shape (n_candidates, n, n_targets)
        Predictions by candidates fitted on all other folds.
    inner : tuple of ndarray of shape (n_candidates, n, n_targets)
        For each fold f: predictions of the prompts outside f by candidates that saw neither
        f nor the prompt's own fold. Rows of f itself hold the outer predictions.
    """

    fold: _Index
    outer: _Array
    inner: tuple[_Array, ...]


def assign_folds(groups: NDArray[np.integer], n_folds: int, seed: int) -> _Index:
    """Assign prompts to folds of about equal size; a group stays together.

    Parameters
    ----------
    groups : ndarray of shape (n,)
        Group of each prompt.
    n_folds : int
        Number of folds.
    seed : int
        Seed of the shuffle.

    Returns
    -------
    ndarray of shape (n,)
        Fold numbers.
    """
    _, member = np.unique(groups, return_inverse=True)
    n_groups = int(member.max()) + 1
    shuffled = np.random.default_rng(seed).permutation(n_groups)
    return (shuffled % n_folds)[member].astype(np.int64)


def cross_fit(
    bank: HeadBank, targets: _Array, fold: _Index, *, nested: bool, n_jobs: int = 2
) -> CrossFit:
    """Cross-fit all candidates, on the backend of :func:`router.training.backend.use_backend`.

    Parameters
    ----------
    bank : HeadBank
        The candidates.
    targets : ndarray of shape (n, n_targets)
        Targets without NaN.
    fold : ndarray of shape (n,)
        Fold of each prompt.
    nested : bool
        Whether to fit without each pair of folds too; otherwise `inner` repeats `outer`.
    n_jobs : int
        Fits at a time. Each uses one thread of linear algebra: two fits side by side are
        faster than one on two threads. With Ray the backend says how many.

    Returns
    -------
    CrossFit
        Predictions for unseen prompts.
    """
    n_folds = int(fold.max()) + 1
    left_out: list[tuple[int, ...]] = [(f,) for f in range(n_folds)]
    if nested:
        left_out += list(combinations(range(n_folds), 2))
    results = map_shared(
        _fit_without, (bank, targets, fold), [(out,) for out in left_out], n_jobs=n_jobs
    )
    shape = (len(bank.names), *targets.shape)
    outer = np.empty(shape, np.float32)
    for (f,), (predicted,) in zip(left_out[:n_folds], results[:n_folds], strict=True):
        outer[:, fold == f] = predicted
    if not nested:
        return CrossFit(fold, outer, (outer,) * n_folds)
    inner = tuple(outer.copy() for _ in range(n_folds))
    for (f, g), (of_f, of_g) in zip(left_out[n_folds:], results[n_folds:], strict=True):
        inner[g][:, fold == f] = of_f
        inner[f][:, fold == g] = of_g
    return CrossFit(fold, outer, inner)


def _fit_without(
    bank: HeadBank, targets: _Array, fold: _Index, left_out: tuple[int, ...]
) -> list[_Array]:
    """Fit without some folds and predict each of them."""
    rows = np.arange(len(targets))
    kept = rows[~np.isin(fold, left_out)]
    return bank.fit_predict(kept, targets, [rows[fold == f] for f in left_out])
