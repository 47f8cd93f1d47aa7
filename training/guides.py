"""Guides of the trees: the directions in which a ridge regression tells prompts apart.

What a size means depends on the kind of prompt, and the kind is in the words: thousands of n-grams,
of which a tree can cut by one at a time. A ridge regression reads them all at once, and the few
directions in which its predictions differ most are inputs that a tree can cut by. As in stacked
generalisation (Wolpert 1992), trees grow on predictions for prompts that the regression has not
seen; otherwise they would trust it too much.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.training.folds import assign_folds
from router.training.ridges import FittedRidge, LinearWeights, Ridges

__all__ = ["GUIDE_VIEW", "FittedGuides", "Guides"]

_Array = NDArray[np.float32]
_Index = NDArray[np.int64]

GUIDE_VIEW = "mixed"
"""The view of the blocks that guides are learned from."""

_GUIDES = 2
_PENALTY = 1.0
_FOLDS = 4


@dataclass(frozen=True, slots=True)
class Guides:
    """Learns guides.

    Attributes
    ----------
    ridges : Ridges
        Regressions on the view :data:`GUIDE_VIEW`.
    groups : ndarray of shape (n,)
        Group of each training prompt; a group stays in one fold.
    seed : int
        Seed of the folds.
    """

    ridges: Ridges
    groups: NDArray[np.integer]
    seed: int

    def fit(self, rows: _Index, targets: _Array) -> FittedGuides:
        """Learn the guides on some prompts.

        Parameters
        ----------
        rows : ndarray of shape (n_rows,)
            Prompts to learn on.
        targets : ndarray of shape (n, n_targets)
            Targets of all training prompts; only those of `rows` are used.
        """
        fold = assign_folds(self.groups[rows], _FOLDS, self.seed)
        ridge, unseen = self.ridges.fit_held_out(rows, targets, fold, _PENALTY)
        deviation = targets[rows].std(axis=0, dtype=np.float64)
        deviation[deviation < 1e-6] = 1.0
        differences = (unseen - ridge.mean) / deviation
        _, directions = np.linalg.eigh(differences.T @ differences)
        projection = (directions[:, : -_GUIDES - 1 : -1] / deviation[:, None]).astype(np.float32)
        return FittedGuides(ridge, projection, (unseen - ridge.mean) @ projection)


@dataclass(frozen=True, slots=True)
class FittedGuides:
    """Guides that were learned.

    Attributes
    ----------
    ridge : FittedRidge
        The regression, on all prompts that it was learned on.
    projection : ndarray of shape (n_targets, n_guides)
        From its predictions to guides.
    unseen : ndarray of shape (n_rows, n_guides)
        Guides of the prompts that they were learned on, each without its own fold.
    """

    ridge: FittedRidge
    projection: _Array
    unseen: _Array

    def predict(self, rows: _Index) -> _Array:
        """Return the guides (n_rows, n_guides) of other training prompts."""
        differences = self.ridge.predict(rows) - self.ridge.mean
        return np.asarray(differences @ self.projection, np.float32)

    def export(self) -> LinearWeights:
        """Return the guides as weights of the blocks."""
        solution = self.ridge.solution @ self.projection
        none = np.zeros(self.projection.shape[1], np.float32)
        return self.ridge.view.weights(self.ridge.rows, solution, none)
