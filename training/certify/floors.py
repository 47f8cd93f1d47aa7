"""Counts for floors under the probability of a good answer.

Under a floor a prompt only goes to a model whose probability of a good answer on it reaches the
floor. Whether the answers of each model are then good that often is a share, with an exact bound
(Clopper and Pearson). There are as many promises as models, so each bound gets its part of the
error (Bonferroni), and the floor stands for every model at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from router.dial import PoolMeans, Setting
from router.floors import FloorEvidence
from router.request import Request
from router.training.certify.binomial import clopper_pearson_lower
from router.training.recalibrate import RIGHT_FROM

__all__ = ["FLOORS", "floor_evidence"]

_Floats = NDArray[np.float64]

FLOORS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
"""The floors that are tried."""


def floor_evidence(
    expected_quality: _Floats,
    probability: _Floats,
    expected_energy_j: _Floats,
    quality: _Floats,
    settings: Sequence[Setting | None],
    means: PoolMeans,
    reference: int,
    confidences: Sequence[float],
) -> FloorEvidence:
    """Count good answers under each floor, for each setting and each model.

    Parameters
    ----------
    expected_quality, probability, expected_energy_j : ndarray of shape (n, n_models)
        What the router expects of the calibration prompts.
    quality : ndarray of shape (n, n_models)
        What happened.
    settings : sequence of Setting or None
        The settings that serve under floors, chosen without the calibration prompts; None for the
        reference model alone.
    means : PoolMeans
        Mean outcomes on the training prompts.
    reference : int
        Column of the reference model.
    confidences : sequence of float
        Ascending.

    Returns
    -------
    FloorEvidence
        An answer is good from a quality of one half.
    """
    n, n_models = quality.shape
    rows = np.arange(n)
    right = quality >= RIGHT_FROM
    ids = [str(j) for j in range(n_models)]
    routed, good, passed = [], [], []
    for floor in FLOORS:
        counts, hits, levels = [], [], []
        for setting in settings:
            request = Request.build(1.0, setting, floor, None, ids, reference, means)
            chosen = request.rank(expected_quality, expected_energy_j, probability)[:, 0]
            reached = probability[rows, chosen] >= floor
            got = np.bincount(chosen[reached], minlength=n_models)
            well = np.bincount(chosen[reached & right[rows, chosen]], minlength=n_models)
            counts.append(tuple(got.tolist()))
            hits.append(tuple(well.tolist()))
            levels.append(
                tuple(
                    sum(
                        clopper_pearson_lower(g, m, (1.0 - confidence) / n_models) >= floor
                        for confidence in confidences
                    )
                    for g, m in zip(hits[-1], counts[-1], strict=True)
                )
            )
        routed.append(tuple(counts))
        good.append(tuple(hits))
        passed.append(tuple(levels))
    return FloorEvidence(
        n=n,
        levels=FLOORS,
        settings=tuple(settings),
        routed=tuple(routed),
        good=tuple(good),
        passed=tuple(passed),
    )
