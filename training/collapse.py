"""Collapsing fitted heads, stacks and lengths into the arrays that serving scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.blocks import BlockScaler
from router.model import NeighbourHead, QualityLink, RouterModel
from router.recalibration import Recalibration
from router.training.heads import (
    ClusterTable,
    FittedHead,
    LinearWeights,
    NeighbourTable,
)
from router.training.lengths import FittedLengths
from router.training.stacking import FittedStack
from router.trees import TreeEnsemble

__all__ = ["collapse"]

_Array = NDArray[np.float32]
_Floats = NDArray[np.float64]

_MIN_SHARE = 1e-3


@dataclass(frozen=True, slots=True)
class _Rotation:
    """Latent k of a stack is the sum over candidates of ``weights[c, k] * (values - mean)``.

    Values are the candidate's targets in `columns`, rotated by `directions`.
    """

    columns: slice
    mean: _Floats
    directions: _Floats
    weights: _Floats

    def apply(self, candidate: int, values: _Array) -> _Floats:
        """Return what values (rows, n_targets) of a candidate contribute, without the mean."""
        rotated = values[:, self.columns] @ self.directions
        return np.asarray(rotated * self.weights[candidate])

    def offset(self) -> _Floats:
        """Return what the means take away, over all candidates."""
        return np.asarray(-(self.mean @ self.directions) * self.weights.sum(axis=0))


def collapse(
    heads: Sequence[FittedHead],
    stacks: Sequence[FittedStack],
    shares: dict[str, float],
    lengths: FittedLengths,
    scaler: BlockScaler,
    scaled: _Array,
    recalibration: Recalibration,
) -> RouterModel:
    """Fold everything that is linear into one weight matrix.

    Parameters
    ----------
    heads : sequence of FittedHead
        The candidates, fitted on all training prompts.
    stacks : sequence of FittedStack
        Stacks over them.
    shares : dict of str to float
        Share of each stack, by name; stacks below a thousandth are left out.
    lengths : FittedLengths
        The length head over the same candidates.
    scaler : BlockScaler
        The feature blocks.
    scaled : ndarray of shape (n, n_features)
        Scaled features of the training prompts, for the bank of neighbours.
    recalibration : Recalibration
        From expected quality to the probability of a good answer.

    Returns
    -------
    RouterModel
        Predicts what the stacks over the candidates predict.
    """
    kept = [stack for stack in stacks if shares[stack.stack.name] >= _MIN_SHARE]
    total = sum(shares[stack.stack.name] for stack in kept)
    rotations = [_Rotation(slice(0, s.mean.size), s.mean, s.directions, s.weights) for s in kept]
    n_lengths = lengths.mean.size
    rotations.append(
        _Rotation(slice(-n_lengths, None), lengths.mean, np.eye(n_lengths), lengths.weights)
    )

    def rotate(candidate: int, values: _Array) -> _Floats:
        return np.hstack([rotation.apply(candidate, values) for rotation in rotations])

    intercept = np.hstack([rotation.offset() for rotation in rotations])
    intercept[-n_lengths:] += lengths.mean
    dense = np.zeros((scaler.n_dense, intercept.size))
    ngrams = np.zeros((scaler.idf.size, intercept.size))
    looked_up: list[tuple[NeighbourTable, _Array]] = []
    centres = np.zeros((0, scaled.shape[1]), np.float32)
    cluster_values = np.zeros((0, intercept.size), np.float32)
    trees: TreeEnsemble | None = None
    for c, head in enumerate(heads):
        if not any(rotation.weights[c].any() for rotation in rotations):
            continue
        if isinstance(head, LinearWeights):
            dense += rotate(c, head.dense)
            intercept += rotate(c, head.intercept[None])[0]
            if head.ngrams is not None:
                ngrams += rotate(c, head.ngrams)
        elif isinstance(head, NeighbourTable):
            looked_up.append((head, rotate(c, head.values).astype(np.float32)))
        elif isinstance(head, ClusterTable):
            centres = head.centres
            cluster_values = rotate(c, head.values).astype(np.float32)
        else:
            trees = head.with_values(rotate(c, head.values), rotate(c, head.mean[None])[0])
    return RouterModel(
        scaler=scaler,
        dense_weights=dense.astype(np.float32),
        ngram_weights=ngrams.astype(np.float16),
        intercept=intercept.astype(np.float32),
        neighbours=_neighbours(looked_up, scaled),
        cluster_centres=centres,
        cluster_values=cluster_values,
        trees=trees,
        links=tuple(_links(kept, shares, total)),
        token_factor=lengths.factor,
        token_limit=lengths.limit,
        recalibration=recalibration,
    )


def _neighbours(
    looked_up: Sequence[tuple[NeighbourTable, _Array]], scaled: _Array
) -> NeighbourHead | None:
    """Put the look-ups together; all of them use one bank."""
    if not looked_up:
        return None
    return NeighbourHead.build(
        tuple(table.neighbours for table, _ in looked_up),
        scaled[looked_up[0][0].rows],
        tuple(values for _, values in looked_up),
    )


def _links(
    stacks: Sequence[FittedStack], shares: dict[str, float], total: float
) -> list[QualityLink]:
    links = []
    start = 0
    for stack in stacks:
        stop = start + stack.directions.shape[1]
        links.append(
            QualityLink(
                columns=slice(start, stop),
                coefficients=stack.coefficients,
                intercept=stack.intercept,
                logistic=stack.stack.link == "logistic",
                weight=shares[stack.stack.name] / total,
            )
        )
        start = stop
    return links
