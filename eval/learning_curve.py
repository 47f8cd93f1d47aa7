"""The learning curve of a router: what it reaches with how many graded prompts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.eval.intervals import Interval, interval95
from router.eval.json_types import json_types
from router.eval.protocol import QUALITY_BARS
from router.eval.result import HEADLINE
from router.eval.served import SERVED, SERVED_DIFFERENCE, ZERO_SERVED

__all__ = [
    "CURVE_FIGURES",
    "MARGIN",
    "RATIOS",
    "CurvePoint",
    "LearningCurve",
    "Standing",
    "first_prompts",
]

MARGIN = 0.02
"""How far above the zero router a figure may lie and still count as no worse."""

RATIOS = {HEADLINE: "Frontier", SERVED_DIFFERENCE: "What is served"}
"""The figures that the margin is for."""

CURVE_FIGURES = (
    HEADLINE,
    SERVED_DIFFERENCE,
    SERVED,
    ZERO_SERVED,
    "out_of_fold_log_energy_ratio",
    *(
        f"{who}{what}_{bar:.2f}"
        for bar in QUALITY_BARS
        for who, what in (
            ("", "energy_at"),
            ("", "served_log_ratio"),
            ("", "served_quality"),
            ("", "served_energy"),
            ("zero_", "served_quality"),
            ("zero_", "served_energy"),
        )
    ),
    "auc",
    "brier",
)
"""Figures that a curve keeps."""


class Standing(Enum):
    """Where the mean of a ratio to the zero router stands."""

    WITHIN = "yes"
    UNCLEAR = "within chance"
    ABOVE = "no"


def first_prompts(groups: NDArray[np.integer], size: int, seed: int) -> NDArray[np.intp]:
    """Return the first prompts of a shuffled training split, as whole groups.

    Parameters
    ----------
    groups : ndarray of shape (n,)
        Group of each training prompt.
    size : int
        Prompts wanted, at least 1; a group that lies across the border is taken whole.
    seed : int
        Seed of the shuffle: a smaller size gives a subset of a larger one.

    Returns
    -------
    ndarray
        Positions, ascending; all of them where `size` is `n` or more.

    Examples
    --------
    >>> len(first_prompts(np.arange(10), 4, seed=0))
    4
    """
    _, member = np.unique(groups, return_inverse=True)
    count = np.bincount(member)
    order = np.random.default_rng(seed).permutation(len(count))
    before = np.cumsum(count[order]) - count[order]
    return np.flatnonzero(np.isin(member, order[before < size]))


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Figures with one number of training prompts.

    Attributes
    ----------
    size : int
        Training prompts that were asked for; the mean of the full splits at the end of a curve.
    per_seed : mapping of str to tuple of float
        Every figure, in the order of the seeds.
    """

    size: int
    per_seed: Mapping[str, tuple[float, ...]]

    def interval(self, figure: str) -> Interval:
        """Return mean and 95 % interval of a figure; NaN if it was not measured."""
        return interval95(self.per_seed.get(figure, ()))

    def standing(self, figure: str) -> Standing:
        """Say where a ratio to the zero router stands against the margin."""
        interval = self.interval(figure)
        if not interval.mean > MARGIN:
            return Standing.WITHIN
        return Standing.ABOVE if interval.low > MARGIN else Standing.UNCLEAR


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """Figures of a router by the number of its training prompts.

    Attributes
    ----------
    pool : str
        Name of the pool.
    seeds : tuple of int
        Seeds of the splits.
    points : tuple of CurvePoint
        By size; the last has the full training splits.
    corruption : str
        What was done to the runs; empty for nothing.
    """

    pool: str
    seeds: tuple[int, ...]
    points: tuple[CurvePoint, ...]
    corruption: str = ""

    @property
    def broken(self) -> bool:
        """Whether the router is worse than the zero router beyond margin and chance somewhere."""
        return any(
            point.standing(figure) is Standing.ABOVE for point in self.points for figure in RATIOS
        )

    def verdict(self) -> str:
        """Say where the router is worse than the zero router that saw the same prompts."""
        sentences = []
        for figure, what in RATIOS.items():
            missed = [
                f"{point.interval(figure).mean:+.3f} with {point.size:,} prompts"
                f"{'' if point.standing(figure) is Standing.ABOVE else ' (within chance)'}"
                for point in self.points
                if point.standing(figure) is not Standing.WITHIN
            ]
            if missed:
                sentences.append(f"{what}: above the zero router + {MARGIN}: {', '.join(missed)}.")
            else:
                sentences.append(f"{what}: at or below the zero router + {MARGIN} at every size.")
        if self.corruption:
            sentences.insert(0, f"Runs made worse by {self.corruption}.")
        return " ".join(sentences)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types; NaN becomes None."""
        found = {
            "verdict": self.verdict(),
            "pool": self.pool,
            "seeds": list(self.seeds),
            "corruption": self.corruption or None,
            "margin": MARGIN,
            "broken": self.broken,
            "points": [
                {
                    "size": point.size,
                    "figures": {
                        name: {**asdict(point.interval(name)), "per_seed": list(values)}
                        for name, values in point.per_seed.items()
                    },
                    "standing": {name: point.standing(name).value for name in RATIOS},
                }
                for point in self.points
            ],
        }
        plain: dict[str, Any] = json_types(found)
        return plain
