"""Whether the energy that was measured fits the joules per token that decisions rest on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from router.eval.matrix import AnswerMatrix
from router.eval.protocol import true_energy
from router.pool import Pool

__all__ = ["energy_cautions"]

_MOST_APART = 2.0


def energy_cautions(cells: AnswerMatrix, pool: Pool) -> dict[str, str]:
    """Say which models' measured energy is far from what their joules per token give.

    What an answer took says nothing of the next prompt's, so decisions multiply the tokens that
    they expect by the pool's joules per token, whatever was measured.

    Parameters
    ----------
    cells : AnswerMatrix
        Runs with a column of each model of the pool.
    pool : Pool
        The candidates.

    Returns
    -------
    dict of str to str
        By name of the model, a sentence for each whose means are apart by more than a factor
        of 2.
    """
    cells = cells.columns(pool.names)
    cells = cells.rows(~np.isnan(cells.energy_j).all(axis=1))
    if not len(cells):
        return {}
    unmeasured = replace(cells, energy_j=np.full_like(cells.energy_j, np.nan))
    by_tokens = true_energy(unmeasured, pool)
    found = {}
    for name, measured_j, expected_j in zip(pool.names, cells.energy_j.T, by_tokens.T, strict=True):
        known = ~np.isnan(measured_j)
        if not known.any():
            continue
        measured, expected = float(measured_j[known].mean()), float(expected_j[known].mean())
        if not expected / _MOST_APART <= measured <= expected * _MOST_APART:
            found[name] = (
                f"{name!r} took {measured:.3g} J an answer, as measured in {known.sum():,} runs, "
                f"and {expected:.3g} J by its joules per token, with which decisions count: give "
                "its own in the pool file (joules_per_completion_token, joules_per_prompt_token "
                "and basis)"
            )
    return found
