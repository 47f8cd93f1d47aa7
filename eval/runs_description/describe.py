"""Describing evaluation runs: every part of the description, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from router.errors import DataError
from router.eval.matrix import AnswerMatrix
from router.eval.protocol import true_energy
from router.eval.runs_description.answers import coverage, model_answers
from router.eval.runs_description.description import Grading, RunsDescription
from router.eval.runs_description.headroom import Headroom, headroom
from router.eval.runs_description.label_noise import label_noise
from router.eval.runs_description.ladder import Ladder, ladder
from router.eval.runs_description.prompt_repeats import PromptKeys, count_repeats, find_leaks
from router.pool import Pool

__all__ = ["describe_runs"]

_RUNS, _TEST = "the runs", "the test runs"  # in this order, which is that of leaks


def describe_runs(
    matrix: AnswerMatrix,
    pool: Pool | None = None,
    *,
    sources: Sequence[str] | None = None,
    splits: Sequence[Collection[str]] | None = None,
    test: AnswerMatrix | None = None,
    grading: Grading | None = None,
    without_energy: str = "no pool was given",
    seeds: Sequence[int] = range(5),
    progress: Callable[[str], None] | None = None,
) -> RunsDescription:
    """Describe evaluation runs.

    Parameters
    ----------
    matrix : AnswerMatrix
        What every model did on every prompt; at least one prompt.
    pool : Pool, optional
        Models with their energy, for the ladder and the headroom.
    sources : sequence of str, optional
        Source of each prompt; empty for prompts without one.
    splits : sequence of collection of str, optional
        The splits that each prompt is in, none or several.
    test : AnswerMatrix, optional
        Runs kept for testing, whose prompts should not be in `matrix`.
    grading : Grading, optional
        What reading showed.
    without_energy : str
        Why there is no pool.
    seeds : sequence of int
        Splits of the headroom.
    progress : callable, optional
        Called with a line of text before each longer step.

    Returns
    -------
    RunsDescription
        Everything that could be found out.

    Raises
    ------
    DataError
        If there is no prompt.
    """
    if not len(matrix):
        raise DataError("the runs have no prompt", field="prompt")
    say = progress or (lambda line: None)
    grading = grading or Grading()
    say(f"looking for repeats among {len(matrix):,} prompts")
    keys = PromptKeys.of(matrix.prompts)
    leaks = find_leaks(keys, matrix.prompt_ids, splits) if splits is not None else ()
    if test is not None:
        both = PromptKeys.of((*matrix.prompts, *test.prompts))
        ids = (*matrix.prompt_ids, *test.prompt_ids)
        sides = [(_RUNS,)] * len(matrix) + [(_TEST,)] * len(test)
        leaks = (*leaks, *find_leaks(both, ids, sides))
    rungs: Ladder | None = None
    room: Headroom | None = None
    if pool is not None:
        say("ladder and headroom")
        rungs, room, without_energy = _energy_parts(matrix, pool, seeds)
    return RunsDescription(
        n_prompts=len(matrix),
        n_models=len(matrix.models),
        n_answers=int((~np.isnan(matrix.quality)).sum()),
        n_complete=len(matrix.complete_rows()),
        grading=grading,
        models=matrix.models,
        by_task=coverage(matrix.quality, matrix.tasks),
        by_source=coverage(matrix.quality, sources) if sources is not None else (),
        answers=model_answers(matrix, grading.truncated),
        repeats=count_repeats(keys, matrix.prompt_ids),
        leaks=leaks,
        noise=label_noise(matrix.quality, keys.same, keys.near),
        pool=() if pool is None else pool.names,
        ladder=rungs,
        headroom=room,
        without_energy=without_energy,
    )


def _energy_parts(
    matrix: AnswerMatrix, pool: Pool, seeds: Sequence[int]
) -> tuple[Ladder | None, Headroom | None, str]:
    """Return the ladder, the headroom and why either is missing."""
    missing = [name for name in pool.names if name not in matrix.models]
    if missing:
        return None, None, f"the runs have no model {', '.join(map(repr, missing))} of the pool"
    quality = matrix.columns(pool.names).quality
    complete = ~np.isnan(quality).any(axis=1)
    if not complete.any():
        return None, None, "no prompt has a grade of every model of the pool"
    energy_j = true_energy(matrix, pool)
    rungs = ladder(quality[complete], energy_j[complete], pool.names)
    try:
        return rungs, headroom(matrix, pool, seeds), ""
    except DataError as error:
        return rungs, None, str(error)
