"""Fitting the serving factor of the formula to measurements."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from router.energy.architecture import architectures
from router.energy.coefficients import Coefficients
from router.energy.formula import REFERENCE_BATCH
from router.energy.measurements import Measurement

__all__ = ["fit_serving"]

_NAMES = ("k0", "k_G", "k_moe", "k_B", "k_moeB")


def fit_serving(
    rows: Sequence[Measurement], coefficients: Coefficients | None = None
) -> Coefficients:
    """Return coefficients whose serving factor is fitted to measurements.

    Parameters
    ----------
    rows : sequence of Measurement
        Measurements of at least two models, dense and mixture, at several batches.
    coefficients : Coefficients, optional
        Where the inner terms are taken from; the shipped ones when not given.

    Returns
    -------
    Coefficients
        The same with the five k's of ``S = exp(k0 + k_G ln G + k_moe moe + k_B ln(B/64) +
        k_moeB moe ln(B/64))`` by least squares on the log of measured over inner joules,
        every model with the same weight however often it was measured.
    """
    fitted = coefficients or Coefficients.default()
    bare = fitted.without_serving()
    count = Counter(row.model for row in rows)
    design, target = [], []
    for row in rows:
        mixture = float(architectures()[row.model].mixture)
        growth = math.log(row.batch / REFERENCE_BATCH)
        root = math.sqrt(1 / count[row.model])
        terms = (1.0, math.log(row.gpus), mixture, growth, mixture * growth)
        design.append([root * term for term in terms])
        target.append(root * math.log(row.joules_per_completion_token / row.predict(bare)))
    solution = np.linalg.lstsq(np.array(design), np.array(target), rcond=None)[0]
    return replace(fitted, serving=dict(zip(_NAMES, solution.tolist(), strict=True)))
