"""The worst decisions: prompts where another choice would have been better, and why it was not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from router.eval.traffic import SeedTraffic

__all__ = ["Loss", "Regret", "worst_decisions"]

_HEAD, _TAIL = 180, 60


class Loss(Enum):
    """What a decision lost."""

    QUALITY = "quality"
    ENERGY = "energy"


@dataclass(frozen=True, slots=True)
class Regret:
    """One decision, and the one that would have been better.

    Attributes
    ----------
    loss : Loss
        What was lost: quality, where the reference model was better; energy, where a model that
        takes less was at least as good.
    prompt_id, task, text : str
        The prompt; a long text without its middle.
    chosen, better : str
        The model that was chosen, and the one that it should have been.
    quality, better_quality : float
        Quality of their answers.
    probability, better_probability : float
        What was predicted for them: the probability of a good answer.
    energy_j, better_energy_j : float
        Joules that they spent.
    predicted_energy_j, predicted_better_energy_j : float
        Joules that were predicted.
    """

    loss: Loss
    prompt_id: str
    task: str
    text: str
    chosen: str
    better: str
    quality: float
    better_quality: float
    probability: float
    better_probability: float
    energy_j: float
    better_energy_j: float
    predicted_energy_j: float
    predicted_better_energy_j: float

    @property
    def reason(self) -> str:
        """Why it was decided so, in a sentence."""
        gap = self.better_probability - self.probability
        more_j = self.predicted_better_energy_j - self.predicted_energy_j
        by_average = (
            f"{self.chosen} was the better bargain on average, and expectations were moved towards "
            "that average."
        )
        if self.loss is Loss.QUALITY:
            if gap <= 0:
                return (
                    f"{self.chosen} was expected to be at least as good "
                    f"({self.probability:.0%} against {self.better_probability:.0%})."
                )
            if more_j > 0:
                return (
                    f"{self.better} was expected to be better by {_points(gap)}, too little for "
                    f"{_joules(more_j)} more."
                )
            return by_average
        if gap < 0:
            return (
                f"{self.chosen} was expected to be better by {_points(-gap)} "
                f"({self.probability:.0%} against {self.better_probability:.0%})."
            )
        if more_j >= 0:
            return (
                f"{self.better} was expected to take more energy "
                f"({_joules(self.predicted_better_energy_j)} against "
                f"{_joules(self.predicted_energy_j)})."
            )
        return by_average


def worst_decisions(
    parts: Sequence[SeedTraffic], bar: float, models: Sequence[str], n: int = 6
) -> tuple[Regret, ...]:
    """Find the decisions that lost most quality and most energy.

    Parameters
    ----------
    parts : sequence of SeedTraffic
        One for each seed.
    bar : float
        One of the ``SERVED_BARS``.
    models : sequence of str
        Names of the pool's models.
    n : int
        Most decisions of each kind.

    Returns
    -------
    tuple of Regret
        First those that lost quality, by the quality lost times the predicted probability of a
        good answer: the most confident mistakes. Then those that lost energy, by joules, among
        answers that were good. Every prompt once in each kind.
    """
    found: list[Regret] = []
    for loss in Loss:
        scored = []
        for number, part in enumerate(parts):
            better, score = _regretted(part, bar, loss)
            rows = np.argsort(-score, kind="stable")[: n * len(parts)]
            scored += [
                (-float(score[row]), part.prompt_ids[row], number, int(row), int(better[row]))
                for row in rows
                if score[row] > 0
            ]
        seen: set[str] = set()
        for _, prompt_id, number, row, better_column in sorted(scored):
            if prompt_id not in seen and len(seen) < n:
                seen.add(prompt_id)
                found.append(_regret(parts[number], bar, models, loss, row, better_column))
    return tuple(found)


def _points(gap: float) -> str:
    if gap < 0.01:
        return "less than 1 point"
    count = round(100 * gap)
    return f"{count} point{'' if count == 1 else 's'}"


def _joules(energy_j: float) -> str:
    return f"{energy_j:,.0f} J" if energy_j >= 10 else f"{energy_j:.2g} J"


def _regretted(
    part: SeedTraffic, bar: float, loss: Loss
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return the better column and how much was lost, for each prompt."""
    truth, chosen = part.truth, part.chosen(bar)
    rows = np.arange(len(chosen))
    quality, spent_j = truth.quality[rows, chosen], truth.energy_j[rows, chosen]
    if loss is Loss.QUALITY:
        better = np.full(len(chosen), truth.reference, np.intp)
        lost = truth.quality[rows, better] - quality
        return better, lost * part.probability[rows, chosen]
    enough = truth.quality >= quality[:, None]
    better = np.where(enough, truth.energy_j, np.inf).argmin(axis=1)
    lost = np.where(quality > 0, spent_j - truth.energy_j[rows, better], 0.0)
    return better, lost


def _regret(
    part: SeedTraffic, bar: float, models: Sequence[str], loss: Loss, row: int, better: int
) -> Regret:
    chosen, truth = int(part.chosen(bar)[row]), part.truth
    return Regret(
        loss=loss,
        prompt_id=part.prompt_ids[row],
        task=part.tasks[row],
        text=_shortened(part.texts[row]),
        chosen=models[chosen],
        better=models[better],
        quality=float(truth.quality[row, chosen]),
        better_quality=float(truth.quality[row, better]),
        probability=float(part.probability[row, chosen]),
        better_probability=float(part.probability[row, better]),
        energy_j=float(truth.energy_j[row, chosen]),
        better_energy_j=float(truth.energy_j[row, better]),
        predicted_energy_j=float(part.energy_j[row, chosen]),
        predicted_better_energy_j=float(part.energy_j[row, better]),
    )


def _shortened(text: str) -> str:
    """Return the head and the tail of a text, on one line."""
    words = " ".join(text[: 4 * _HEAD].split())
    if len(text) <= 4 * _HEAD and len(words) <= _HEAD + _TAIL:
        return words
    return f"{words[:_HEAD]} … {' '.join(text.split())[-_TAIL:]}"
