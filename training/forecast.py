"""What more graded prompts would bring, estimated from the training prompts alone.

Learning curves are taken to follow a power law, ``ratio(n) = limit + scale * n ** -decay``, their
usual shape (Hestness et al., "Deep learning scaling is predictable, empirically", 2017). Routers
are trained on halves and quarters of the prompts and measured on the other half; what is gained
from a quarter to a half tells the scale. Two sizes cannot tell the exponent, and a few fits tell
the scale badly, so the exponent is that of other pools, and the scale is drawn towards theirs by
the precision of both (empirical Bayes; Efron and Morris, "Stein's estimation rule and its
competitors", 1973).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from router.errors import ConfigError
from router.eval.frontier import operating_points
from router.eval.matrix import AnswerMatrix
from router.eval.metrics import log_energy_ratio
from router.eval.splits import PoolPrompts
from router.features import FeatureExtractor
from router.pool import Pool
from router.training.crossfit import assign_folds
from router.training.fit_options import FitOptions
from router.training.heads import FAMILIES
from router.training.split_fit import fit_split
from router.training.stacking import stack_variants

__all__ = ["Forecast", "forecast"]

# Chosen on learning curves of the project's six development pools.
_DECAY = 0.3
_USUAL_SCALE = 2.0
_SCALE_SPREAD = 1.5
_USUAL_ERROR = 1.5

_RIDGES = tuple(family for family in FAMILIES if family.startswith("ridge"))
_N_PARTS = 4
_MIN_GROUPS = 100
_MAX_PROMPTS = 5_000
_WORTH = 0.03
_FACTORS = (2, 4)
_Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Forecast:
    """What more graded prompts would bring.

    Attributes
    ----------
    n_prompts : int
        Prompts that every model of the pool was graded on.
    scale, error : float
        Scale of the power law that ``log_energy_ratio`` follows, with its standard error.
    measured : bool
        Whether these prompts had a say in the scale; with very few, it is that of other pools.
    """

    n_prompts: int
    scale: float
    error: float
    measured: bool

    def saving(self, factor: float) -> tuple[float, float, float]:
        """Return the share of energy that more prompts would save at equal quality.

        Parameters
        ----------
        factor : float
            How many times as many prompts there would be, above 1.

        Returns
        -------
        saving, low, high : float
            Shares in [0, 1), with a 95 % interval.

        Raises
        ------
        ConfigError
            If `factor` is not above 1.

        Examples
        --------
        >>> found = Forecast(n_prompts=400, scale=1.0, error=0.25, measured=True)
        >>> [round(share, 2) for share in found.saving(2.0)]
        [0.03, 0.02, 0.05]
        """
        if not 1.0 < factor < math.inf:
            raise ConfigError(f"factor is {factor:g}: use a number above 1")
        fall = self.n_prompts**-_DECAY * (1.0 - factor**-_DECAY)
        mean, low, high = (
            1.0 - math.exp(-fall * max(self.scale + z * self.error, 0.0))
            for z in (0.0, -_Z95, _Z95)
        )
        return mean, low, high

    @property
    def worth_it(self) -> bool:
        """Whether twice the prompts are expected to save at least 3 % of the energy."""
        return self.saving(2.0)[0] >= _WORTH

    def advice(self) -> str:
        """Say how many prompts are missing for what gain."""
        gains = []
        for factor in _FACTORS:
            saving, low, high = self.saving(factor)
            more = _rounded((factor - 1) * self.n_prompts)
            gains.append(f"{more:,} more about {saving:.0%} ({low:.0%} to {high:.0%})")
        opening = "more would pay" if self.worth_it else "more would hardly pay"
        source = "" if self.measured else ", as with other pools: too few to tell from them"
        return (
            f"{self.n_prompts:,} graded prompts, {opening}: expected to save energy at equal "
            f"quality, {' and '.join(gains)}{source}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types."""
        return {
            "n_prompts": self.n_prompts,
            "measured": self.measured,
            "worth_it": self.worth_it,
            "advice": self.advice(),
            "savings": [
                {
                    "more_prompts": (factor - 1) * self.n_prompts,
                    **dict(zip(("saving", "low", "high"), self.saving(factor), strict=True)),
                }
                for factor in _FACTORS
            ],
        }


def forecast(
    matrix: AnswerMatrix,
    pool: Pool,
    *,
    extractor: FeatureExtractor | None = None,
    seed: int = 0,
    n_jobs: int = 2,
    progress: Callable[[str], None] | None = None,
) -> Forecast | None:
    """Estimate what more graded prompts would bring.

    Six small routers are trained, with linear stacks alone, which takes about as long as
    training one router on all prompts.

    Parameters
    ----------
    matrix : AnswerMatrix
        Evaluation runs of the training prompts; prompts that a model of the pool was not graded
        on are left out.
    pool : Pool
        The candidates.
    extractor : FeatureExtractor, optional
        Computes the features; the default one where absent.
    seed : int
        Seed of the parts.
    n_jobs : int
        Fits at a time.
    progress : callable, optional
        Called with a line of text before the work.

    Returns
    -------
    Forecast or None
        From the curves of other pools alone with fewer than 100 distinct prompts, where quarters
        are too small to learn from. None with more than 5,000 prompts, where more are hardly
        missed, and if all models of the pool were graded on less than half of the prompts.

    Raises
    ------
    KeyError
        If `matrix` lacks a model of the pool.
    """
    missing = np.isnan(matrix.columns(pool.names).quality)
    graded = ~missing.any(axis=1)
    count = int(graded.sum())
    if count > _MAX_PROMPTS or 2 * count < (~missing.all(axis=1)).sum() or not count:
        return None
    if len(np.unique(matrix.groups[graded])) < _MIN_GROUPS:
        return Forecast(count, _USUAL_SCALE, _SCALE_SPREAD, measured=False)
    if progress is not None:
        progress("training on halves and quarters to see what more prompts would bring")
    prompts = PoolPrompts.prepare(matrix, pool, extractor=extractor)
    part = assign_folds(prompts.cells.groups, _N_PARTS, seed)
    falls = []
    for half in ((0, 1), (2, 3)):
        train, test = np.isin(part, half), np.flatnonzero(~np.isin(part, half))
        whole = _ratio(prompts, pool, np.flatnonzero(train), test, seed, n_jobs)
        falls += [
            _ratio(prompts, pool, np.flatnonzero(part == quarter), test, seed, n_jobs) - whole
            for quarter in half
        ]
    unit = (count / 4) ** -_DECAY - (count / 2) ** -_DECAY
    scale = float(np.mean(falls)) / unit
    # Four differences tell their own error badly: half of it is the usual one.
    error = math.hypot(float(np.std(falls, ddof=1)) / 2 / unit, _USUAL_ERROR) / math.sqrt(2)
    trust = _SCALE_SPREAD**2 / (_SCALE_SPREAD**2 + error**2)
    return Forecast(
        n_prompts=count,
        scale=_USUAL_SCALE + trust * (scale - _USUAL_SCALE),
        error=_SCALE_SPREAD * math.sqrt(1.0 - trust),
        measured=True,
    )


def _ratio(
    prompts: PoolPrompts,
    pool: Pool,
    train: NDArray[np.intp],
    test: NDArray[np.intp],
    seed: int,
    n_jobs: int,
) -> float:
    """``log_energy_ratio`` on some prompts of a router trained on others."""
    split = prompts.split(train, test, seed)
    truth = prompts.truth(split, test)
    n_extra = 0 if split.extra is None else len(split.extra.models)
    linear = tuple(
        stack.name for stack in stack_variants(len(pool.models), n_extra) if stack.link == "linear"
    )
    options = FitOptions(heads=_RIDGES, stacks=linear)
    with threadpool_limits(1):
        found = fit_split(split, pool, options=options, n_jobs=n_jobs)
    assert found.outcome.choices is not None
    points = operating_points(found.outcome.choices, truth.quality, truth.energy_j)
    return log_energy_ratio(points, truth.zero_points, truth.reference_point)


def _rounded(count: float) -> int:
    """Two significant digits are all that a forecast has."""
    unit = int(10 ** max(math.floor(math.log10(max(count, 1.0))) - 1, 0))
    return round(count / unit) * unit
