"""The path of settings that is tested, laid down by training evidence alone.

The dial has two dimensions, price and shrinkage; a fixed sequence needs one. For every quality
that could be certified there is a setting that gets there with the least energy, and those
settings, from the most careful to the cheapest, are the path. What could be certified is the share
of quality that a setting kept out of fold, less what a bound would take off for its spread at the
number of calibration prompts: of two settings that keep the same share, the one that follows the
reference model more closely is easier to certify.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray

from router.dial import Dial, DialShape, PoolMeans, Setting, choose, dial_settings
from router.policy import price_grid

__all__ = ["certification_path", "path_choices", "path_of_dial"]

_Floats = NDArray[np.float64]

_SPREADS = 1.3
_N_PRICES = 400
_LEAST_SAVING = 0.025
_LEAST_BAR = 0.5


def certification_path(
    expected_quality: _Floats,
    expected_energy_j: _Floats,
    quality: _Floats,
    energy_j: _Floats,
    means: PoolMeans,
    reference: int,
    n_calibration: int,
) -> tuple[Setting, ...]:
    """Lay the path through the dial on prompts that the heads had not seen.

    Parameters
    ----------
    expected_quality, expected_energy_j : ndarray of shape (n, n_models)
        What the heads expected out of fold.
    quality, energy_j : ndarray of shape (n, n_models)
        What happened; quality is NaN where a model was not run.
    means : PoolMeans
        Mean outcomes, and which models are pruned.
    reference : int
        Column of the reference model.
    n_calibration : int
        Calibration prompts that there will be.

    Returns
    -------
    tuple of Setting
        By falling quality and energy, each with less energy than the reference model; empty
        where no prompt was answered by all models.
    """
    known = ~np.isnan(quality).any(axis=1)
    if not known.any():
        return ()
    truth, joules = quality[known], energy_j[known]
    rows = np.arange(len(truth))
    base = truth[:, reference]
    if not base.any():
        return ()
    steps = []
    for setting in _settings(expected_quality, expected_energy_j, means):
        chosen = choose(expected_quality[known], expected_energy_j[known], means, setting)
        kept = truth[rows, chosen]
        share = float(kept.mean() / base.mean())
        spread = float(np.std(kept - share * base) / base.mean())
        bound = share - _SPREADS * spread / sqrt(max(n_calibration, 1))
        energy = float(joules[rows, chosen].mean() / joules[:, reference].mean())
        steps.append((energy, bound, setting))
    return _thinned(steps)


def path_of_dial(dial: Dial) -> tuple[Setting, ...]:
    """Lay the path through a dial whose evidence is all that is left.

    Parameters
    ----------
    dial : Dial
        Its qualities and energies, measured on prompts that the heads had not seen.
    """
    return _thinned(zip(dial.energy, dial.quality, dial.settings, strict=True))


def path_choices(
    path: Sequence[Setting],
    expected_quality: _Floats,
    expected_energy_j: _Floats,
    means: PoolMeans,
) -> NDArray[np.int64]:
    """Return what each setting of a path chooses for each prompt.

    Parameters
    ----------
    path : sequence of Setting
        The settings.
    expected_quality, expected_energy_j : ndarray of shape (n, n_models)
        What is expected of the prompts.
    means : PoolMeans
        Mean outcomes on the training prompts.

    Returns
    -------
    ndarray of shape (n_settings, n)
        Columns of the chosen models.
    """
    chosen = [choose(expected_quality, expected_energy_j, means, setting) for setting in path]
    return np.array(chosen, np.int64).reshape(len(path), len(expected_quality))


def _settings(
    expected_quality: _Floats, expected_energy_j: _Floats, means: PoolMeans
) -> tuple[Setting, ...]:
    """Return the dial's settings at prices four times as fine.

    A bound takes off a percent or two of quality, so that steps of several percent of energy
    between two settings would cost as much as the bound itself.
    """
    dial = dial_settings(expected_quality, expected_energy_j, means)
    prices = price_grid(expected_quality, expected_energy_j, _N_PRICES).tolist()
    fine = (Setting(p, shrinkage) for shrinkage in DialShape().shrinkages for p in prices)
    return (*fine, *(setting for setting in dial if setting.shrinkage >= 1.0))


def _thinned(steps: Iterable[tuple[float, float, Setting]]) -> tuple[Setting, ...]:
    """Keep the settings that nothing cheaper matches, at least 2.5 % of energy apart."""
    frontier: list[tuple[float, float, Setting]] = []
    for step in sorted(steps, key=lambda step: (step[0], -step[1])):
        best = frontier[-1][1] if frontier else 0.0
        if 0.0 < step[0] < 1.0 and step[1] > best:
            frontier.append(step)
    path: list[Setting] = []
    last = 1.0
    for energy, bound, setting in reversed(frontier):
        if bound >= _LEAST_BAR and log(last / energy) >= _LEAST_SAVING:
            path.append(setting)
            last = energy
    return tuple(path)
