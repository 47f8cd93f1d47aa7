"""Evaluation of a stored router on evaluation runs that it was not trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from router.decision import Decision
from router.dial import dial_sweep
from router.errors import DataError
from router.eval.frontier import zero_router_points
from router.eval.matrix import AnswerMatrix
from router.eval.protocol import QUALITY_BARS, Outcome, true_energy
from router.eval.scoring import Truth, score
from router.router import Router

__all__ = ["BarOutcome", "StoredEvaluation", "evaluate_stored"]

_Array = NDArray[np.float64]

_Z95 = 1.959964
_MIN_PROMPTS = 10
_LEAST_ENERGY_J = 1e-12


@dataclass(frozen=True, slots=True)
class BarOutcome:
    """What one quality bar led to.

    Attributes
    ----------
    bar : float
        Share of the reference model's mean quality that was asked for.
    quality, quality_low, quality_high : float
        Share that was kept, with a 95 % interval over prompts; those of one text count together.
    energy : float
        Energy relative to the reference model's.
    shares : dict of str to float
        Share of the prompts that went to each model.
    certified : bool
        Whether the router promised the bar for prompts like those of training.
    unlike_training : float
        Share of the prompts that the guard took out as unlike those of training.
    """

    bar: float
    quality: float
    quality_low: float
    quality_high: float
    energy: float
    shares: dict[str, float]
    certified: bool
    unlike_training: float

    @property
    def broken(self) -> bool:
        """Whether the bar was missed beyond chance."""
        return self.quality_high < self.bar


@dataclass(frozen=True, slots=True)
class StoredEvaluation:
    """Figures of a stored router on new prompts.

    Attributes
    ----------
    n_prompts : int
        Prompts that were used.
    reference : str
        Name of the reference model in the runs.
    figures : dict of str to float
        The protocol's figures; the zero router is the one that training would have mixed.
    bars : tuple of BarOutcome
        What each bar led to.
    """

    n_prompts: int
    reference: str
    figures: dict[str, float]
    bars: tuple[BarOutcome, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types; NaN becomes None."""
        found = asdict(self)
        found["figures"] = {
            name: value if np.isfinite(value) else None for name, value in self.figures.items()
        }
        for row, outcome in zip(found["bars"], self.bars, strict=True):
            row["broken"] = outcome.broken
        return found


def evaluate_stored(
    router: Router,
    matrix: AnswerMatrix,
    embeddings: ArrayLike | None = None,
    *,
    bars: Sequence[float] = QUALITY_BARS,
    seed: int = 0,
) -> StoredEvaluation:
    """Evaluate a stored router.

    The figures are those of its frontier, whatever it promises. What each bar led to is what
    :meth:`router.Router.route` does by default: with the certified settings, the fallback where
    nothing is certified, and the guard.

    Parameters
    ----------
    router : Router
        The router.
    matrix : AnswerMatrix
        Runs of the pool's models, in the pool's order, every model graded on every prompt.
    embeddings : array-like of shape (n_prompts, n_embedding), optional
        Embeddings of the prompts, for routers trained on precomputed ones.
    bars : sequence of float
        Quality bars to try.
    seed : int
        Seed of the simulated calibration floor.

    Returns
    -------
    StoredEvaluation
        Figures and outcomes.

    Raises
    ------
    DataError
        If there are fewer than ten prompts.
    """
    if len(matrix) < _MIN_PROMPTS:
        raise DataError(f"{len(matrix)} new prompts: at least {_MIN_PROMPTS} are needed")
    artifact = router.artifact
    scores = router.score(matrix.prompts, embeddings)
    energy_j = true_energy(matrix, artifact.pool, scores.completion_tokens)
    expected_j = artifact.pool.joules(scores.prompt_tokens, scores.completion_tokens)
    reference, means = artifact.reference, artifact.dial.means
    truth = Truth(
        quality=matrix.quality,
        energy_j=energy_j,
        completion_tokens=matrix.completion_tokens,
        reference=reference,
        # the mean over one row of means is that row
        zero_points=zero_router_points(
            np.array([means.quality]), np.array([means.energy_j]), matrix.quality, energy_j
        ),
    )
    outcome = Outcome(
        choices=dial_sweep(scores.quality, expected_j, means, reference),
        quality=scores.probability,
        energy_j=expected_j,
        completion_tokens=scores.completion_tokens,
    )
    return StoredEvaluation(
        n_prompts=len(matrix),
        reference=artifact.pool.models[reference].name,
        figures=score(outcome, truth, seed).figures,
        bars=tuple(
            _bar(
                router,
                router.route_many(matrix.prompts, quality=bar, embeddings=embeddings),
                matrix,
                energy_j,
            )
            for bar in bars
        ),
    )


def _bar(
    router: Router, decisions: Sequence[Decision], matrix: AnswerMatrix, energy_j: _Array
) -> BarOutcome:
    quality = matrix.quality
    rows = np.arange(len(quality))
    ids = [model.id for model in router.models]
    chosen = np.array([ids.index(decision.model) for decision in decisions])
    reference, guard = router.artifact.reference, router.artifact.guard
    base = quality[:, reference]
    kept = quality[rows, chosen]
    mean = float(base.mean())
    mean_j = max(float(energy_j[:, reference].mean()), _LEAST_ENERGY_J)
    ratio, error = 1.0, 0.0  # of nothing, any share is kept
    if mean > 0:
        ratio = float(kept.mean()) / mean
        # The delta method for a ratio of paired means, over texts: repeats are no new evidence.
        _, text = np.unique(matrix.groups, return_inverse=True)
        residuals = np.bincount(text, weights=kept - ratio * base)
        n_texts = len(residuals)
        spread = math.sqrt(float(residuals @ residuals) * n_texts / max(n_texts - 1, 1))
        error = spread / len(rows) / mean
    counts = np.bincount(chosen, minlength=quality.shape[1]) / len(rows)
    novel = [
        guard is not None and decision.novelty is not None and decision.novelty >= guard.level
        for decision in decisions
    ]
    return BarOutcome(
        bar=decisions[0].quality,
        quality=ratio,
        quality_low=ratio - _Z95 * error,
        quality_high=ratio + _Z95 * error,
        energy=float(energy_j[rows, chosen].mean()) / mean_j,
        shares=dict(zip(ids, counts.tolist(), strict=True)),
        certified=any(d.certificate is not None and d.certificate.holds for d in decisions),
        unlike_training=float(np.mean(novel)),
    )
