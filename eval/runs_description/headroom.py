"""Headroom: what the zero router saves already, and what the oracle would save."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from router.eval.baselines.fixed import ORACLE, Oracle, ZeroRouter
from router.eval.intervals import Interval, interval95
from router.eval.matrix import AnswerMatrix
from router.eval.protocol import QUALITY_BARS, split_prompts
from router.eval.scoring import Score, score
from router.eval.splits import PoolPrompts
from router.features import Features
from router.pool import Pool

__all__ = ["BarHeadroom", "Headroom", "headroom"]


@dataclass(frozen=True, slots=True)
class BarHeadroom:
    """Least energy at one quality bar, relative to the reference model's.

    Attributes
    ----------
    bar : float
        Share of the reference model's mean quality.
    zero_router : Interval
        Of the best mix of fixed models.
    oracle : Interval
        Of who knows every answer beforehand.
    """

    bar: float
    zero_router: Interval
    oracle: Interval


@dataclass(frozen=True, slots=True)
class Headroom:
    """What there is to save, under the benchmark protocol.

    Attributes
    ----------
    n_prompts : int
        Prompts that every model of the pool was graded on.
    seeds : tuple of int
        Splits that the intervals are over.
    reference : str
        The reference model of most splits.
    bars : tuple of BarHeadroom
        One for each bar of the protocol.
    oracle_ratio : Interval
        ``log_energy_ratio`` of the oracle: mean over the bars of the logarithm of its energy over
        the zero router's.
    """

    n_prompts: int
    seeds: tuple[int, ...]
    reference: str
    bars: tuple[BarHeadroom, ...]
    oracle_ratio: Interval


def headroom(matrix: AnswerMatrix, pool: Pool, seeds: Sequence[int] = range(5)) -> Headroom:
    """Measure the zero router and the oracle on the test splits of the benchmark protocol.

    Parameters
    ----------
    matrix : AnswerMatrix
        Evaluation runs of the pool's models, and of others if there are any.
    pool : Pool
        The candidates.
    seeds : sequence of int
        One split each.

    Returns
    -------
    Headroom
        Energies relative to the reference model's on the same prompts.

    Raises
    ------
    DataError
        If the runs lack a model of the pool, or have fewer than two distinct texts that all of
        its models were graded on.
    """
    prompts = PoolPrompts.prepare(matrix, pool, features=_no_features(len(matrix)))
    found: dict[str, list[Score]] = {}
    references = []
    for seed in seeds:
        train, test = split_prompts(prompts.cells.groups, seed)
        split = prompts.split(train, test, seed)
        truth = prompts.truth(split, test)
        references.append(truth.reference)
        for method in (ZeroRouter(), Oracle(truth.quality, truth.energy_j)):
            found.setdefault(method.name, []).append(score(method.run(split), truth, seed))
    zero, oracle = found.values()
    return Headroom(
        n_prompts=len(prompts),
        seeds=tuple(seeds),
        reference=pool.names[max(set(references), key=references.count)],
        bars=tuple(
            BarHeadroom(
                bar, _figure(zero, f"energy_at_{bar:.2f}"), _figure(oracle, f"energy_at_{bar:.2f}")
            )
            for bar in QUALITY_BARS
        ),
        oracle_ratio=_figure(found[ORACLE], "log_energy_ratio"),
    )


def _figure(scores: Sequence[Score], name: str) -> Interval:
    return interval95([found.figures[name] for found in scores])


def _no_features(n: int) -> Features:
    """Neither method looks at the prompts."""
    return Features(
        dense=np.empty((n, 0), np.float32),
        profile=np.empty((n, 0), np.float32),
        indptr=np.zeros(n + 1, np.int64),
        indices=np.empty(0, np.int32),
        values=np.empty(0, np.float32),
        n_columns=0,
        n_embedding=0,
    )
