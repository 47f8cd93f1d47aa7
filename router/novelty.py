"""The guard: prompts unlike those of training are noticed and go to a model fixed beforehand.

A prompt's novelty is the share of held-out training prompts that lie nearer to the training
prompts than it does: a conformal p-value, counted from 1 (Vovk, Gammerman and Shafer,
"Algorithmic Learning in a Random World", 2005).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.features import Features
from router.neighbourhood import Neighbourhood
from router.remembered import RememberedPrompts

__all__ = ["NoveltyGuard", "traffic_p_value"]

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class NoveltyGuard:
    """Tells prompts unlike those of training, and which model they go to.

    Attributes
    ----------
    neighbourhood : Neighbourhood
        The training prompts.
    scores : ndarray of shape (n_levels,)
        Ascending scores of training prompts that were held out.
    levels : ndarray of shape (n_levels,)
        Share of new prompts like them that score no higher than each of `scores`.
    level : float
        Novelty from which a prompt counts as unlike those of training.
    reach : tuple of float
        For each model of the pool the highest quality bar that it is trusted to keep, on its
        own, on kinds of tasks that training did not see; 1 for the reference model.
    remembered : RememberedPrompts, optional
        Hashes and grades of the prompts of the neighbourhood; None where they were not kept.

    Raises
    ------
    ValueError
        If the arrays differ in length, or a share is none.
    """

    neighbourhood: Neighbourhood
    scores: _Floats
    levels: _Floats
    level: float
    reach: tuple[float, ...]
    remembered: RememberedPrompts | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.scores) == len(self.levels):
            raise ValueError("scores and levels must have one length, at least 1")
        if not 0.0 < self.level < 1.0 or not all(0.0 <= bar <= 1.0 for bar in self.reach):
            raise ValueError("level and reach must be shares")
        remembered = self.remembered
        if remembered is not None and remembered.quality.shape != (
            len(self.neighbourhood.bank),
            len(self.reach),
        ):
            raise ValueError("remembered must have a row a prompt of the neighbourhood")

    @property
    def false_alarms(self) -> float:
        """Share of new prompts like those of training that count as unlike them, at most."""
        return 1.0 - self.level

    def novelty(self, features: Features) -> _Floats:
        """Return the share of prompts like those of training that are less novel.

        Parameters
        ----------
        features : Features
            Features of n prompts.

        Returns
        -------
        ndarray of shape (n,)
            In [0, 1); about uniform for prompts like those of training.
        """
        below = self.scores.searchsorted(self.neighbourhood.score(features), side="left")
        return np.asarray(self.levels[below - 1] * (below > 0), np.float64)

    def stand_in(
        self, bar: float, energy_j: Iterable[float], allowed: Iterable[bool]
    ) -> int | None:
        """Return the model that prompts unlike those of training go to.

        Parameters
        ----------
        bar : float
            The quality bar.
        energy_j : iterable of float
            Mean energy of each model in joules.
        allowed : iterable of bool
            Which models may be chosen.

        Returns
        -------
        int or None
            Column of the allowed model of least energy that is trusted to keep the bar; None
            where there is none.
        """
        models = enumerate(zip(self.reach, energy_j, allowed, strict=True))
        kept = [(mean_j, j) for j, (reach, mean_j, may) in models if may and reach >= bar]
        return min(kept)[1] if kept else None

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays to store; :meth:`from_arrays` takes them back."""
        return {
            **self.neighbourhood.to_arrays(),
            **({} if self.remembered is None else self.remembered.to_arrays()),
            "scores": self.scores,
            "levels": self.levels,
            "level": np.array(self.level),
            "reach": np.array(self.reach, np.float64),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> NoveltyGuard:
        """Build the guard from stored arrays.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            As :meth:`to_arrays` returns them.

        Raises
        ------
        KeyError
            If an array is missing.
        ValueError
            If the shapes of two arrays do not fit each other, or a number is out of its range.
        """
        return cls(
            neighbourhood=Neighbourhood.from_arrays(arrays),
            scores=np.asarray(arrays["scores"], np.float64).reshape(-1),
            levels=np.asarray(arrays["levels"], np.float64).reshape(-1),
            level=float(arrays["level"]),
            reach=tuple(map(float, arrays["reach"])),
            remembered=RememberedPrompts.from_arrays(arrays) if "hashes" in arrays else None,
        )


def traffic_p_value(novelty: Iterable[float]) -> float:
    """Return how likely prompts like those of training are to be as novel as these on average.

    Many prompts of one unknown kind show even where none of them does on its own: for prompts
    like those of training, novelty is about uniform on [0, 1].

    Parameters
    ----------
    novelty : iterable of float
        Novelty of independent prompts.

    Returns
    -------
    float
        One-sided p-value of the mean, by the normal approximation; 1 for no prompts.

    Examples
    --------
    >>> traffic_p_value([0.5] * 100)
    0.5
    >>> traffic_p_value([0.9] * 20) < 1e-9
    True
    """
    values = list(novelty)
    if not values:
        return 1.0
    deviations = (math.fsum(values) / len(values) - 0.5) * math.sqrt(12.0 * len(values))
    return 0.5 * math.erfc(deviations / math.sqrt(2.0))
