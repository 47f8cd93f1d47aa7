"""The ladder of a pool: which model is the smallest that gets a prompt right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["RIGHT_FROM", "Ladder", "Rung", "ladder"]

RIGHT_FROM = 0.5
"""Quality from which an answer counts as right."""

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rung:
    """One model of the ladder; shares are of all prompts.

    Attributes
    ----------
    model : str
        Its name in the runs.
    mean_energy_j : float
        Mean energy of a request in joules.
    right : float
        Share of prompts that it gets right.
    least_energy_right : float
        Share of prompts for which it is the one of least energy among those that are right.
    only_right : float
        Share of prompts that it alone gets right.
    """

    model: str
    mean_energy_j: float
    right: float
    least_energy_right: float
    only_right: float


@dataclass(frozen=True, slots=True)
class Ladder:
    """Which model is the smallest right one.

    Attributes
    ----------
    n_prompts : int
        Prompts that every model of the pool was graded on.
    rungs : tuple of Rung
        By rising mean energy.
    none_right : float
        Share of prompts that no model gets right.
    all_right : float
        Share of prompts that every model gets right.
    """

    n_prompts: int
    rungs: tuple[Rung, ...]
    none_right: float
    all_right: float


def ladder(quality: _Floats, energy_j: _Floats, models: tuple[str, ...]) -> Ladder:
    """Tell for each prompt which model is the smallest right one, and count.

    Parameters
    ----------
    quality, energy_j : ndarray of shape (n_prompts, n_models)
        Grades without gaps and true energy in joules; at least one prompt.
    models : tuple of str
        Names of the models.

    Returns
    -------
    Ladder
        Of models that take equal energy the first counts as the smaller one.

    Examples
    --------
    >>> import numpy as np
    >>> quality = np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0], [0.0, 1.0]])
    >>> found = ladder(quality, np.tile([1.0, 5.0], (4, 1)), ("small", "large"))
    >>> [rung.least_energy_right for rung in found.rungs], found.none_right
    ([0.25, 0.5], 0.25)
    """
    right = quality >= RIGHT_FROM
    n_right = right.sum(axis=1)
    least = np.where(right, energy_j, np.inf).argmin(axis=1)
    mean_j = energy_j.mean(axis=0)
    rungs = tuple(
        Rung(
            model=models[j],
            mean_energy_j=float(mean_j[j]),
            right=float(right[:, j].mean()),
            least_energy_right=float(((least == j) & (n_right > 0)).mean()),
            only_right=float((right[:, j] & (n_right == 1)).mean()),
        )
        for j in np.argsort(mean_j, kind="stable").tolist()
    )
    return Ladder(
        n_prompts=len(quality),
        rungs=rungs,
        none_right=float((n_right == 0).mean()),
        all_right=float((n_right == len(models)).mean()),
    )
