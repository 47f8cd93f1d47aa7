"""Baselines that do not look at the prompt, and the oracle that looks at the answers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.dial import dial_sweep
from router.eval.frontier import upper_hull
from router.eval.protocol import BenchmarkSplit, Outcome

__all__ = [
    "ORACLE",
    "RANDOM_SHARES",
    "ZERO_ROUTER",
    "Cheapest",
    "Oracle",
    "RandomShares",
    "Reference",
    "ZeroRouter",
]

ZERO_ROUTER = "zero router"
RANDOM_SHARES = "random at the router's shares"
ORACLE = "oracle"


@dataclass(frozen=True, slots=True)
class Cheapest:
    """Always the model of the least mean energy."""

    name: str = "cheapest"

    def run(self, split: BenchmarkSplit) -> Outcome:
        """Choose by the training prompts' mean true energy."""
        cheapest = int(split.train_energy_j.mean(axis=0).argmin())
        return Outcome(shares=_always([cheapest], len(split.train.models)))


@dataclass(frozen=True, slots=True)
class Reference:
    """Always the reference model."""

    name: str = "reference"

    def run(self, split: BenchmarkSplit) -> Outcome:
        """Choose by the training prompts' mean quality."""
        return Outcome(shares=_always([split.reference], len(split.train.models)))


@dataclass(frozen=True, slots=True)
class ZeroRouter:
    """The models on the upper hull of the training means, mixed at random."""

    name: str = ZERO_ROUTER

    def run(self, split: BenchmarkSplit) -> Outcome:
        """Give every model to mix as one setting; the frontier's hull does the mixing."""
        means = np.stack([split.train_energy_j.mean(axis=0), split.train.quality.mean(axis=0)], 1)
        hull = {tuple(corner) for corner in upper_hull(means)}
        mixed = [j for j, mean in enumerate(means) if tuple(mean) in hull]
        return Outcome(shares=_always(mixed, len(means)))


@dataclass(frozen=True, slots=True)
class RandomShares:
    """Random choice with the model shares that the router has at each setting.

    The outcome is the expected one, without the luck of a draw.

    Parameters
    ----------
    choices : ndarray of shape (n_settings, n_test)
        What the router chose.
    """

    choices: NDArray[np.integer]
    name: str = RANDOM_SHARES

    def run(self, split: BenchmarkSplit) -> Outcome:
        """Count the models that the router chose at each setting."""
        models = np.arange(len(split.train.models))
        shares = [(row[:, None] == models).mean(axis=0) for row in self.choices]
        return Outcome(shares=np.array(shares))


@dataclass(frozen=True, slots=True)
class Oracle:
    """Knows quality and energy of every answer before it is given.

    Parameters
    ----------
    quality, energy_j : ndarray of shape (n_test, n_models)
        True quality and true energy in joules of the test prompts.
    """

    quality: NDArray[np.float64]
    energy_j: NDArray[np.float64]
    name: str = ORACLE

    def run(self, split: BenchmarkSplit) -> Outcome:
        """Sweep the energy price over the truth."""
        choices = dial_sweep(self.quality, self.energy_j, split.means, split.reference)
        return Outcome(choices=choices)


def _always(models: list[int], n_models: int) -> NDArray[np.float64]:
    return np.eye(n_models)[models]
