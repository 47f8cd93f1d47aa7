"""The tree head: extremely randomised trees on all targets at once.

Geurts, Ernst and Wehenkel, "Extremely randomized trees", Machine Learning 2006. Many shallow trees
with several prompts in each leaf: where grades are noisy, averaging helps more than fitting on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn import config_context
from sklearn.tree import ExtraTreeRegressor

from router.trees import LEAF_THRESHOLD, TreeEnsemble

__all__ = ["FittedTrees", "Trees"]

_Array = NDArray[np.float32]
_Index = NDArray[np.int64]

_TREES = 60
_MAX_LEAVES = 256
_LEAF_PROMPTS = 4
_MAX_DEPTH = 16
_SPLIT_COLUMNS = 0.8
_MAX_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Trees:
    """Trees on all targets at once, grown where the error falls most.

    Attributes
    ----------
    inputs : ndarray of shape (n, n_inputs)
        What trees read of all training prompts, as :func:`router.trees.tree_inputs` returns it.
    seed : int
        Seed of the splits, and of the prompts where there are more than 20,000.
    names : tuple of str
        The one candidate's name.
    """

    inputs: _Array
    seed: int
    names: tuple[str, ...] = ("trees",)

    def fit(self, rows: _Index, targets: _Array) -> list[FittedTrees]:
        """Grow the trees on some prompts."""
        if len(rows) > _MAX_ROWS:
            rng = np.random.default_rng(self.seed)
            rows = np.sort(rng.choice(rows, _MAX_ROWS, replace=False))
        y = targets[rows]
        # A split serves all targets alike, whatever their units.
        mean, deviation = y.mean(axis=0), y.std(axis=0)
        deviation[deviation < 1e-6] = 1.0
        inputs, scaled = self.inputs[rows], ((y - mean) / deviation).astype(np.float64)
        draw = np.random.RandomState(self.seed)
        # Checks of arguments and arrays take as long as growing a tree on few prompts: inputs are
        # finite and in single precision, targets in double.
        with config_context(skip_parameter_validation=True):
            trees = [
                ExtraTreeRegressor(
                    max_leaf_nodes=_MAX_LEAVES,
                    min_samples_leaf=_LEAF_PROMPTS,
                    max_depth=_MAX_DEPTH,
                    max_features=_SPLIT_COLUMNS,
                    random_state=draw.randint(np.iinfo(np.int32).max),
                ).fit(inputs, scaled, check_input=False)
                for _ in range(_TREES)
            ]
        return [FittedTrees(self.inputs, trees, mean, deviation)]


@dataclass(frozen=True, slots=True)
class FittedTrees:
    """Grown trees, with mean and deviation of the targets that they were grown on."""

    inputs: _Array
    trees: list[ExtraTreeRegressor]
    mean: _Array
    deviation: _Array

    def predict(self, rows: _Index) -> _Array:
        """Return the targets (n_rows, n_targets) that are expected of some prompts."""
        total = np.zeros((len(rows), self.mean.size))
        if len(rows):
            inputs = self.inputs[rows]
            for tree in self.trees:
                total += tree.predict(inputs, check_input=False).reshape(total.shape)
        return np.asarray(total / len(self.trees) * self.deviation + self.mean, np.float32)

    def export(self) -> TreeEnsemble:
        """Return the trees as arrays; their latents are the targets."""
        trees = [_Tree.of(tree) for tree in self.trees]
        nodes = np.cumsum([0, *(len(tree.column) for tree in trees)])
        leaves = np.cumsum([0, *(len(tree.values) for tree in trees)])
        found = np.concatenate([tree.values for tree in trees])
        values = np.asarray(found * self.deviation + self.mean, np.float32)
        share = np.concatenate([tree.share for tree in trees]) / len(trees)
        return TreeEnsemble(
            roots=nodes[:-1].astype(np.intp),
            column=np.concatenate([tree.column for tree in trees]).astype(np.intp),
            threshold=np.concatenate([tree.threshold for tree in trees]),
            left=_shifted([tree.left for tree in trees], nodes),
            row=_shifted([tree.row for tree in trees], leaves),
            values=values,
            mean=(share @ values).astype(np.float32),
            depth=max(tree.depth for tree in trees),
        )


@dataclass(frozen=True, slots=True)
class _Tree:
    """One tree as arrays, its nodes in the order of their levels.

    So the two children of a node are neighbours. All arrays have an entry a node, but `values`
    and `share` one a leaf.
    """

    column: _Index
    threshold: _Array
    left: _Index
    row: _Index
    values: NDArray[np.float64]
    share: NDArray[np.float64]
    depth: int

    @classmethod
    def of(cls, fitted: ExtraTreeRegressor) -> _Tree:
        tree = fitted.tree_
        level = np.zeros(1, np.int64)
        levels = [level]
        while (inner := level[tree.children_left[level] >= 0]).size:
            children = (tree.children_left[inner], tree.children_right[inner])
            level = np.stack(children, axis=1).ravel()
            levels.append(level)
        order = np.concatenate(levels)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        is_leaf = tree.children_left[order] < 0
        threshold = np.where(is_leaf, LEAF_THRESHOLD, tree.threshold[order])
        # an input in single precision is at most a threshold where it is at most its floor
        floor = threshold.astype(np.float32)
        below = np.nextafter(floor, np.float32(-np.inf))
        leaves = order[is_leaf]
        return cls(
            column=np.where(is_leaf, 0, tree.feature[order]),
            threshold=np.where(floor > threshold, below, floor),
            left=np.where(is_leaf, np.arange(len(order)), place[tree.children_left[order]]),
            row=np.where(is_leaf, np.cumsum(is_leaf) - 1, 0),
            values=tree.value[leaves].reshape(len(leaves), -1),
            share=tree.n_node_samples[leaves] / tree.n_node_samples[0],
            depth=len(levels) - 1,
        )


def _shifted(parts: Sequence[NDArray[np.int64]], starts: NDArray[np.int64]) -> NDArray[np.intp]:
    """Join numbers that count from the start of their own part."""
    shifted = [part + start for part, start in zip(parts, starts[:-1], strict=True)]
    return np.concatenate(shifted).astype(np.intp)
