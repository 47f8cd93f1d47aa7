"""Does the promise hold? Certify thousands of times where the truth is known, and count.

A router is trained on some of the prompts; the rest are called the population. Calibration
prompts are drawn from it again and again, bars are certified on each draw, and the quality that
each certified setting keeps on the whole population says whether the certificate was right. The
draws are with replacement: they are then independent prompts from the population, for which the
promise is exact, and a draw may be larger than the population. Draws without replacement know the
population better than the promise assumes, and would make it look safer than it is.

What a promise costs has a floor, whatever the test: a setting whose true margin over the bar is
small against the standard error of the calibration prompts looks the same as one that breaks the
bar. So the energy is compared with that of an ideal test as well, which knows the true standard
deviation and needs no sequence.

``python -m router.training.certify POOL.toml`` runs it on a pool's evaluation runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np

from router.training.certify.paired import gather
from router.training.certify.population import Population
from router.training.certify.sequence import certified_steps

__all__ = ["Cell", "render_cells", "simulate"]

_Progress = Callable[[str], None]


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
    ideal_ratio : float
        What an ideal test would come to relative to that setting.
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
    ideal_ratio: float

    @property
    def kept(self) -> bool:
        """Whether no more certificates are wrong than may be."""
        return self.broken <= self.limit

    def to_dict(self) -> dict[str, Any]:
        """Return the cell as JSON types."""
        return asdict(self) | {"kept": self.kept}


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
        Called with lines of text.

    Returns
    -------
    list of Cell
        By size, bar and error.
    """
    say = progress or (lambda line: None)
    best = {bar: population.least_energy(bar) for bar in bars}
    reference = population.quality[:, population.reference]
    explained = ", ".join(f"{population.explained(bar):.3f} at {bar:g}" for bar in bars)
    say(f"share of the paired differences that the expectations explain: {explained}")
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
                    ideal_ratio=population.ideal_energy(path, n, bar, error) / best[bar],
                )
            )
        say(f"{draws} samples of {n} prompts, {len(path)} settings")
    return cells


def render_cells(cells: Sequence[Cell]) -> str:
    """Return the cells as a table in Markdown."""
    lines = [
        "| prompts | bar | confidence | broken | may be | not certified | energy "
        "| to the population's own | ideal test |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {c.n:,} | {c.bar:g} | {1 - c.error:g} | {c.broken:.3f} | {c.limit:.3f} "
        f"| {c.uncertified:.2f} | {c.energy:.3f} | {c.energy_ratio:.2f} | {c.ideal_ratio:.2f} |"
        for c in cells
    ]
    return "\n".join(lines)
