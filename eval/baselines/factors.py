"""Matrix factorisation: a few latent skills behind the whole answer matrix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.eval.baselines.learned import LearnedBaseline, scaled_dense
from router.features import Features

__all__ = ["MatrixFactors"]

_Floats = NDArray[np.float64]


class MatrixFactors(LearnedBaseline):
    """Low-rank factors of the answer matrix, with a ridge map from features to prompt factors.

    The centred answer matrix is cut to its leading singular vectors. What a prompt needs, its
    coordinates there, is predicted from embedding and statistics.

    References
    ----------
    Ong et al., "RouteLLM: Learning to Route LLMs with Preference Data", arXiv:2406.18665.
    """

    name = "matrix factorisation"
    settings: tuple[dict[str, float], ...] = tuple(
        {"rank": rank, "ridge": ridge}
        for ridge in (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01)
        for rank in (1, 2, 3, 4, 6, 8, 12)
    )

    def predictions(
        self,
        features: Features,
        quality: _Floats,
        new: Features,
        settings: Sequence[dict[str, Any]],
        seed: int,
    ) -> Iterator[_Floats]:
        """Factor, map and multiply out."""
        train_x, new_x = scaled_dense(features, new)
        overall = quality.mean(axis=0)
        factors, sizes, skills = np.linalg.svd(quality - overall, full_matrices=False)
        values, axes = np.linalg.eigh(train_x.T @ train_x)
        projected = axes.T @ (train_x.T @ (factors * sizes))
        new_axes = new_x @ axes
        for setting in settings:
            ridge = setting["ridge"] * len(train_x)
            rank = min(setting["rank"], len(sizes))
            weights = projected[:, :rank] / (np.maximum(values, 0.0) + ridge)[:, None]
            yield overall + new_axes @ weights @ skills[:rank]
