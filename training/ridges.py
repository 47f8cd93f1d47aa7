"""Ridge regressions of all targets on some of the feature blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse

from router.training.blocks import TrainingBlocks

__all__ = ["VIEWS", "FittedRidge", "LinearWeights", "Ridges", "Sketch"]

_Array = NDArray[np.float32]
_Index = NDArray[np.int64]

VIEWS = ("ngrams", "dense", "mixed")

_PENALTIES = (0.7, 4.0, 24.0, 150.0)
_DUAL_LIMIT = 6000
_SKETCH_COLUMNS = 2048
_SKETCH_COLUMNS_LARGE = 4096
_LARGE = 20_000
_PRIMAL_ROWS = 4096
_BIAS = 1.0


@dataclass(frozen=True, slots=True)
class LinearWeights:
    """A head that is linear in the blocks: ``dense @ dense_weights + ngrams @ ngram_weights``."""

    dense: _Array
    ngrams: _Array | None
    intercept: _Array


@dataclass(frozen=True, slots=True)
class Sketch:
    """The n-grams of the training prompts in fewer columns, and the way back.

    Each column is added to one of the sketch's, or taken from it, at random (Charikar, Chen and
    Farach-Colton, "Finding frequent items in data streams", 2002).
    """

    matrix: sparse.csr_matrix
    rows: sparse.csr_matrix

    @classmethod
    def of(cls, blocks: TrainingBlocks, seed: int) -> Sketch | None:
        """Sketch the n-grams of many prompts; those of few are taken as they are."""
        if len(blocks) <= _DUAL_LIMIT:
            return None
        n_columns = blocks.ngrams.shape[1]
        width = _SKETCH_COLUMNS_LARGE if len(blocks) > _LARGE else _SKETCH_COLUMNS
        rng = np.random.default_rng([seed, width])
        signs = rng.choice(np.array([-1.0, 1.0], np.float32), n_columns)
        columns = rng.integers(0, width, n_columns)
        matrix = sparse.csr_matrix(
            (signs, (np.arange(n_columns), columns)), shape=(n_columns, width)
        )
        return cls(matrix, (blocks.ngrams @ matrix).tocsr())


class Ridges:
    """Ridge regressions of all targets at once, on one choice of blocks.

    The view ``ngrams`` is the n-grams alone, ``dense`` embedding, statistics and waves, ``mixed``
    n-grams and waves: beside n-grams the linear dense blocks add more noise than they explain.

    Few prompts are solved in the dual with the exact n-gram kernel. Many are solved in the
    primal, with the n-grams sketched; weights are spread back over the n-gram columns, so that
    serving is the same in both cases.
    """

    def __init__(self, blocks: TrainingBlocks, view: str, sketch: Sketch | None) -> None:
        self.names = tuple(f"ridge_{view}_{penalty:g}" for penalty in _PENALTIES)
        self._blocks = blocks
        self._uses_ngrams = view != "dense"
        self._sketch = sketch if self._uses_ngrams else None
        n, width = blocks.dense.shape
        first = {"ngrams": width, "dense": 0, "mixed": blocks.scaled.shape[1]}[view]
        self._dense = slice(first, width)
        self.dual = self._sketch is None if self._uses_ngrams else n <= width
        self._kernel = self._all_kernels() if self.dual else None

    def _all_kernels(self) -> _Array:
        blocks = self._blocks
        kernel = np.full((len(blocks), len(blocks)), _BIAS, np.float32)
        dense = blocks.dense[:, self._dense]
        kernel += dense @ dense.T
        if self._uses_ngrams:
            kernel += (blocks.ngrams @ blocks.ngrams.T).toarray()
        return kernel

    def design(self, rows: _Index, basis: _Index) -> _Array:
        """Return what a solution is multiplied with.

        In the dual the kernel between `rows` and `basis`, in the primal the explicit features of
        `rows`.
        """
        if self._kernel is not None:
            return self._kernel[np.ix_(rows, basis)]
        bias = np.full((len(rows), 1), np.sqrt(_BIAS), np.float32)
        parts: list[_Array] = [bias, self._blocks.dense[rows, self._dense]]
        if self._sketch is not None:
            parts.append(self._sketch.rows[rows].toarray())
        return np.hstack(parts)

    def _equations(self, rows: _Index, centred: _Array) -> tuple[_Array, _Array]:
        """Return the system, without a penalty, and the right side of a regression.

        In the primal they are the normal equations, a bounded number of prompts at a time.
        """
        if self.dual:
            return self.design(rows, rows), centred
        system: _Array | None = None
        for start in range(0, len(rows), _PRIMAL_ROWS):
            part = slice(start, start + _PRIMAL_ROWS)
            design = self.design(rows[part], rows)
            gram, moment = design.T @ design, design.T @ centred[part]
            if system is None:
                system, right = gram, moment
            else:
                system += gram
                right += moment
        assert system is not None
        return system, right

    def fit(self, rows: _Index, targets: _Array) -> list[FittedRidge]:
        """Fit one regression for each penalty on some prompts."""
        mean = targets[rows].mean(axis=0)
        system, right = self._equations(rows, targets[rows] - mean)
        return [
            FittedRidge(self, rows, mean, solution)
            for solution in _solutions(system, right, _PENALTIES)
        ]

    def fit_held_out(
        self, rows: _Index, targets: _Array, fold: _Index, penalty: float
    ) -> tuple[FittedRidge, _Array]:
        """Fit on some prompts, and predict each of them without its own fold.

        Parameters
        ----------
        rows : ndarray of shape (n_rows,)
            Prompts to fit on.
        targets : ndarray of shape (n, n_targets)
            Targets of all training prompts; only those of `rows` are used.
        fold : ndarray of shape (n_rows,)
            Fold of each of `rows`.
        penalty : float
            Of the squared weights.

        Returns
        -------
        FittedRidge
            Fitted on all of `rows`.
        ndarray of shape (n_rows, n_targets)
            Held-out predictions; with one fold alone, the mean.
        """
        mean = targets[rows].mean(axis=0)
        centred = targets[rows] - mean
        folds = [np.flatnonzero(fold == f) for f in np.unique(fold)]
        unseen = np.zeros_like(centred)
        if self.dual:
            system, right = self._equations(rows, centred)
            for out in folds:
                kept = np.setdiff1d(np.arange(len(rows)), out)
                if kept.size:
                    own = system[np.ix_(kept, kept)]
                    (solution,) = _solutions(own, right[kept], (penalty,))
                    unseen[out] = system[np.ix_(out, kept)] @ solution
        else:
            # what a fold adds to the equations is taken off again: each is computed once
            parts = [self._equations(rows[out], centred[out]) for out in folds]
            system = np.sum([gram for gram, _ in parts], axis=0)
            right = np.sum([moment for _, moment in parts], axis=0)
            for out, (gram, moment) in zip(folds, parts, strict=True):
                (solution,) = _solutions(system - gram, right - moment, (penalty,))
                unseen[out] = self.product(rows[out], rows, solution)
        (solution,) = _solutions(system, right, (penalty,))
        return FittedRidge(self, rows, mean, solution), unseen + mean

    def product(self, rows: _Index, basis: _Index, solution: _Array) -> _Array:
        """Return what a solution over `basis` adds for `rows`, a bounded number at a time."""
        parts = [
            self.design(rows[start : start + _PRIMAL_ROWS], basis) @ solution
            for start in range(0, max(len(rows), 1), _PRIMAL_ROWS)
        ]
        return np.concatenate(parts)

    def weights(self, rows: _Index, solution: _Array, intercept: _Array) -> LinearWeights:
        """Turn a solution on `rows` into weights of the blocks."""
        blocks = self._blocks
        n_targets = solution.shape[1]
        dense = np.zeros((blocks.dense.shape[1], n_targets), np.float32)
        ngrams: _Array | None = None
        if self.dual:
            intercept = intercept + _BIAS * solution.sum(axis=0)
            dense[self._dense] = blocks.dense[rows, self._dense].T @ solution
            if self._uses_ngrams:
                ngrams = np.asarray(blocks.ngrams[rows].T @ solution, np.float32)
        else:
            intercept = intercept + np.sqrt(_BIAS) * solution[0]
            start = 1 + self._dense.stop - self._dense.start
            dense[self._dense] = solution[1:start]
            if self._sketch is not None:
                ngrams = np.asarray(self._sketch.matrix @ solution[start:], np.float32)
        return LinearWeights(dense, ngrams, intercept.astype(np.float32))


@dataclass(frozen=True, slots=True)
class FittedRidge:
    """One regression, as weights of the prompts or of the features."""

    view: Ridges
    rows: _Index
    mean: _Array
    solution: _Array

    def predict(self, rows: _Index) -> _Array:
        """Return the targets (n_rows, n_targets) that are expected of some prompts."""
        added = self.view.product(rows, self.rows, self.solution)
        return np.asarray(added + self.mean, np.float32)

    def export(self) -> LinearWeights:
        """Return the weights of the blocks."""
        return self.view.weights(self.rows, self.solution, self.mean)


def _solutions(system: _Array, right: _Array, penalties: Sequence[float]) -> Iterator[_Array]:
    """Solve the equations with each penalty; the system comes back as it was."""
    diagonal = np.diag_indices_from(system)
    unpenalised = system[diagonal].copy()
    for penalty in penalties:
        system[diagonal] = unpenalised + np.float32(penalty)
        factor = linalg.cho_factor(system, lower=True, check_finite=False)
        solution = linalg.cho_solve(factor, right, check_finite=False)
        system[diagonal] = unpenalised
        yield solution.astype(np.float32)
