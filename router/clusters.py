"""Kinds of prompts that were discovered where the runs have no task labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.blocks import BlockScaler
from router.features import Features
from router.scoring import cluster_of, squared_norms

__all__ = ["AUTO", "PromptClusters"]

AUTO = "auto"
"""Name of the group that asks for the cluster of each prompt."""

_DIGITS = 3


@dataclass(frozen=True, slots=True, eq=False)
class PromptClusters:
    """Clusters of prompts; each prompt belongs to the one with the nearest centre.

    Attributes
    ----------
    centres : ndarray of shape (n_clusters, n_features)
        Means of the scaled features of training prompts, float32.
    """

    centres: NDArray[np.float32]

    def names(self, features: Features, scaler: BlockScaler) -> list[str]:
        """Return the name of each prompt's cluster.

        Parameters
        ----------
        features : Features
            Features of n prompts.
        scaler : BlockScaler
            Scales them as in training.

        Returns
        -------
        list of str
            Such as ``cluster 1``.
        """
        scaled = scaler.dense(features)[:, : self.centres.shape[1]]
        found = cluster_of(scaled, self.centres, squared_norms(self.centres))
        return [f"cluster {i + 1}" for i in found.tolist()]

    def to_list(self) -> list[list[float]]:
        """Return the centres as JSON types."""
        return [[round(x, _DIGITS) for x in row] for row in self.centres.astype(float).tolist()]

    @classmethod
    def from_list(cls, stored: Sequence[Sequence[float]]) -> PromptClusters:
        """Build the clusters from :meth:`to_list`.

        Raises
        ------
        TypeError, ValueError
            If the rows are not numbers or differ in length.
        """
        centres = np.array([[float(x) for x in row] for row in stored], np.float32)
        if centres.ndim != 2 or not centres.size or not np.isfinite(centres).all():
            raise ValueError("clusters must have centres of one length")
        return cls(centres)
