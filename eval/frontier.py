"""The frontier of a router: what quality it reaches at what energy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["energy_at_quality", "operating_points", "upper_hull", "zero_router_points"]

_Floats = NDArray[np.float64]


def operating_points(choices: NDArray[np.integer], quality: _Floats, energy_j: _Floats) -> _Floats:
    """Mean energy and mean quality of every setting of a dial.

    Parameters
    ----------
    choices : ndarray of shape (n_settings, n_prompts)
        Column of the model that each setting chooses for each prompt.
    quality, energy_j : ndarray of shape (n_prompts, n_models)
        True quality and true energy in joules.

    Returns
    -------
    ndarray of shape (n_settings, 2)
        Mean energy in joules, mean quality.
    """
    prompts = np.arange(quality.shape[0])
    return np.stack(
        [energy_j[prompts, choices].mean(axis=1), quality[prompts, choices].mean(axis=1)], axis=1
    )


def upper_hull(points: _Floats) -> _Floats:
    """Corners of the upper-left convex hull: what mixing two settings at random can reach.

    Parameters
    ----------
    points : ndarray of shape (n_points, 2)
        Energy and quality.

    Returns
    -------
    ndarray of shape (n_corners, 2)
        Corners with energy and quality both increasing.

    Examples
    --------
    >>> import numpy as np
    >>> upper_hull(np.array([[1.0, 0.5], [2.0, 0.6], [3.0, 0.9], [4.0, 0.8]]))
    array([[1. , 0.5],
           [3. , 0.9]])
    """
    order = np.lexsort((-points[:, 1], points[:, 0]))
    corners: list[_Floats] = []
    for point in points[order]:
        if corners and point[1] <= corners[-1][1]:
            continue
        while len(corners) >= 2 and _turns_left(corners[-2], corners[-1], point):
            corners.pop()
        if corners and corners[-1][0] == point[0]:
            corners.pop()
        corners.append(point)
    return np.array(corners)


def energy_at_quality(points: _Floats, quality: float) -> float:
    """Least energy at which random mixtures of the points reach a mean quality.

    Parameters
    ----------
    points : ndarray of shape (n_points, 2)
        Energy in joules and quality of the settings.
    quality : float
        Mean quality to reach.

    Returns
    -------
    float
        Energy in joules; infinity where the hull never reaches `quality`.
    """
    hull = upper_hull(points)
    if quality > hull[-1, 1] + 1e-12:
        return float("inf")
    return float(np.interp(quality, hull[:, 1], hull[:, 0]))


def zero_router_points(
    train_quality: _Floats, train_energy_j: _Floats, quality: _Floats, energy_j: _Floats
) -> _Floats:
    """Operating points of the zero router: fixed models that training data say to mix.

    Parameters
    ----------
    train_quality, train_energy_j : ndarray of shape (n_train, n_models)
        Outcomes that the models to mix are chosen on.
    quality, energy_j : ndarray of shape (n_prompts, n_models)
        Outcomes that the points are measured on.

    Returns
    -------
    ndarray of shape (n_points, 2)
        Mean energy in joules and mean quality of the chosen models on the second data.
    """
    means = np.stack([train_energy_j.mean(axis=0), train_quality.mean(axis=0)], axis=1)
    hull = {tuple(corner) for corner in upper_hull(means)}
    chosen = [j for j, point in enumerate(means) if tuple(point) in hull]
    return np.stack([energy_j[:, chosen].mean(axis=0), quality[:, chosen].mean(axis=0)], axis=1)


def _turns_left(a: _Floats, b: _Floats, c: _Floats) -> bool:
    """Whether b lies on or below the line from a to c."""
    return bool((b[0] - a[0]) * (c[1] - a[1]) >= (b[1] - a[1]) * (c[0] - a[0]))
