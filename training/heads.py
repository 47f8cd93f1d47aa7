"""Candidate heads: simple learners from one prompt's features to many targets.

All candidates predict all targets (the quality of every model, the logarithm of every answer
length), and stacking rotates what they predict. Ridge candidates collapse into one weight matrix
for serving; leaves and clusters keep what they add to the latents.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from router.blocks import BlockScaler
from router.features import Features
from router.scoring import cluster_of, neighbour_weights, squared_norms
from router.training.blocks import ngram_matrix
from router.training.tree_head import Trees
from router.trees import TreeEnsemble, tree_inputs

__all__ = [
    "FAMILIES",
    "ClusterTable",
    "FittedHead",
    "HeadBank",
    "LinearWeights",
    "NeighbourTable",
    "TrainingBlocks",
]

_Array = NDArray[np.float32]
_Index = NDArray[np.int64]

_VIEWS = ("ngrams", "dense", "mixed")
FAMILIES = (*(f"ridge_{view}" for view in _VIEWS), "neighbours", "clusters", "trees")
_PENALTIES = (0.7, 4.0, 24.0, 150.0)
_NEIGHBOURS = (30, 120)
_MAX_BANK = 2048
_DUAL_LIMIT = 6000
_SKETCH_COLUMNS = 2048
_SKETCH_COLUMNS_LARGE = 4096
_LARGE = 20_000
_PRIMAL_ROWS = 4096
_BIAS = 1.0
_CHUNK_ROWS = 1024
_CLUSTER_SHRINKAGE = 10.0


@dataclass(frozen=True, slots=True)
class LinearWeights:
    """A head that is linear in the blocks: ``dense @ dense_weights + ngrams @ ngram_weights``."""

    dense: _Array
    ngrams: _Array | None
    intercept: _Array


@dataclass(frozen=True, slots=True)
class NeighbourTable:
    """A head that averages the targets of the nearest prompts in a bank."""

    neighbours: int
    rows: _Index
    values: _Array


@dataclass(frozen=True, slots=True)
class ClusterTable:
    """A head that answers with the shrunken mean of the prompt's cluster."""

    centres: _Array
    values: _Array


FittedHead = LinearWeights | NeighbourTable | ClusterTable | TreeEnsemble


@dataclass(frozen=True, slots=True)
class TrainingBlocks:
    """The feature blocks of the training prompts.

    Attributes
    ----------
    dense : ndarray of shape (n, n_dense)
        Embedding, statistics and waves, as :meth:`router.blocks.BlockScaler.dense` returns them.
    scaled : ndarray of shape (n, n_features)
        Embedding and statistics: the space of neighbours and clusters.
    ngrams : sparse matrix of shape (n, n_columns)
        The weighted n-gram block.
    inputs : ndarray of shape (n, n_inputs)
        What trees read, as :func:`router.trees.tree_inputs` returns it.
    """

    dense: _Array
    scaled: _Array
    ngrams: sparse.csr_matrix
    inputs: _Array

    @classmethod
    def build(cls, scaler: BlockScaler, features: Features) -> TrainingBlocks:
        """Transform the features of the training prompts."""
        return cls(
            dense=scaler.dense(features),
            scaled=scaler.scaled(features),
            ngrams=ngram_matrix(scaler, features),
            inputs=tree_inputs(features),
        )

    def __len__(self) -> int:
        return len(self.dense)


class _Fitted(Protocol):
    def predict(self, rows: _Index) -> _Array: ...

    def export(self) -> FittedHead: ...


class _Family(Protocol):
    """Candidates that share work: one fit gives one fitted head for each name."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def fit(self, rows: _Index, targets: _Array) -> Sequence[_Fitted]: ...


class HeadBank:
    """The candidate heads over shared training blocks.

    Parameters
    ----------
    blocks : TrainingBlocks
        Blocks of all training prompts.
    seed : int
        Seed of the k-means starts, the neighbour bank, the sketch and the trees.
    families : collection of str
        Which families of candidates take part, of :data:`FAMILIES`.
    """

    def __init__(
        self, blocks: TrainingBlocks, *, seed: int = 0, families: Collection[str] = FAMILIES
    ) -> None:
        self.scaled: _Array = blocks.scaled
        sketch = _Sketch.of(blocks, seed) if len(blocks) > _DUAL_LIMIT else None
        self._families: list[_Family] = [
            _Ridges(blocks, view, sketch) for view in _VIEWS if f"ridge_{view}" in families
        ]
        if "neighbours" in families:
            self._families.append(_Neighbours(blocks, seed))
        if "clusters" in families:
            self._families.append(_Clusters(blocks, seed))
        if "trees" in families:
            self._families.append(Trees(blocks.inputs, seed))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the candidates."""
        return tuple(name for family in self._families for name in family.names)

    def fit_predict(self, rows: _Index, targets: _Array, others: Sequence[_Index]) -> list[_Array]:
        """Fit all candidates on some prompts and predict others.

        Parameters
        ----------
        rows : ndarray of shape (n_rows,)
            Prompts to fit on.
        targets : ndarray of shape (n, n_targets)
            Targets of all training prompts, without NaN; only those of `rows` are used.
        others : sequence of ndarray
            Sets of prompts to predict.

        Returns
        -------
        list of ndarray of shape (n_candidates, n_others, n_targets)
            Predictions of each set.
        """
        fitted = [head for family in self._families for head in family.fit(rows, targets)]
        return [np.stack([head.predict(other) for head in fitted]) for other in others]

    def fit_final(self, targets: _Array) -> list[FittedHead]:
        """Fit all candidates on all prompts, ready to export."""
        rows = np.arange(len(targets))
        return [head.export() for family in self._families for head in family.fit(rows, targets)]


@dataclass(frozen=True, slots=True)
class _Sketch:
    """The n-grams of the training prompts in fewer columns, and the way back.

    Each column is added to one of the sketch's, or taken from it, at random (Charikar, Chen and
    Farach-Colton, "Finding frequent items in data streams", 2002).
    """

    matrix: sparse.csr_matrix
    rows: sparse.csr_matrix

    @classmethod
    def of(cls, blocks: TrainingBlocks, seed: int) -> _Sketch:
        n_columns = blocks.ngrams.shape[1]
        width = _SKETCH_COLUMNS_LARGE if len(blocks) > _LARGE else _SKETCH_COLUMNS
        rng = np.random.default_rng([seed, width])
        signs = rng.choice(np.array([-1.0, 1.0], np.float32), n_columns)
        columns = rng.integers(0, width, n_columns)
        matrix = sparse.csr_matrix(
            (signs, (np.arange(n_columns), columns)), shape=(n_columns, width)
        )
        return cls(matrix, (blocks.ngrams @ matrix).tocsr())


class _Ridges:
    """Ridge regressions of all targets at once, on one choice of blocks.

    The view ``ngrams`` is the n-grams alone, ``dense`` embedding, statistics and waves, ``mixed``
    n-grams and waves: beside n-grams the linear dense blocks add more noise than they explain.

    Few prompts are solved in the dual with the exact n-gram kernel. Many are solved in the
    primal, with the n-grams sketched; weights are spread back over the n-gram columns, so that
    serving is the same in both cases.
    """

    def __init__(self, blocks: TrainingBlocks, view: str, sketch: _Sketch | None) -> None:
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

    def _normal_equations(self, rows: _Index, centred: _Array) -> tuple[_Array, _Array]:
        """Gram matrix and right side in the primal, a bounded number of prompts at a time."""
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

    def fit(self, rows: _Index, targets: _Array) -> list[_Fitted]:
        y = targets[rows]
        mean = y.mean(axis=0)
        if self.dual:
            system, right = self.design(rows, rows), y - mean
        else:
            system, right = self._normal_equations(rows, y - mean)
        diagonal = np.diag_indices_from(system)
        unpenalised = system[diagonal].copy()
        fitted: list[_Fitted] = []
        for penalty in _PENALTIES:
            system[diagonal] = unpenalised + np.float32(penalty)
            factor = linalg.cho_factor(system, lower=True, check_finite=False)
            solution = linalg.cho_solve(factor, right, check_finite=False)
            fitted.append(_FittedRidge(self, rows, mean, solution.astype(np.float32)))
        return fitted

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
class _FittedRidge:
    view: _Ridges
    rows: _Index
    mean: _Array
    solution: _Array

    def predict(self, rows: _Index) -> _Array:
        parts = [
            self.view.design(rows[start : start + _PRIMAL_ROWS], self.rows) @ self.solution
            for start in range(0, max(len(rows), 1), _PRIMAL_ROWS)
        ]
        return np.asarray(np.concatenate(parts) + self.mean, np.float32)

    def export(self) -> FittedHead:
        return self.view.weights(self.rows, self.solution, self.mean)


@dataclass(frozen=True, slots=True)
class _Neighbours:
    """Similarity-weighted means of the nearest prompts in a bank of bounded size."""

    blocks: TrainingBlocks
    seed: int
    names: tuple[str, ...] = tuple(f"neighbours_{k}" for k in _NEIGHBOURS)

    def fit(self, rows: _Index, targets: _Array) -> list[_Fitted]:
        if len(rows) > _MAX_BANK:
            rng = np.random.default_rng(self.seed)
            rows = np.sort(rng.choice(rows, _MAX_BANK, replace=False))
        return [_FittedNeighbours(self.blocks, k, rows, targets[rows]) for k in _NEIGHBOURS]


@dataclass(frozen=True, slots=True)
class _FittedNeighbours:
    blocks: TrainingBlocks
    neighbours: int
    rows: _Index
    values: _Array

    def predict(self, rows: _Index) -> _Array:
        k = min(self.neighbours, len(self.rows))
        bank = self.blocks.scaled[self.rows]
        squares = squared_norms(bank)
        out = np.empty((len(rows), self.values.shape[1]), np.float32)
        for start in range(0, len(rows), _CHUNK_ROWS):
            part = rows[start : start + _CHUNK_ROWS]
            (index,), (weight,) = neighbour_weights(self.blocks.scaled[part], bank, (k,), squares)
            out[start : start + len(part)] = (weight[:, None, :] @ self.values[index])[:, 0]
        return out

    def export(self) -> FittedHead:
        return NeighbourTable(self.neighbours, self.rows, self.values)


@dataclass(frozen=True, slots=True)
class _Clusters:
    """Mean of the prompt's k-means cluster, shrunken to the overall mean by its size."""

    blocks: TrainingBlocks
    seed: int
    names: tuple[str, ...] = ("clusters",)

    def fit(self, rows: _Index, targets: _Array) -> list[_Fitted]:
        scaled = self.blocks.scaled
        sample = scaled[rows[:: -(-len(rows) // _MAX_BANK)]]
        n_distinct = len(np.unique(sample, axis=0))
        n_clusters = min(int(np.clip(len(rows) // 40, 2, 64)), n_distinct)
        model = KMeans(n_clusters, n_init=2, max_iter=50, random_state=self.seed)
        # Several threads would add up in any order: the centres would differ from run to run.
        with threadpool_limits(1, user_api="openmp"):
            centres = model.fit(sample).cluster_centers_.astype(np.float32)
        member = cluster_of(scaled[rows], centres, squared_norms(centres))
        y = targets[rows]
        count = np.bincount(member, minlength=n_clusters)[:, None]
        total = np.zeros((n_clusters, y.shape[1]), np.float32)
        np.add.at(total, member, y)
        values = (total + _CLUSTER_SHRINKAGE * y.mean(axis=0)) / (count + _CLUSTER_SHRINKAGE)
        return [_FittedClusters(self.blocks, centres, values.astype(np.float32))]


@dataclass(frozen=True, slots=True)
class _FittedClusters:
    blocks: TrainingBlocks
    centres: _Array
    values: _Array

    def predict(self, rows: _Index) -> _Array:
        squares = squared_norms(self.centres)
        return self.values[cluster_of(self.blocks.scaled[rows], self.centres, squares)]

    def export(self) -> FittedHead:
        return ClusterTable(self.centres, self.values)
