"""Prompts whose truth is known, with a router that has not seen them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from router.dial import Dial, PoolMeans, Setting, choose
from router.eval.matrix import AnswerMatrix
from router.eval.protocol import feature_rows, true_energy
from router.features import FeatureExtractor, Features
from router.pool import Pool
from router.training.certify.path import certification_path, path_choices
from router.training.crossfit import assign_folds
from router.training.fitting import fit_router
from router.training.targets import build_targets
from router.training.train import expected

__all__ = ["GradedRuns", "Population", "population_of"]

_Floats = NDArray[np.float64]
_Index = NDArray[np.integer]
_Progress = Callable[[str], None]

_FIFTHS = 5
_TRAINING_FIFTHS = 2


@dataclass(frozen=True, slots=True)
class Population:
    """Prompts with known outcomes, a router that has not seen them, and its training evidence.

    Attributes
    ----------
    expected_quality, expected_energy_j : ndarray of shape (n, n_models)
        What the router expects of each prompt.
    quality, energy_j : ndarray of shape (n, n_models)
        What happened.
    training : tuple of ndarray
        The same four arrays for the training prompts, expectations out of fold.
    means : PoolMeans
        Mean outcomes on the training prompts.
    reference : int
        Column of the reference model.
    """

    expected_quality: _Floats
    expected_energy_j: _Floats
    quality: _Floats
    energy_j: _Floats
    training: tuple[_Floats, _Floats, _Floats, _Floats]
    means: PoolMeans
    reference: int

    def rows(self, index: NDArray[np.integer]) -> Population:
        """Return some of the prompts as a population."""
        names = ("expected_quality", "expected_energy_j", "quality", "energy_j")
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def path(self, n_calibration: int) -> tuple[Setting, ...]:
        """Return the path that training lays for a number of calibration prompts."""
        return certification_path(*self.training, self.means, self.reference, n_calibration)

    def outcomes(self, path: Sequence[Setting]) -> tuple[_Floats, _Floats]:
        """Return quality and energy of each setting and prompt, each (n_settings, n)."""
        rows = np.arange(len(self.quality))
        chosen = path_choices(path, self.expected_quality, self.expected_energy_j, self.means)
        return self.quality[rows, chosen], self.energy_j[rows, chosen]

    def least_energy(self, bar: float) -> float:
        """Return the energy of the setting that the population itself allows for a bar.

        Relative to the reference model's; 1 where only that keeps the bar.
        """
        dial = self._dial()
        setting = dial.setting_for(bar)
        return 1.0 if setting is None else dial.energy[dial.settings.index(setting)]

    def explained(self, bar: float) -> float:
        """Return how much of the paired differences the router's expectations explain.

        By that share a control variate would lower the variance, if the mean of the expectations
        were known from prompts without grades (prediction-powered inference: Angelopoulos, Bates,
        Fannjiang, Jordan and Zrnic, Science 382, 2023).

        Parameters
        ----------
        bar : float
            Share of the reference model's mean quality; its setting is that of
            :meth:`least_energy`.

        Returns
        -------
        float
            Squared correlation, over the prompts, of the router's grade less the bar times the
            reference model's, as expected and as it happened; 0 where only that model is left.
        """
        setting = self._dial().setting_for(bar)
        if setting is None:
            return 0.0
        rows, expected = np.arange(len(self.quality)), self.expected_quality
        chosen = choose(expected, self.expected_energy_j, self.means, setting)
        pair = [t[rows, chosen] - bar * t[:, self.reference] for t in (expected, self.quality)]
        (first, both), (_, second) = np.cov(pair).tolist()
        return float(both**2 / (first * second)) if first * second else 0.0

    def _dial(self) -> Dial:
        return Dial.measure(
            self.expected_quality,
            self.expected_energy_j,
            self.quality,
            self.energy_j,
            self.means,
            self.reference,
        )

    def ideal_energy(self, path: Sequence[Setting], n: int, bar: float, error: float) -> float:
        """Return the energy that an ideal test on n calibration prompts would come to.

        It is a one-sided test of the mean of the paired differences, grade less bar times the
        reference model's grade, that knows their standard deviation: the most powerful one for
        normal means (Neyman and Pearson 1933). A setting counts that it accepts at least every
        other time, so whose true margin is the normal quantile of the confidence, in standard
        errors, or more.

        Parameters
        ----------
        path : sequence of Setting
            The settings; any of them, and not only those before the first that fails.
        n : int
            Calibration prompts.
        bar : float
            Share of the reference model's mean quality.
        error : float
            One less the confidence.

        Returns
        -------
        float
            The least energy, relative to the reference model's; 1 where only that is left.
        """
        quality, energy_j = self.outcomes(path)
        surplus = quality - bar * self.quality[:, self.reference]
        needed = NormalDist().inv_cdf(1.0 - error) * surplus.std(axis=1) / sqrt(n)
        energy = energy_j.mean(axis=1) / self.energy_j[:, self.reference].mean()
        return float(energy[surplus.mean(axis=1) >= needed].min(initial=1.0))


@dataclass(frozen=True, slots=True)
class GradedRuns:
    """Prompts that every model of a pool was graded on, ready to train on any part of them.

    Attributes
    ----------
    pool : Pool
        The candidates.
    cells : AnswerMatrix
        Their runs, in the order of the pool.
    energy_j : ndarray of shape (n, n_models)
        True energy in joules.
    features : Features
        Features of the prompts.
    others : AnswerMatrix or None
        Runs of models outside the pool, as extra targets.
    """

    pool: Pool
    cells: AnswerMatrix
    energy_j: _Floats
    features: Features
    others: AnswerMatrix | None

    @classmethod
    def of(
        cls, matrix: AnswerMatrix, pool: Pool, extractor: FeatureExtractor | None = None
    ) -> GradedRuns:
        """Take the complete prompts of evaluation runs.

        Parameters
        ----------
        matrix : AnswerMatrix
            Evaluation runs; prompts that a model of the pool was not graded on are left out.
        pool : Pool
            The candidates.
        extractor : FeatureExtractor, optional
            Computes the features; the default one where absent.
        """
        graded = np.flatnonzero(~np.isnan(matrix.columns(pool.names).quality).any(axis=1))
        cells = matrix.columns(pool.names).rows(graded)
        others = [name for name in matrix.models if name not in pool.names]
        return cls(
            pool=pool,
            cells=cells,
            energy_j=true_energy(matrix, pool)[graded],
            features=(extractor or FeatureExtractor()).extract(cells.prompts),
            others=matrix.columns(others).rows(graded) if others else None,
        )

    def population(
        self,
        train: _Index,
        rest: _Index,
        *,
        seed: int = 0,
        n_jobs: int = 2,
        progress: _Progress | None = None,
    ) -> Population:
        """Train on some of the prompts; others are the population.

        Parameters
        ----------
        train, rest : ndarray of int
            Positions of either; no group of equal prompts should be on both sides.
        seed : int
            Seed of the training.
        n_jobs : int
            Fits at a time.
        progress : callable, optional
            Called with a line of text after each step.
        """
        cells, energy_j = self.cells, self.energy_j
        extra = None if self.others is None else self.others.rows(train)
        fitted = fit_router(
            feature_rows(self.features, train),
            build_targets(cells.rows(train), extra, self.pool),
            cells.groups[train],
            energy_j[train],
            self.pool,
            seed=seed,
            n_jobs=n_jobs,
            progress=progress,
        )
        with threadpool_limits(1):
            quality, cost, *_ = expected(
                fitted, feature_rows(self.features, rest), cells.rows(rest).prompts, self.pool
            )
        evidence = fitted.evidence
        return Population(
            expected_quality=quality,
            expected_energy_j=cost,
            quality=cells.quality[rest],
            energy_j=energy_j[rest],
            training=(evidence.quality, evidence.energy_j, cells.quality[train], energy_j[train]),
            means=fitted.dial.means,
            reference=fitted.reference,
        )


def population_of(
    matrix: AnswerMatrix,
    pool: Pool,
    *,
    seed: int = 0,
    extractor: FeatureExtractor | None = None,
    n_jobs: int = 2,
    progress: _Progress | None = None,
) -> Population:
    """Train on two fifths of the prompts; the others are the population.

    Parameters
    ----------
    matrix : AnswerMatrix
        Evaluation runs; prompts that a model of the pool was not graded on are left out.
    pool : Pool
        The candidates.
    seed : int
        Seed of the split and of the training.
    extractor : FeatureExtractor, optional
        Computes the features; the default one where absent.
    n_jobs : int
        Fits at a time.
    progress : callable, optional
        Called with a line of text after each step.

    Returns
    -------
    Population
        Groups of equal prompts are on one side of the split.
    """
    runs = GradedRuns.of(matrix, pool, extractor)
    part = assign_folds(runs.cells.groups, _FIFTHS, seed) < _TRAINING_FIFTHS
    train, rest = np.flatnonzero(part), np.flatnonzero(~part)
    return runs.population(train, rest, seed=seed, n_jobs=n_jobs, progress=progress)
