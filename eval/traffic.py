"""What held-out traffic gets at each quality bar: models, quality kept, energy spent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from router.eval.intervals import Interval, interval95
from router.eval.protocol import QUALITY_BARS, SERVED_BARS
from router.eval.scoring import Truth
from router.eval.served import served_figures

__all__ = ["BarTraffic", "SeedTraffic", "ServedTraffic", "served_traffic"]

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SeedTraffic:
    """The test prompts of one split, and where a router sends them.

    Attributes
    ----------
    seed : int
        Seed of the split.
    prompt_ids, tasks, texts : tuple of str
        Id, task label and text of each of the ``n_test`` prompts.
    truth : Truth
        What happened.
    choices : ndarray of shape (len(SERVED_BARS), n_test)
        Column of the model that serves each prompt at each bar.
    probability, energy_j : ndarray of shape (n_test, n_models)
        Predicted probability of a good answer, and predicted energy in joules.
    mixtures : ndarray of shape (len(SERVED_BARS), n_models)
        Shares of the models that the zero router serves at each bar.
    """

    seed: int
    prompt_ids: tuple[str, ...]
    tasks: tuple[str, ...]
    texts: tuple[str, ...]
    truth: Truth
    choices: NDArray[np.integer]
    probability: _Floats
    energy_j: _Floats
    mixtures: _Floats

    def chosen(self, bar: float) -> NDArray[np.intp]:
        """Return the columns that serve the prompts at one of the `SERVED_BARS`."""
        return np.asarray(self.choices[SERVED_BARS.index(bar)], np.intp)


@dataclass(frozen=True, slots=True)
class BarTraffic:
    """What one quality bar led to on test prompts.

    Attributes
    ----------
    bar : float
        Share of the reference model's mean quality that was asked for.
    quality, energy : tuple of float
        What was kept and spent, relative to the reference model; one value a seed.
    zero_quality, zero_energy : tuple of float
        The same of the zero router, served at the same bar.
    energy_j, zero_energy_j, reference_energy_j : tuple of float
        Joules of a request: routed, by the zero router, always by the reference model.
    shares : tuple of float
        Share of the prompts that each model of the pool gets, mean over the seeds.
    """

    bar: float
    quality: tuple[float, ...]
    energy: tuple[float, ...]
    zero_quality: tuple[float, ...]
    zero_energy: tuple[float, ...]
    energy_j: tuple[float, ...]
    zero_energy_j: tuple[float, ...]
    reference_energy_j: tuple[float, ...]
    shares: tuple[float, ...]

    @property
    def saved_j(self) -> Interval:
        """Joules a request that routing saves, against always using the reference model."""
        return interval95(np.subtract(self.reference_energy_j, self.energy_j))

    @property
    def saved_against_zero_j(self) -> Interval:
        """Joules a request that routing saves, against the zero router at the same bar."""
        return interval95(np.subtract(self.zero_energy_j, self.energy_j))

    @property
    def n_kept(self) -> int:
        """Seeds in which the bar was kept."""
        return sum(quality >= self.bar for quality in self.quality)


@dataclass(frozen=True, slots=True)
class ServedTraffic:
    """What each quality bar led to.

    Attributes
    ----------
    bars : tuple of BarTraffic
        One for each of the `SERVED_BARS`.
    figures : mapping of str to tuple of float
        ``served_log_energy_ratio``, ``zero_served_log_energy_ratio`` and their difference, as
        :func:`router.eval.served.served_figures` defines them; one value a seed.
    """

    bars: tuple[BarTraffic, ...]
    figures: Mapping[str, tuple[float, ...]]

    def at(self, bar: float) -> BarTraffic:
        """Return what one of the `SERVED_BARS` led to."""
        return next(found for found in self.bars if found.bar == bar)

    def interval(self, figure: str) -> Interval:
        """Return mean and 95 % interval of a figure."""
        return interval95(self.figures[figure])

    def to_dict(self) -> dict[str, Any]:
        """Return everything, with means and intervals beside the values of the seeds."""
        return {
            "figures": {
                name: {**asdict(self.interval(name)), "per_seed": list(values)}
                for name, values in self.figures.items()
            },
            "bars": [
                {
                    "bar": found.bar,
                    "n_kept": found.n_kept,
                    "shares": list(found.shares),
                    "saved_j": asdict(found.saved_j),
                    "saved_against_zero_j": asdict(found.saved_against_zero_j),
                    **{
                        name: {
                            **asdict(interval95(getattr(found, name))),
                            "per_seed": list(getattr(found, name)),
                        }
                        for name in _PER_SEED
                    },
                }
                for found in self.bars
            ],
        }


_PER_SEED = (
    "quality",
    "energy",
    "zero_quality",
    "zero_energy",
    "energy_j",
    "zero_energy_j",
    "reference_energy_j",
)


def served_traffic(parts: Sequence[SeedTraffic]) -> ServedTraffic:
    """Describe what each bar led to.

    Parameters
    ----------
    parts : sequence of SeedTraffic
        One for each seed, at least one.

    Returns
    -------
    ServedTraffic
        Quality kept, energy spent and models used at each of the `SERVED_BARS`.
    """
    headline = [SERVED_BARS.index(bar) for bar in QUALITY_BARS]
    ratios = [
        served_figures(part.choices[headline], part.mixtures[headline], part.truth)
        for part in parts
    ]
    figures = [
        served_figures(part.choices, part.mixtures, part.truth, SERVED_BARS) for part in parts
    ]
    names = ("served_log_energy_ratio", "zero_served_log_energy_ratio", "served_minus_zero_served")
    return ServedTraffic(
        bars=tuple(_bar(parts, figures, number) for number in range(len(SERVED_BARS))),
        figures={name: tuple(found[name] for found in ratios) for name in names},
    )


def _bar(
    parts: Sequence[SeedTraffic], figures: Sequence[Mapping[str, float]], number: int
) -> BarTraffic:
    bar = SERVED_BARS[number]
    energies, zero_energies, references, shares = [], [], [], []
    for part in parts:
        chosen = part.choices[number].astype(np.intp)
        n_test, n_models = part.truth.energy_j.shape
        energies.append(float(part.truth.energy_j[np.arange(n_test), chosen].mean()))
        zero_energies.append(float(part.mixtures[number] @ part.truth.model_points[:, 0]))
        references.append(float(part.truth.reference_point[0]))
        shares.append(np.bincount(chosen, minlength=n_models) / n_test)

    def values(name: str) -> tuple[float, ...]:
        return tuple(found[f"{name}_{bar:.2f}"] for found in figures)

    return BarTraffic(
        bar=bar,
        quality=values("served_quality"),
        energy=values("served_energy"),
        zero_quality=values("zero_served_quality"),
        zero_energy=values("zero_served_energy"),
        energy_j=tuple(energies),
        zero_energy_j=tuple(zero_energies),
        reference_energy_j=tuple(references),
        shares=tuple(np.mean(shares, axis=0).tolist()),
    )
