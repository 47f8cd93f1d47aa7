"""Kinds of prompts that get promises of their own: task labels, or clusters for want of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans

from router.blocks import BlockScaler
from router.clusters import PromptClusters
from router.features import Features

__all__ = ["discover_kinds", "labelled"]

_LABELLED = 0.5
_PROMPTS_A_CLUSTER = 120
_MAX_CLUSTERS = 8
_MAX_ROWS = 5_000


def labelled(tasks: Sequence[str]) -> bool:
    """Whether at least half of the prompts have a task label."""
    return sum(map(bool, tasks)) >= _LABELLED * len(tasks)


def discover_kinds(
    features: Features, scaler: BlockScaler, n_calibration: int, *, seed: int = 0
) -> PromptClusters | None:
    """Find kinds among the training prompts, by k-means on their scaled features.

    Parameters
    ----------
    features : Features
        Features of n training prompts.
    scaler : BlockScaler
        Scales them.
    n_calibration : int
        Calibration prompts that there will be: about 120 of them for a kind, at most 8 kinds.
    seed : int
        Seed of the starts.

    Returns
    -------
    PromptClusters or None
        None where there would be fewer than two kinds.
    """
    n_clusters = min(n_calibration // _PROMPTS_A_CLUSTER, _MAX_CLUSTERS)
    if n_clusters < 2:
        return None
    scaled = scaler.dense(features)[:, : scaler.mean.size]
    rows = np.random.default_rng(seed).permutation(len(scaled))[:_MAX_ROWS]
    centres = KMeans(n_clusters, n_init=4, random_state=seed).fit(scaled[rows]).cluster_centers_
    return PromptClusters.from_list(PromptClusters(centres.astype(np.float32)).to_list())
