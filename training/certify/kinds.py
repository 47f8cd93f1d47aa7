"""Kinds of prompts that get promises of their own: task labels that enough share, or clusters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans

from router.blocks import BlockScaler
from router.clusters import PromptClusters
from router.features import Features

__all__ = ["MIN_PROMPTS_A_KIND", "discover_kinds", "labelled"]

MIN_PROMPTS_A_KIND = 50
"""Calibration prompts below which a kind gets no promise of its own."""

_LABELLED = 0.5
_PROMPTS_A_CLUSTER = 120
_MAX_CLUSTERS = 8
_MAX_ROWS = 5_000


def labelled(tasks: Sequence[str]) -> bool:
    """Whether at least half of the prompts have a task label that could get a promise.

    Parameters
    ----------
    tasks : sequence of str
        Label of each calibration prompt; empty where there is none.

    Examples
    --------
    >>> labelled(["maths"] * 60 + [""] * 40), labelled([f"task {i}" for i in range(100)])
    (True, False)
    """
    counts = Counter(task for task in tasks if task)
    shared = sum(count for count in counts.values() if count >= MIN_PROMPTS_A_KIND)
    return shared >= _LABELLED * len(tasks)


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
