"""Folds of cross-validation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["assign_folds"]


def assign_folds(groups: NDArray[np.integer], n_folds: int, seed: int) -> NDArray[np.int64]:
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
