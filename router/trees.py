"""Trees of a router: what the size of a prompt means, given its kind.

The ensembles are extremely randomised trees (Geurts, Ernst and Wehenkel, "Extremely randomized
trees", Machine Learning 2006), grown by :mod:`router.training.tree_head` and stored as plain
arrays. All trees go down one level at a time, so that a decision costs a few small array
operations for each level and none for each tree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.features import Features
from router.textprofile import PROFILE_NAMES

__all__ = ["LEAF_THRESHOLD", "TreeEnsemble", "n_inputs", "tree_inputs"]

_Array = NDArray[np.float32]

_EMBEDDING_COLUMNS = 16

LEAF_THRESHOLD: float = float(np.finfo(np.float32).max)
"""No input is above it: a prompt stays in the leaf that it came to."""


def tree_inputs(features: Features) -> _Array:
    """Return what the trees of a router read: statistics, profile and a few embedding columns.

    Parameters
    ----------
    features : Features
        Features of n prompts.

    Returns
    -------
    ndarray of shape (n, n_inputs)
        float32, not scaled: a tree looks at the order of values alone.
    """
    split = features.n_embedding
    return np.hstack(
        [
            features.dense[:, split:],
            features.profile,
            features.dense[:, : min(split, _EMBEDDING_COLUMNS)],
        ]
    )


def n_inputs(n_embedding: int, n_statistics: int) -> int:
    """Return the width of :func:`tree_inputs`."""
    return n_statistics + len(PROFILE_NAMES) + min(n_embedding, _EMBEDDING_COLUMNS)


@dataclass(frozen=True, slots=True)
class TreeEnsemble:
    """An ensemble of trees whose leaves hold contributions to the latents.

    Indices are as wide as numpy's own, which saves a conversion at every step; files hold them in
    32 bits.

    A prompt goes from a node to `left` where its input `column` is at most `threshold`, else to
    the node after `left`. A leaf leads to itself.

    Attributes
    ----------
    roots : ndarray of shape (n_trees,)
        Where each tree begins.
    column : ndarray of shape (n_nodes,)
        Column of the inputs that a node looks at.
    threshold : ndarray of shape (n_nodes,)
        What it is compared with; :data:`LEAF_THRESHOLD` in leaves.
    left : ndarray of shape (n_nodes,)
        Where small values go.
    row : ndarray of shape (n_nodes,)
        Row of `values` of a leaf; 0 elsewhere.
    values : ndarray of shape (n_leaves, n_latents)
        Contribution of each leaf; the trees are averaged.
    mean : ndarray of shape (n_latents,)
        Mean contribution to the training prompts.
    depth : int
        Steps from a root to the deepest leaf.
    """

    roots: NDArray[np.intp]
    column: NDArray[np.intp]
    threshold: _Array
    left: NDArray[np.intp]
    row: NDArray[np.intp]
    values: _Array
    mean: _Array
    depth: int

    def latent(self, inputs: _Array) -> _Array:
        """Return the contributions of the leaves that prompts come to.

        Parameters
        ----------
        inputs : ndarray of shape (n, n_inputs)
            As :func:`tree_inputs` returns them.

        Returns
        -------
        ndarray of shape (n, n_latents)
            float32.
        """
        if len(inputs) == 1:
            leaves = self.row.take(self._leaves(inputs[0], self.roots))
            sums = np.add.reduce(self.values.take(leaves, axis=0), axis=0, keepdims=True)
            return np.asarray(sums / np.float32(len(self.roots)))
        n, width = inputs.shape
        total = np.zeros((n, self.values.shape[1]), np.float32)
        flat, first = inputs.ravel(), np.arange(0, n * width, width)
        for root in self.roots:
            node = np.full(n, root)
            for _ in range(self.depth):
                right = flat.take(first + self.column.take(node)) > self.threshold.take(node)
                node = self.left.take(node) + right
            total += self.values.take(self.row.take(node), axis=0)
        return total / np.float32(len(self.roots))

    def _leaves(self, inputs: _Array, node: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return the leaf of one prompt in each tree."""
        for _ in range(self.depth):
            right = inputs.take(self.column.take(node)) > self.threshold.take(node)
            node = self.left.take(node) + right
        return node

    def with_values(self, values: NDArray[np.floating], mean: NDArray[np.floating]) -> TreeEnsemble:
        """Return the same trees with other contributions, rounded as they are stored.

        Parameters
        ----------
        values : ndarray of shape (n_leaves, n_latents)
            Contribution of each leaf.
        mean : ndarray of shape (n_latents,)
            Mean contribution to the training prompts.
        """
        rounded = values.astype(np.float16).astype(np.float32)
        return replace(self, values=rounded, mean=mean.astype(np.float32))

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays to store; :meth:`from_arrays` takes them back."""
        return {
            "roots": self.roots.astype(np.int32),
            "column": self.column.astype(np.int32),
            "threshold": self.threshold,
            "left": self.left.astype(np.int32),
            "row": self.row.astype(np.int32),
            "values": self.values.astype(np.float16),
            "mean": self.mean,
            "depth": np.array(self.depth),
        }

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], n_inputs: int, n_latents: int
    ) -> TreeEnsemble:
        """Build the ensemble from stored arrays.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            As :meth:`to_arrays` returns them.
        n_inputs, n_latents : int
            Width of the inputs and of the values.

        Raises
        ------
        KeyError
            If an array is missing.
        ValueError
            If the arrays do not describe trees over such inputs and latents.
        """
        roots = np.asarray(arrays["roots"], np.intp)
        column = np.asarray(arrays["column"], np.intp)
        threshold = np.asarray(arrays["threshold"], np.float32)
        left = np.asarray(arrays["left"], np.intp)
        row = np.asarray(arrays["row"], np.intp)
        values = np.asarray(arrays["values"], np.float32)
        mean = np.asarray(arrays["mean"], np.float32)
        depth = int(arrays["depth"])
        n_nodes, own = column.size, np.arange(column.size)
        is_last = threshold == np.float32(LEAF_THRESHOLD)
        if not (
            column.shape == threshold.shape == left.shape == row.shape == (n_nodes,)
            and roots.ndim == 1
            and values.shape[1:] == mean.shape == (n_latents,)
        ):
            raise ValueError("the arrays of the trees have shapes that do not fit each other")
        if not (
            _below(roots, n_nodes)
            and roots.size
            and _below(column, n_inputs)
            and _below(row, len(values))
            and 0 <= depth <= n_nodes
            # a node leads to later ones, a leaf to itself: no way goes on for ever
            and np.all((left > own) & (left < n_nodes - 1) | (left == own) & is_last)
        ):
            raise ValueError("the arrays of the trees hold numbers out of range")
        return cls(roots, column, threshold, left, row, values, mean, depth)


def _below(index: NDArray[np.intp], size: int) -> bool:
    return bool(np.all((index >= 0) & (index < size)))
