"""Does the promise hold? Certify thousands of times where the truth is known, and count.

A router is trained on some of the prompts; the rest are called the population. Calibration
prompts are drawn from it again and again, bars are certified on each draw, and the quality that
each certified setting keeps on the whole population says whether the certificate was right. The
draws are with replacement: they are then independent prompts from the population, for which the
promise is exact, and a draw may be larger than the population. Draws without replacement know the
population better than the promise assumes, and would make it look safer than it is.

``python -m router.training.certify POOL.toml`` runs it on a pool's evaluation runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from router.dial import Dial, PoolMeans, Setting
from router.eval.matrix import AnswerMatrix
from router.eval.protocol import feature_rows, true_energy
from router.features import FeatureExtractor
from router.pool import Pool
from router.training.certify.paired import gather
from router.training.certify.path import certification_path, path_choices
from router.training.certify.sequence import certified_steps
from router.training.crossfit import assign_folds
from router.training.fitting import fit_router
from router.training.targets import build_targets
from router.training.train import expected

__all__ = ["Cell", "Population", "population_of", "render_cells", "simulate"]

_Floats = NDArray[np.float64]
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
        dial = Dial.measure(
            self.expected_quality,
            self.expected_energy_j,
            self.quality,
            self.energy_j,
            self.means,
            self.reference,
        )
        setting = dial.setting_for(bar)
        return 1.0 if setting is None else dial.energy[dial.settings.index(setting)]


@dataclass(frozen=True, slots=True)
class Cell:
    """What came of one number of calibration prompts, bar and error.

    Attributes
    ----------
    n : int
        Calibration prompts.
    bar : float
        Share of the reference model's mean quality that was asked for.
    error : float
        One less the confidence.
    draws : int
        Calibration samples that were drawn.
    broken : float
        Share of the draws in which the certified setting keeps less than the bar.
    limit : float
        What that share may be: the error and three standard deviations of the simulation.
    uncertified : float
        Share of the draws in which nothing was certified and the reference model serves.
    energy : float
        Mean energy of what serves, relative to the reference model's.
    energy_ratio : float
        The same relative to the setting that the population itself would allow.
    """

    n: int
    bar: float
    error: float
    draws: int
    broken: float
    limit: float
    uncertified: float
    energy: float
    energy_ratio: float

    @property
    def kept(self) -> bool:
        """Whether no more certificates are wrong than may be."""
        return self.broken <= self.limit

    def to_dict(self) -> dict[str, Any]:
        """Return the cell as JSON types."""
        return asdict(self) | {"kept": self.kept}


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
    energy_j = true_energy(matrix, pool)
    graded = np.flatnonzero(~np.isnan(matrix.columns(pool.names).quality).any(axis=1))
    cells, energy_j = matrix.columns(pool.names).rows(graded), energy_j[graded]
    others = [name for name in matrix.models if name not in pool.names]
    part = assign_folds(cells.groups, _FIFTHS, seed) < _TRAINING_FIFTHS
    train, rest = np.flatnonzero(part), np.flatnonzero(~part)
    extra = matrix.columns(others).rows(graded[train]) if others else None
    features = (extractor or FeatureExtractor()).extract(cells.prompts)
    targets = build_targets(cells.rows(train), extra, pool)
    fitted = fit_router(
        feature_rows(features, train),
        targets,
        cells.groups[train],
        energy_j[train],
        pool,
        seed=seed,
        n_jobs=n_jobs,
        progress=progress,
    )
    with threadpool_limits(1):
        quality, cost, *_ = expected(
            fitted, feature_rows(features, rest), cells.rows(rest).prompts, pool
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


def simulate(
    population: Population,
    *,
    sizes: Sequence[int] = (300, 1000, 3000),
    bars: Sequence[float] = (0.90, 0.95, 0.98),
    errors: Sequence[float] = (0.1, 0.2),
    draws: int = 500,
    method: str = "exact",
    seed: int = 0,
    progress: _Progress | None = None,
) -> list[Cell]:
    """Certify on many calibration samples and compare with the whole population.

    Parameters
    ----------
    population : Population
        Where the truth is known.
    sizes : sequence of int
        Numbers of calibration prompts.
    bars : sequence of float
        Shares of the reference model's mean quality.
    errors : sequence of float
        One less the confidences.
    draws : int
        Calibration samples a size.
    method : str
        One of :data:`router.training.certify.paired.METHODS`.
    seed : int
        Seed of the draws.
    progress : callable, optional
        Called with a line of text after each size.

    Returns
    -------
    list of Cell
        By size, bar and error.
    """
    say = progress or (lambda line: None)
    best = {bar: population.least_energy(bar) for bar in bars}
    reference = population.quality[:, population.reference]
    reference_j = float(population.energy_j[:, population.reference].mean())
    cells = []
    for n in sizes:
        rng = np.random.default_rng([seed, n])
        path = population.path(n)
        quality, energy_j = population.outcomes(path)
        kept = np.concatenate([[1.0], quality.mean(axis=1) / reference.mean()])
        energy = np.concatenate([[1.0], energy_j.mean(axis=1) / reference_j])
        served: dict[tuple[float, float], list[int]] = {(b, e): [] for b in bars for e in errors}
        for _ in range(draws):
            rows = rng.integers(0, len(reference), n)
            evidence = gather(method, quality[:, rows], reference[rows], rng.random(n))
            measured = energy_j[:, rows].mean(axis=1)
            for (bar, error), found in served.items():
                steps = certified_steps(evidence, bar, error)
                # as in serving: of the certified settings the one that took the least energy
                found.append(1 + int(measured[:steps].argmin()) if steps else 0)
        for (bar, error), found in served.items():
            serving = np.array(found)
            paid = float(energy[serving].mean())
            cells.append(
                Cell(
                    n=n,
                    bar=bar,
                    error=error,
                    draws=draws,
                    broken=float((kept[serving] < bar).mean()),
                    limit=error + 3.0 * sqrt(error * (1.0 - error) / draws),
                    uncertified=float((serving == 0).mean()),
                    energy=paid,
                    energy_ratio=paid / best[bar],
                )
            )
        say(f"{draws} samples of {n} prompts, {len(path)} settings")
    return cells


def render_cells(cells: Sequence[Cell]) -> str:
    """Return the cells as a table in Markdown."""
    lines = [
        "| prompts | bar | confidence | broken | may be | not certified | energy "
        "| to the population's own |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {c.n:,} | {c.bar:g} | {1 - c.error:g} | {c.broken:.3f} | {c.limit:.3f} "
        f"| {c.uncertified:.2f} | {c.energy:.3f} | {c.energy_ratio:.2f} |"
        for c in cells
    ]
    return "\n".join(lines)
