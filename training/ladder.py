"""What the models of a pool suggest of one more, before much of it is known.

Models differ first of all in ability: along it, the weights of their links move together. So one
more model of known mean quality is expected where a line through the pool's models is at that
quality, and it may stray from there as far as they do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from router.model import QualityLink
from router.training.new_column import ColumnPrior

__all__ = ["LINEAR_SPREAD", "LOGISTIC_SPREAD", "ladder_prior", "log_odds"]

_Floats = NDArray[np.float64]

LINEAR_SPREAD, LOGISTIC_SPREAD = 0.02, 1.0
"""Variance of the part of a model's own, in a linear link and in log-odds."""

_LEAST_QUALITY = 0.02
_UNIFORM_SHARE = 0.1
_DEAD = 1e-4


def ladder_prior(
    link: QualityLink, latent: _Floats, pool_quality: _Floats, quality: float
) -> ColumnPrior:
    """Return what a link of the pool suggests of one more model.

    Parameters
    ----------
    link : QualityLink
        The link with its weights for each of the m models of the pool.
    latent : ndarray of shape (n, n_latents)
        What the link reads, for the graded prompts.
    pool_quality : ndarray of shape (m,)
        Mean quality of the pool's models on these prompts.
    quality : float
        Mean quality of the new model on them.

    Returns
    -------
    ColumnPrior
        In log-odds where the link is logistic. Latents that hardly vary have no say.
    """
    deviation = latent.std(axis=0)
    alive = deviation > _DEAD * deviation.max(initial=0.0)
    scale = np.where(alive, deviation, 1.0)
    weights = link.coefficients * (scale * alive)[:, None]
    n_latents, n_models = weights.shape

    ability = log_odds(pool_quality)
    place = ability - ability.mean()
    # as if one more model lay at the spread of the others, with the mean weights
    slope = weights @ place / (place @ place + place.var() + 1e-12)
    mean = weights.mean(axis=1) + slope * (float(log_odds(quality)) - ability.mean())
    rest = weights - weights.mean(axis=1, keepdims=True) - np.outer(slope, place)
    covariance = rest @ rest.T / max(n_models - 1, 1)
    uniform = _UNIFORM_SHARE * float(np.square(weights).sum()) / (n_latents * n_models)
    covariance += uniform * np.diag(alive.astype(np.float64))
    base = float(log_odds(quality)) if link.logistic else quality
    return ColumnPrior(
        base=base,
        spread=LOGISTIC_SPREAD if link.logistic else LINEAR_SPREAD,
        mean=mean / scale,
        covariance=covariance / np.outer(scale, scale),
    )


def log_odds(quality: _Floats | float) -> _Floats:
    """Return the log-odds of qualities, those near 0 and 1 as of 0.02 and 0.98."""
    inside = np.clip(quality, _LEAST_QUALITY, 1.0 - _LEAST_QUALITY)
    return np.asarray(np.log(inside / (1.0 - inside)))
