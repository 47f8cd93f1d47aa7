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
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from router.scoring import cluster_of, neighbour_weights, squared_norms
from router.training.blocks import TrainingBlocks
from router.training.guides import GUIDE_VIEW, Guides
from router.training.ridges import VIEWS, LinearWeights, Ridges, Sketch
from router.training.tree_head import Trees
from router.trees import TreeEnsemble

__all__ = [
    "FAMILIES",
    "ClusterTable",
    "FittedHead",
    "HeadBank",
    "NeighbourTable",
]

_Array = NDArray[np.float32]
_Index = NDArray[np.int64]

FAMILIES = (*(f"ridge_{view}" for view in VIEWS), "neighbours", "clusters", "trees")
_NEIGHBOURS = (30, 120)
_MAX_BANK = 2048
_CHUNK_ROWS = 1024
_CLUSTER_SHRINKAGE = 10.0


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
    groups : ndarray of shape (n,), optional
        Prompts of one group are alike: what guides the trees is learned without a prompt's whole
        group. Each prompt is a group of its own where absent.
    guided : bool
        Whether the trees read guides.
    """

    def __init__(
        self,
        blocks: TrainingBlocks,
        *,
        seed: int = 0,
        families: Collection[str] = FAMILIES,
        groups: NDArray[np.integer] | None = None,
        guided: bool = True,
    ) -> None:
        self.scaled: _Array = blocks.scaled
        sketch = Sketch.of(blocks, seed)
        ridges = {
            view: Ridges(blocks, view, sketch)
            for view in VIEWS
            if f"ridge_{view}" in families
            or (view == GUIDE_VIEW and guided and "trees" in families)
        }
        self._families: list[_Family] = [
            ridges[view] for view in VIEWS if f"ridge_{view}" in families
        ]
        if "neighbours" in families:
            self._families.append(_Neighbours(blocks, seed))
        if "clusters" in families:
            self._families.append(_Clusters(blocks, seed))
        if "trees" in families:
            groups = np.arange(len(blocks)) if groups is None else np.asarray(groups)
            source = Guides(ridges[GUIDE_VIEW], groups, seed) if guided else None
            self._families.append(Trees(blocks.inputs, seed, source))

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
