"""Evaluation runs made worse on purpose, to see what a router makes of them.

Two kinds spoil what training sees and leave the test prompts alone: ``flip`` and ``missing``. The
others change what the runs are about, so that test prompts change with them.
"""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from router.errors import ConfigError
from router.eval.matrix import AnswerMatrix
from router.pool import Pool

__all__ = ["Corruption"]

_SHARES = {"flip": 0.2, "missing": 0.5}
_CHANGES = ("perfect", "failing", "constant", "twins", "lone-task")
_CONSTANT = 0.5


@dataclass(frozen=True, slots=True)
class Corruption:
    """One way of making runs worse.

    Attributes
    ----------
    kind : str
        ``flip``: that share of the training grades, drawn at random, is replaced by one less the
        grade. ``missing``: that share of the training answers was never run. ``perfect``: the
        dearest model is always right. ``failing``: the cheapest one never is. ``constant``: the
        cheapest model always scores 0.5. ``twins``: the dearest model is replaced by a copy of
        the second dearest, joules and all. ``lone-task``: all but one prompt of the most
        frequent task are left out.
    share : float
        Used by ``flip`` and ``missing``, in [0, 1).

    Raises
    ------
    ConfigError
        If there is no such kind, or the share is out of its range.

    Examples
    --------
    >>> Corruption.parse("flip:0.1")
    Corruption(kind='flip', share=0.1)
    """

    kind: str
    share: float = 0.0

    def __post_init__(self) -> None:
        kinds = (*_SHARES, *_CHANGES)
        if self.kind not in kinds:
            close = difflib.get_close_matches(self.kind, kinds, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(kinds)}"
            raise ConfigError(f"corruption {self.kind!r} is not known: {hint}")
        if not 0.0 <= self.share < 1.0:
            raise ConfigError(f"corruption {self.kind}: the share {self.share:g} is not in [0, 1)")
        if self.share and self.kind not in _SHARES:
            raise ConfigError(f"corruption {self.kind} takes no share")

    @classmethod
    def parse(cls, text: str) -> Corruption:
        """Read ``kind`` or ``kind:share``; 0.2 of the grades flip and 0.5 are missing by default.

        Raises
        ------
        ConfigError
            If the text is not a corruption.
        """
        kind, colon, share = text.strip().partition(":")
        if not colon:
            return cls(kind, _SHARES.get(kind, 0.0))
        try:
            number = float(share)
        except ValueError as error:
            raise ConfigError(f"corruption {text!r}: {share!r} is not a number") from error
        return cls(kind, number)

    def __str__(self) -> str:
        return f"{self.kind}:{self.share:g}" if self.kind in _SHARES else self.kind

    def change(self, matrix: AnswerMatrix, pool: Pool) -> tuple[AnswerMatrix, Pool]:
        """Return runs and pool as the corruption leaves them, before they are split.

        Parameters
        ----------
        matrix : AnswerMatrix
            Evaluation runs.
        pool : Pool
            The candidates.

        Returns
        -------
        matrix : AnswerMatrix
            The same, or changed.
        pool : Pool
            The same, or changed.
        """
        joules = [model.joules_per_completion_token for model in pool.models]
        order = sorted(range(len(joules)), key=joules.__getitem__)
        cheapest, dearest = pool.models[order[0]], pool.models[order[-1]]
        if self.kind == "perfect":
            return _graded(matrix, dearest.name, 1.0), pool
        if self.kind == "failing":
            return _graded(matrix, cheapest.name, 0.0), pool
        if self.kind == "constant":
            return _graded(matrix, cheapest.name, _CONSTANT), pool
        if self.kind == "twins":
            original = pool.models[order[-2]]
            twin = replace(original, name=dearest.name, api_id=dearest.api_id)
            models = tuple(twin if model is dearest else model for model in pool.models)
            return _copied(matrix, original.name, dearest.name), replace(pool, models=models)
        if self.kind == "lone-task":
            return _lone_task(matrix), pool
        return matrix, pool

    def spoil(self, cells: AnswerMatrix, rng: np.random.Generator) -> AnswerMatrix:
        """Return training runs as the corruption leaves them.

        Parameters
        ----------
        cells : AnswerMatrix
            Runs of the training prompts.
        rng : numpy.random.Generator
            Draws the answers that are spoilt.

        Returns
        -------
        AnswerMatrix
            The same, or spoilt. Of complete runs each model and each prompt keeps an answer.
        """
        if self.kind == "flip":
            hit = rng.random(cells.quality.shape) < self.share
            return replace(cells, quality=np.where(hit, 1.0 - cells.quality, cells.quality))
        if self.kind == "missing":
            n, m = cells.quality.shape
            hit = rng.random((n, m)) < self.share
            hit[np.arange(n), rng.integers(0, m, n)] = False
            hit[rng.integers(0, n, m), np.arange(m)] = False
            return replace(
                cells,
                quality=_without(cells.quality, hit),
                prompt_tokens=_without(cells.prompt_tokens, hit),
                completion_tokens=_without(cells.completion_tokens, hit),
                energy_j=_without(cells.energy_j, hit),
            )
        return cells


def _without(values: NDArray[np.float64], hit: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.where(hit, np.nan, values)


def _graded(matrix: AnswerMatrix, name: str, grade: float) -> AnswerMatrix:
    quality = matrix.quality.copy()
    column = quality[:, matrix.models.index(name)]
    column[~np.isnan(column)] = grade
    return replace(matrix, quality=quality)


def _copied(matrix: AnswerMatrix, source: str, target: str) -> AnswerMatrix:
    names = [source if model == target else model for model in matrix.models]
    return replace(matrix.columns(names), models=matrix.models)


def _lone_task(matrix: AnswerMatrix) -> AnswerMatrix:
    counts = Counter(task for task in matrix.tasks if task)
    if not counts:
        raise ConfigError("corruption lone-task: the runs have no tasks")
    # Of equally frequent tasks the first by name.
    task = min(counts, key=lambda name: (-counts[name], name))
    first = matrix.tasks.index(task)
    keep = [i for i, found in enumerate(matrix.tasks) if found != task or i == first]
    return matrix.rows(np.array(keep))
