"""Baselines that average over similar training prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from router.eval.baselines.learned import LearnedBaseline
from router.features import Features

__all__ = ["Clusters", "NearestNeighbours"]

_Floats = NDArray[np.float64]

_BLOCK_ROWS = 512
_PRIOR_WEIGHT = 5.0


class NearestNeighbours(LearnedBaseline):
    """Mean quality of the k training prompts with the most similar embedding.

    References
    ----------
    "When simple kNN beats complex learned routers", arXiv:2505.12601.
    """

    name = "kNN"
    settings: tuple[dict[str, int], ...] = tuple(
        {"k": k} for k in (200, 140, 100, 70, 50, 30, 20, 10)
    )

    def predictions(
        self,
        features: Features,
        quality: _Floats,
        new: Features,
        settings: Sequence[dict[str, Any]],
        seed: int,
    ) -> Iterator[_Floats]:
        """Average over the neighbours by cosine similarity."""
        counts = [min(setting["k"], len(features)) for setting in settings]
        train = features.dense[:, : features.n_embedding]
        predicted = np.empty((len(settings), len(new), quality.shape[1]))
        for start in range(0, len(new), _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            similarity = new.dense[block, : features.n_embedding] @ train.T
            sums = _sums_over_nearest(similarity, quality, sorted(set(counts)))
            for i, count in enumerate(counts):
                predicted[i, block] = sums[count] / count
        yield from predicted


class Clusters(LearnedBaseline):
    """Mean quality of the k-means cluster that a prompt's embedding falls into.

    A cluster's mean is drawn towards the mean over all prompts, which counts as five prompts.

    References
    ----------
    Zhang et al., "The Avengers", arXiv:2505.19797.
    """

    name = "k-means clusters"
    settings: tuple[dict[str, int], ...] = tuple({"clusters": n} for n in (4, 8, 16, 32, 64, 128))

    def predictions(
        self,
        features: Features,
        quality: _Floats,
        new: Features,
        settings: Sequence[dict[str, Any]],
        seed: int,
    ) -> Iterator[_Floats]:
        """Cluster the training prompts and look the new ones up."""
        train = features.dense[:, : features.n_embedding]
        n_distinct = len(np.unique(train, axis=0))
        overall = quality.mean(axis=0)
        for setting in settings:
            n_clusters = min(setting["clusters"], n_distinct)
            means = KMeans(n_clusters=n_clusters, n_init=1, max_iter=30, random_state=seed)
            # Several threads add up in any order, and a bit can move a prompt.
            with threadpool_limits(limits=1, user_api="openmp"):
                rows = means.fit_predict(train)
            sums = np.zeros((n_clusters, quality.shape[1]))
            np.add.at(sums, rows, quality)
            sizes = np.bincount(rows, minlength=n_clusters)[:, None]
            table = (sums + _PRIOR_WEIGHT * overall) / (sizes + _PRIOR_WEIGHT)
            yield table[means.predict(new.dense[:, : features.n_embedding])]


def _sums_over_nearest(
    similarity: NDArray[np.float32], quality: _Floats, counts: Sequence[int]
) -> dict[int, _Floats]:
    """Sum of the quality over the nearest prompts, for each of the ascending counts."""
    most = counts[-1]
    nearest = np.argpartition(-similarity, most - 1, axis=1)[:, :most]
    order = np.argsort(-np.take_along_axis(similarity, nearest, axis=1), axis=1, kind="stable")
    nearest = np.take_along_axis(nearest, order, axis=1)
    sums = {}
    running, done = np.zeros((len(similarity), quality.shape[1])), 0
    for count in counts:
        running = running + quality[nearest[:, done:count]].sum(axis=1)
        sums[count], done = running, count
    return sums
