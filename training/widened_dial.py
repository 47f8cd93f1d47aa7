"""The dial of a router whose pool has got one more model.

What each setting led to was measured on prompts that all the other models were graded on. For the
new pool it is moved by what the new model is expected to change on a sample of traffic: for each
prompt that now goes to it, its expected quality less that of the model that had the prompt before,
and likewise the energy. So no measurement of the old pool is lost, and the few grades of the new
model count only where it is chosen. There, its quality is known less well than in the mean over all
prompts, so the settings are trusted with less.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from router.dial import Dial, PoolMeans, Setting, choose

__all__ = ["widened_dial", "widened_means"]

_Floats = NDArray[np.float64]

_RIDGE = 1e-3
_LEAST = 1e-12


def widened_means(means: PoolMeans, quality: _Floats, energy_j: _Floats) -> PoolMeans:
    """Return the pool's means with those of one more model, on prompts like those of training.

    The sample of traffic need not be like the training prompts. How much easier or longer its
    prompts are shows in the other models, whose means on the training prompts are known: a
    regression estimator as in survey sampling (Särndal, Swensson and Wretman, "Model Assisted
    Survey Sampling", 1992, chapter 6).

    Parameters
    ----------
    means : PoolMeans
        Means of the m models that were there.
    quality, energy_j : ndarray of shape (n, m + 1)
        Expected quality and energy in joules on the sample, the new model last.

    Returns
    -------
    PoolMeans
        Of m + 1 models; those that were there keep their means.
    """
    others, new = quality[:, :-1], quality[:, -1]
    centred = others - others.mean(axis=0)
    gram = centred.T @ centred / len(centred) + _RIDGE * np.eye(others.shape[1])
    slopes = np.linalg.solve(gram, centred.T @ (new - new.mean()) / len(centred))
    easier = float(slopes @ (np.array(means.quality) - others.mean(axis=0)))
    there = np.maximum(means.energy_j, _LEAST)
    here = np.maximum(energy_j[:, :-1].mean(axis=0), _LEAST)
    longer = float(np.exp(np.log(there / here).mean()))
    return replace(
        means,
        quality=(*means.quality, float(np.clip(new.mean() + easier, 0.0, 1.0))),
        energy_j=(*means.energy_j, float(energy_j[:, -1].mean()) * longer),
    )


def widened_dial(
    dial: Dial,
    quality: _Floats,
    energy_j: _Floats,
    means: PoolMeans,
    reference: int,
    *,
    deviation: float = 0.0,
) -> Dial:
    """Return the dial of a pool with one more model.

    Parameters
    ----------
    dial : Dial
        Of the m models that were there.
    quality, energy_j : ndarray of shape (n, m + 1)
        Expected quality and energy in joules on a sample of traffic, the new model last.
    means : PoolMeans
        Of the m + 1 models, as :func:`widened_means` returns them.
    reference : int
        Column of the reference model.
    deviation : float
        Standard deviation of the new model's mean quality, by which `quality` is a lower bound
        already.

    Returns
    -------
    Dial
        The same settings and, where fixed models are among them, the new model alone if it is
        worth mixing.
    """
    base_quality = max(means.quality[reference], _LEAST)
    base_energy = max(means.energy_j[reference], _LEAST)
    others, others_j = quality[:, :-1], energy_j[:, :-1]
    new = quality.shape[1] - 1
    found: list[tuple[Setting, float, float]] = []
    for setting, kept, spent in zip(dial.settings, dial.quality, dial.energy, strict=True):
        chosen = choose(quality, energy_j, means, setting)
        moved = np.flatnonzero(chosen == new)
        if len(moved) and setting.shrinkage >= 1.0:
            kept, spent = means.quality[new] / base_quality, means.energy_j[new] / base_energy
        elif len(moved):
            before = choose(others[moved], others_j[moved], dial.means, setting)
            gain = quality[moved, new] - others[moved, before]
            cost = energy_j[moved, new] - others_j[moved, before]
            share = len(moved) / len(quality)
            # a mean over a share s of the prompts has about 1 / sqrt(s) of the deviation
            doubt = deviation * (math.sqrt(share) - share)
            kept += (share * float(gain.mean()) - doubt) / base_quality
            spent += share * float(cost.mean()) / base_energy
        found.append((setting, max(kept, 0.0), max(spent, 0.0)))
    found += _alone(dial, quality, energy_j, means, reference)
    found.sort(key=lambda row: (row[0].shrinkage, -row[0].price))
    for i in range(len(found) - 2, -1, -1):
        # a lower price never keeps less: what the next one keeps is all that is trusted
        setting, kept, spent = found[i]
        if setting.shrinkage == found[i + 1][0].shrinkage:
            found[i] = (setting, min(kept, found[i + 1][1]), spent)
    settings, kept_, spent_ = zip(*found, strict=True) if found else ((), (), ())
    return Dial(tuple(settings), tuple(kept_), tuple(spent_), means, dial.n_prompts)


def _alone(
    dial: Dial, quality: _Floats, energy_j: _Floats, means: PoolMeans, reference: int
) -> list[tuple[Setting, float, float]]:
    """Return the highest price at which the new model alone is the best fixed model."""
    fixed = [setting for setting in dial.settings if setting.shrinkage >= 1.0]
    new = quality.shape[1] - 1
    one = quality[:1], energy_j[:1]
    if not fixed or any(choose(*one, means, setting)[0] == new for setting in fixed):
        return []
    for price in sorted({setting.price for setting in dial.settings}, reverse=True):
        setting = Setting(price, 1.0)
        if choose(*one, means, setting)[0] == new:
            share = means.quality[new] / max(means.quality[reference], _LEAST)
            cost = means.energy_j[new] / max(means.energy_j[reference], _LEAST)
            return [(setting, share, cost)]
    return []
