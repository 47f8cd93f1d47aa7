"""What a user gets: the choices that a dial serves at a quality bar, and what they cost.

The frontier of a benchmark may mix any settings, chosen with the test prompts in view. A user
asks for a bar and gets the one setting that training found for it. These figures are about that
setting. To have something fair beside it, the zero router is served in the same way: it mixes
two fixed models in the proportion that keeps the bar on the training prompts. The guard against
prompts unlike those of training, which a stored router has as well, takes no part.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from router.dial import Dial, PoolMeans, choose
from router.eval.frontier import energy_at_quality, upper_hull
from router.eval.protocol import QUALITY_BARS
from router.eval.scoring import Truth

__all__ = [
    "SERVED",
    "SERVED_DIFFERENCE",
    "ZERO_SERVED",
    "served_choices",
    "served_figures",
    "zero_mixtures",
]

SERVED = "served_log_energy_ratio"
"""Mean over the bars of ln(energy / energy of the zero router at the quality that was kept)."""

ZERO_SERVED = "zero_served_log_energy_ratio"
"""The same of the zero router, served at the same bars."""

SERVED_DIFFERENCE = "served_minus_zero_served"
"""The first of these less the second: below 0 the router serves a better bargain."""

_Floats = NDArray[np.float64]

_LEAST_ENERGY_J = 1e-12


def served_choices(
    dial: Dial,
    quality: _Floats,
    energy_j: _Floats,
    reference: int,
    bars: Sequence[float] = QUALITY_BARS,
) -> NDArray[np.int64]:
    """Choose a model for each prompt at each bar, as a stored router does.

    Parameters
    ----------
    dial : Dial
        What training found.
    quality, energy_j : ndarray of shape (n, n_models)
        Expected quality and energy in joules.
    reference : int
        Column of the reference model.
    bars : sequence of float
        Quality bars.

    Returns
    -------
    ndarray of shape (n_bars, n)
        Columns of the chosen models.
    """
    chosen = []
    for bar in bars:
        setting = dial.setting_for(bar)
        chosen.append(
            np.full(len(quality), reference, np.int64)
            if setting is None
            else choose(quality, energy_j, dial.means, setting)
        )
    return np.stack(chosen)


def zero_mixtures(
    means: PoolMeans, reference: int, bars: Sequence[float] = QUALITY_BARS
) -> _Floats:
    """Shares of the models that the zero router serves at each bar.

    Parameters
    ----------
    means : PoolMeans
        Mean outcomes on the training prompts.
    reference : int
        Column of the reference model.
    bars : sequence of float
        Quality bars.

    Returns
    -------
    ndarray of shape (n_bars, n_models)
        Each row sums to 1 and has at most two models: the cheapest mixture whose training mean
        keeps the bar.

    Examples
    --------
    >>> zero_mixtures(PoolMeans((0.8, 1.0), (1.0, 9.0)), 1, bars=(0.5, 0.9, 1.0)).round(2)
    array([[1. , 0. ],
           [0.5, 0.5],
           [0. , 1. ]])
    """
    points = np.column_stack([means.energy_j, means.quality])
    hull = upper_hull(points)
    corners = [int(np.flatnonzero((points == corner).all(axis=1))[0]) for corner in hull]
    shares = np.zeros((len(bars), len(points)))
    for row, bar in zip(shares, bars, strict=True):
        target = bar * means.quality[reference]
        above = int(np.searchsorted(hull[:, 1], target - 1e-12))
        above = min(above, len(hull) - 1)
        if above == 0:
            row[corners[0]] = 1.0
            continue
        low, high = hull[above - 1, 1], hull[above, 1]
        share = float(np.clip((target - low) / (high - low), 0.0, 1.0))
        row[corners[above - 1]] = 1.0 - share
        row[corners[above]] = share
    return shares


def served_figures(
    choices: NDArray[np.integer],
    mixtures: _Floats,
    truth: Truth,
    bars: Sequence[float] = QUALITY_BARS,
) -> dict[str, float]:
    """Figures of what was served at each bar.

    Parameters
    ----------
    choices : ndarray of shape (n_bars, n_test)
        What the router serves, as :func:`served_choices` gives it.
    mixtures : ndarray of shape (n_bars, n_models)
        What the zero router serves, as :func:`zero_mixtures` gives it.
    truth : Truth
        The test prompts.
    bars : sequence of float
        The bars.

    Returns
    -------
    dict of str to float
        ``served_log_energy_ratio``, ``zero_served_log_energy_ratio`` and their difference
        ``served_minus_zero_served``, and for each bar
        ``served_quality_B`` and ``zero_served_quality_B`` (relative to the reference model's),
        ``served_energy_B`` and ``zero_served_energy_B`` (relative to the reference model's) and
        ``served_log_ratio_B``, the ratio at that bar alone.

        The zero router that energies are compared with knows the test means of its models, so
        that serving it costs something too. Where more quality was kept than its best model
        has, it is charged for that model.
    """
    rows = np.arange(truth.quality.shape[0])
    reference = truth.reference_point
    hull = upper_hull(np.vstack([truth.zero_points, reference]))
    zero_served = mixtures @ truth.model_points
    figures: dict[str, float] = {}
    ratios: dict[str, list[float]] = {"": [], "zero_": []}
    for bar, chosen, mixed in zip(bars, choices, zero_served, strict=True):
        served = (truth.energy_j[rows, chosen].mean(), truth.quality[rows, chosen].mean())
        for prefix, (energy_j, quality) in (("", served), ("zero_", mixed)):
            same_j = energy_at_quality(hull, min(float(quality), float(hull[-1, 1])))
            ratio = np.log(max(float(energy_j), _LEAST_ENERGY_J) / max(same_j, _LEAST_ENERGY_J))
            ratios[prefix].append(float(ratio))
            figures[f"{prefix}served_quality_{bar:.2f}"] = _relative(quality, reference[1])
            figures[f"{prefix}served_energy_{bar:.2f}"] = _relative(energy_j, reference[0])
        figures[f"served_log_ratio_{bar:.2f}"] = ratios[""][-1]
    figures[SERVED] = float(np.mean(ratios[""]))
    figures[ZERO_SERVED] = float(np.mean(ratios["zero_"]))
    figures[SERVED_DIFFERENCE] = figures[SERVED] - figures[ZERO_SERVED]
    return figures


def _relative(value: float, base: float) -> float:
    return float(value / base) if base > 0.0 else float("nan")
