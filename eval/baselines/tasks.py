"""Baselines that are told the true task of every prompt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.dial import dial_sweep
from router.eval.protocol import BenchmarkSplit, Outcome

__all__ = ["TaskMeans", "TaskRules"]


@dataclass(frozen=True, slots=True)
class TaskRules:
    """A fixed table from task to model for each setting of the dial.

    The energy price is applied to the mean quality and mean true energy of each task on the
    training split. A task that is not in it gets the rule of the average prompt.
    """

    name: str = "static task rules"

    def run(self, split: BenchmarkSplit) -> Outcome:
        """Make one rule for each task and setting, and look the test prompts up."""
        known, rows = _task_rows(split)
        quality = _task_means(split.train.quality, known, prior_weight=0.0)
        energy_j = _task_means(split.train_energy_j, known, prior_weight=0.0)
        rules = dial_sweep(quality, energy_j, split.means, split.reference)
        return Outcome(choices=rules[:, rows])


@dataclass(frozen=True, slots=True)
class TaskMeans:
    """Mean quality of each task as the prediction for all of its prompts.

    Parameters
    ----------
    prior_weight : float
        Prompts that the mean over all tasks counts as, when it is mixed into a task's mean.
    """

    prior_weight: float = 5.0
    name: str = "true-task means"

    def run(self, split: BenchmarkSplit) -> Outcome:
        """Predict by task, then sweep the energy price."""
        known, rows = _task_rows(split)
        quality = _task_means(split.train.quality, known, self.prior_weight)[rows]
        energy_j = split.predicted_energy_j
        return Outcome(
            choices=dial_sweep(quality, energy_j, split.means, split.reference),
            quality=quality,
            energy_j=energy_j,
        )


def _task_rows(split: BenchmarkSplit) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Give each training and test prompt the number of its task, unknown ones the next."""
    tasks, train_rows = np.unique(np.array(split.train.tasks, dtype=object), return_inverse=True)
    number = {task: row for row, task in enumerate(tasks)}
    test_rows = np.array([number.get(task, len(tasks)) for task in split.test_tasks], np.intp)
    return train_rows.reshape(-1), test_rows


def _task_means(
    values: NDArray[np.float64], rows: NDArray[np.intp], prior_weight: float
) -> NDArray[np.float64]:
    """Mean of every task, drawn towards the overall mean; the overall mean as the last row."""
    overall = values.mean(axis=0)
    counts = np.bincount(rows)[:, None]
    sums = np.zeros((len(counts), values.shape[1]))
    np.add.at(sums, rows, values)
    means = (sums + prior_weight * overall) / (counts + prior_weight)
    return np.vstack([means, overall])
