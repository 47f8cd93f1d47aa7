"""Targets of the heads: qualities, answer lengths and prompt tokens, without gaps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from router.errors import DataError
from router.eval.gaps import additive, fill_missing
from router.eval.matrix import AnswerMatrix
from router.messages import prompt_text
from router.pool import Pool

__all__ = ["Targets", "build_targets"]

_Array = NDArray[np.float64]

_MIN_COVERAGE = 0.5
_MAX_EXTRA = 64
_UNKNOWN_TOKENS = 300.0
_TOKENS_PER_CHARACTER = 0.25


@dataclass(frozen=True, slots=True)
class Targets:
    """What the heads learn, one row a prompt.

    Attributes
    ----------
    quality : ndarray of shape (n, n_models + n_extra)
        Qualities of the pool's models, then of models outside the pool; gaps filled.
    observed : ndarray of shape (n, n_models + n_extra)
        Which qualities were measured.
    log_tokens : ndarray of shape (n, n_models)
        Logarithm of completion tokens; gaps filled.
    ran : ndarray of shape (n, n_models)
        Which models of the pool were run on which prompts: where they have a grade or a length.
    log_prompt_ratio : ndarray of shape (n,)
        Logarithm of prompt tokens per character.
    characters : ndarray of shape (n,)
        Characters of the prompts.
    assumed_tokens : ndarray of shape (n_models,)
        Whether a model's lengths are all assumed.
    n_models : int
        Models in the pool.
    extra : tuple of str
        Names of the models outside the pool that serve as targets.
    """

    quality: _Array
    observed: NDArray[np.bool_]
    log_tokens: _Array
    ran: NDArray[np.bool_]
    log_prompt_ratio: _Array
    characters: _Array
    assumed_tokens: NDArray[np.bool_]
    n_models: int
    extra: tuple[str, ...]

    def stacked(self) -> NDArray[np.float32]:
        """Return all targets side by side: quality, log_tokens, log_prompt_ratio."""
        parts = [self.quality, self.log_tokens, self.log_prompt_ratio[:, None]]
        return np.hstack(parts).astype(np.float32)


def build_targets(
    pool_cells: AnswerMatrix, extra_cells: AnswerMatrix | None, pool: Pool
) -> Targets:
    """Build the targets from evaluation runs.

    Parameters
    ----------
    pool_cells : AnswerMatrix
        Runs of the pool's models, in the pool's order.
    extra_cells : AnswerMatrix or None
        Runs of other models on the same prompts. Those that answered at least half of them
        take part.
    pool : Pool
        The candidates.

    Returns
    -------
    Targets
        Without NaN.

    Raises
    ------
    DataError
        If a model of the pool has no graded answer at all.
    """
    quality = pool_cells.quality
    for j, name in enumerate(pool_cells.models):
        if np.isnan(quality[:, j]).all():
            raise DataError(f"model {name!r} has no graded answer", field="quality")
    names: tuple[str, ...] = ()
    if extra_cells is not None and extra_cells.models:
        coverage = (~np.isnan(extra_cells.quality)).mean(axis=0)
        order = np.argsort(-coverage, kind="stable")[:_MAX_EXTRA]
        keep = np.sort(order[coverage[order] >= _MIN_COVERAGE])
        names = tuple(extra_cells.models[j] for j in keep)
        quality = np.hstack([quality, extra_cells.quality[:, keep]])
    observed = ~np.isnan(quality)

    log_tokens, ran = _lengths(pool_cells, pool)
    characters = np.array([max(len(prompt_text(p).text), 1) for p in pool_cells.prompts], float)
    counted = np.where(np.isnan(pool_cells.prompt_tokens), 0.0, pool_cells.prompt_tokens)
    cells = (~np.isnan(pool_cells.prompt_tokens)).sum(axis=1)
    ratio = np.where(cells > 0, counted.sum(axis=1) / np.maximum(cells, 1) / characters, np.nan)
    known_ratio = ratio[~np.isnan(ratio)]
    typical = float(np.median(known_ratio)) if len(known_ratio) else _TOKENS_PER_CHARACTER
    ratio = np.where(np.isnan(ratio), typical, ratio)

    return Targets(
        quality=fill_missing(quality),
        observed=observed,
        log_tokens=log_tokens,
        ran=ran,
        log_prompt_ratio=np.log(np.clip(ratio, 0.02, 2.5)),
        characters=characters,
        assumed_tokens=np.asarray(np.isnan(pool_cells.completion_tokens).all(axis=0)),
        n_models=len(pool.models),
        extra=names,
    )


def _lengths(cells: AnswerMatrix, pool: Pool) -> tuple[_Array, NDArray[np.bool_]]:
    """Return the logarithms of completion tokens without gaps, and which cells were run."""
    known = ~np.isnan(cells.completion_tokens)
    ran = known | ~np.isnan(cells.quality)
    tokens = cells.completion_tokens.copy()
    for j, model in enumerate(pool.models):
        fallback = model.assumed_completion_tokens
        if fallback is None:
            found = tokens[known[:, j], j]
            fallback = float(np.median(found)) if len(found) else _UNKNOWN_TOKENS
        tokens[~known[:, j], j] = fallback
    log_tokens = np.log(np.maximum(tokens, 1.0))
    # What was run without a count keeps the fallback; of what never was, the models that were run
    # on the prompt tell how long answers to it are.
    likely = additive(np.where(known, log_tokens, np.nan))
    return np.where(ran | ~known.any(axis=0), log_tokens, likely), ran
