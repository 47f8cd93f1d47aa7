"""Describe the prompts and the models that a benchmark ran on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from router.eval.matrix import AnswerMatrix
from router.eval.result import DataDescription, ModelDescription
from router.eval.scoring import Truth
from router.pool import Pool

__all__ = ["describe_data", "describe_models"]


def describe_models(
    cells: AnswerMatrix, energy_j: NDArray[np.float64], pool: Pool, truths: Sequence[Truth]
) -> tuple[ModelDescription, ...]:
    """Describe every model of the pool.

    Parameters
    ----------
    cells : AnswerMatrix
        The pool's prompts and models.
    energy_j : ndarray of shape (n_prompts, n_models)
        True energy in joules.
    pool : Pool
        The candidates.
    truths : sequence of Truth
        The test split of each seed.

    Returns
    -------
    tuple of ModelDescription
        In the order of the pool.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.mean([truth.model_points / truth.reference_point for truth in truths], axis=0)
    references = [truth.reference for truth in truths]
    return tuple(
        ModelDescription(
            name=model.name,
            basis=model.basis_text,
            joules_per_prompt_token=model.joules_per_prompt_token,
            joules_per_completion_token=model.joules_per_completion_token,
            mean_quality=float(cells.quality[:, j].mean()),
            mean_energy_j=float(energy_j[:, j].mean()),
            relative_energy=float(relative[j, 0]),
            relative_quality=float(relative[j, 1]),
            measured_share=float((~np.isnan(cells.energy_j[:, j])).mean()),
            unknown_length_share=float(np.isnan(cells.completion_tokens[:, j]).mean()),
            n_reference=references.count(j),
            low_factor=model.low_factor,
            high_factor=model.high_factor,
        )
        for j, model in enumerate(pool.models)
    )


def describe_data(
    matrix: AnswerMatrix,
    cells: AnswerMatrix,
    extra: AnswerMatrix | None,
    pool: Pool,
    sizes: Sequence[tuple[int, int]],
) -> DataDescription:
    """Describe the prompts.

    Parameters
    ----------
    matrix : AnswerMatrix
        All runs.
    cells : AnswerMatrix
        The pool's prompts and models.
    extra : AnswerMatrix or None
        Models outside the pool on the pool's prompts.
    pool : Pool
        The candidates.
    sizes : sequence of (int, int)
        Training and test prompts of each seed.

    Returns
    -------
    DataDescription
        Counts.
    """
    n_train, n_test = np.rint(np.mean(sizes, axis=0)).astype(int).tolist()
    return DataDescription(
        runs=tuple(pool.runs),
        n_prompts=len(cells),
        n_left_out=len(matrix) - len(cells),
        n_groups=len(np.unique(cells.groups)),
        n_tasks=len({task for task in cells.tasks if task}),
        n_train=n_train,
        n_test=n_test,
        n_extra_models=0 if extra is None else len(extra.models),
    )
