"""Graded prompts for explanations: evaluation runs, as serving can look them up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from router.eval.matrix import AnswerMatrix
from router.explanation import GradedPrompts
from router.training.default_runs import load_default_runs
from router.training.ingest import load_runs
from router.training.train import prompt_hashes

__all__ = ["load_default_graded_prompts", "load_graded_prompts"]

_CACHE = Path(".wattroute")


def load_graded_prompts(paths: Sequence[str | Path]) -> GradedPrompts:
    """Load evaluation runs in which an explanation looks for the nearest prompts.

    Parameters
    ----------
    paths : sequence of path
        Files and folders, as for :func:`router.training.ingest.load_runs`.

    Returns
    -------
    GradedPrompts
        Every prompt with the grades of all models.

    Raises
    ------
    RunsError
        If the runs do not follow the schema.
    """
    return _graded(load_runs(paths).to_matrix())


def load_default_graded_prompts() -> GradedPrompts:
    """Load the default runs, which the bundled router was trained on.

    Returns
    -------
    GradedPrompts
        Every prompt with the grades of all models. Prompts are made again the first time and
        kept in ``.wattroute`` in the working folder.

    Raises
    ------
    MissingExtraError
        If reasoning-gym is not installed and the prompts are not kept yet.
    """
    return _graded(load_default_runs(cache_dir=_CACHE).runs.to_matrix())


def _graded(matrix: AnswerMatrix) -> GradedPrompts:
    return GradedPrompts(
        prompts=matrix.prompts,
        prompt_ids=matrix.prompt_ids,
        tasks=matrix.tasks,
        models=matrix.models,
        quality=matrix.quality,
        hashes=prompt_hashes(matrix.prompts),
        embeddings=matrix.embeddings,
    )
