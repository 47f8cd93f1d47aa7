"""What each task of held-out traffic gets: who is chosen, the quality kept, the energy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from router.eval.intervals import Interval
from router.eval.traffic import SeedTraffic

__all__ = ["TaskOutcome", "task_outcomes"]

_Z95 = 1.959963984540054


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """What one task got at a quality bar.

    Attributes
    ----------
    task : str
        Its label; empty where there is none.
    n_prompts : int
        Distinct test prompts over all seeds.
    shares : tuple of float
        Share of its prompts that each model of the pool gets.
    quality, reference_quality : float
        Mean quality of what was chosen, and of the reference model.
    difference : Interval
        The first less the second, with a 95 % interval over the prompts.
    energy : float
        Energy relative to always using the reference model; NaN where that is none.
    """

    task: str
    n_prompts: int
    shares: tuple[float, ...]
    quality: float
    reference_quality: float
    difference: Interval
    energy: float


def task_outcomes(parts: Sequence[SeedTraffic], bar: float) -> tuple[TaskOutcome, ...]:
    """Describe what each task got at a bar.

    Parameters
    ----------
    parts : sequence of SeedTraffic
        One for each seed.
    bar : float
        One of the ``SERVED_BARS``.

    Returns
    -------
    tuple of TaskOutcome
        From the task with the most prompts to that with the fewest. A prompt that is in the
        test part of several seeds counts once, with the mean of what it got.
    """
    tasks = np.array([task for part in parts for task in part.tasks], dtype=object)
    ids = np.array([key for part in parts for key in part.prompt_ids], dtype=object)
    choices = np.concatenate([part.chosen(bar) for part in parts])
    quality = np.concatenate([part.truth.quality for part in parts])
    energy_j = np.concatenate([part.truth.energy_j for part in parts])
    reference = np.repeat(
        [part.truth.reference for part in parts], [len(part.prompt_ids) for part in parts]
    )
    rows, n_models = np.arange(len(ids)), quality.shape[1]
    got, could = quality[rows, choices], quality[rows, reference]
    spent_j, could_j = energy_j[rows, choices], energy_j[rows, reference]
    found = []
    for task in sorted(set(tasks)):
        index = np.flatnonzero(tasks == task)
        _, prompt = np.unique(ids[index].astype(str), return_inverse=True)
        times = np.bincount(prompt)
        difference = np.bincount(prompt, got[index] - could[index]) / times
        mean = float(difference.mean())
        half = (
            _Z95 * float(difference.std(ddof=1)) / math.sqrt(len(times))
            if len(times) > 1
            else math.nan
        )
        base_j = float(could_j[index].sum())
        found.append(
            TaskOutcome(
                task=task,
                n_prompts=len(times),
                shares=tuple(
                    (np.bincount(choices[index], minlength=n_models) / len(index)).tolist()
                ),
                quality=float((np.bincount(prompt, got[index]) / times).mean()),
                reference_quality=float((np.bincount(prompt, could[index]) / times).mean()),
                difference=Interval(mean, mean - half, mean + half),
                energy=float(spent_j[index].sum()) / base_j if base_j > 0.0 else math.nan,
            )
        )
    return tuple(sorted(found, key=lambda outcome: (-outcome.n_prompts, outcome.task)))
