"""Measure the learning curve of a router on the splits of the benchmark protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from threadpoolctl import threadpool_limits

from router.errors import ConfigError
from router.eval.corruption import Corruption
from router.eval.learning_curve import CURVE_FIGURES, CurvePoint, LearningCurve, first_prompts
from router.eval.matrix import AnswerMatrix
from router.eval.protocol import BenchmarkSplit, split_prompts, true_energy
from router.eval.result import HEADLINE
from router.eval.served import SERVED_DIFFERENCE
from router.eval.splits import PoolPrompts
from router.features import FeatureExtractor
from router.pool import Pool
from router.training.split_fit import fit_split

__all__ = ["SIZES", "run_learning_curve"]

SIZES = (50, 200, 1000)
"""Training prompts that a curve is measured at by default, besides the full splits."""

_MIN_SIZE = 20
_NOISE = 7919  # keeps what is spoilt apart from what else a seed draws


def run_learning_curve(
    matrix: AnswerMatrix,
    pool: Pool,
    *,
    sizes: Sequence[int] = SIZES,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    extractor: FeatureExtractor | None = None,
    corruption: Corruption | None = None,
    n_jobs: int = 2,
    progress: Callable[[str], None] | None = None,
) -> LearningCurve:
    """Train on the first prompts of each training split and measure on the whole test split.

    The router is compared with the zero router that saw the same prompts. Features are
    computed once.

    Parameters
    ----------
    matrix : AnswerMatrix
        All evaluation runs, models outside the pool included.
    pool : Pool
        The candidates.
    sizes : sequence of int
        Numbers of training prompts, each at least 20; those that no split exceeds are left out.
        The full splits always come last.
    seeds : sequence of int
        One split each.
    extractor : FeatureExtractor, optional
        Computes the features; the default one where absent.
    corruption : Corruption, optional
        What to do to the runs before.
    n_jobs : int
        Fits at a time.
    progress : callable, optional
        Called with a line of text after each step.

    Returns
    -------
    LearningCurve
        Figures by size.

    Raises
    ------
    ConfigError
        If a size is too small, or seeds repeat or are missing.
    DataError
        If the runs lack a model of the pool or have too few prompts.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise ConfigError(f"seeds is {list(seeds)}: give at least one, each once")
    if any(size < _MIN_SIZE for size in sizes):
        raise ConfigError(f"sizes has {min(sizes)}: training takes at least {_MIN_SIZE} prompts")
    say = progress or (lambda line: None)
    if corruption is not None:
        matrix, pool = corruption.change(matrix, pool)
    prompts = PoolPrompts.prepare(matrix, pool, extractor=extractor, progress=say)
    splits = {seed: split_prompts(prompts.cells.groups, seed) for seed in seeds}
    largest = min(len(train) for train, _ in splits.values())
    steps: list[int | None] = [*sorted({size for size in sizes if size < largest}), None]
    points = []
    for step in steps:
        found: dict[str, list[float]] = {name: [] for name in CURVE_FIGURES}
        counts = []
        for seed, (train, test) in splits.items():
            if step is not None:
                train = train[first_prompts(prompts.cells.groups[train], step, seed)]
            counts.append(len(train))
            split = prompts.split(train, test, seed)
            if corruption is not None:
                split = _spoilt(split, pool, corruption)
            truth = prompts.truth(split, test)
            with threadpool_limits(1):
                figures = fit_split(split, pool, n_jobs=n_jobs).figures(split, truth)
            for name, values in found.items():
                values.append(figures[name])
            say(
                f"{len(train)} prompts, seed {seed}: {HEADLINE} {figures[HEADLINE]:+.3f}, "
                f"served {figures[SERVED_DIFFERENCE]:+.3f}"
            )
        points.append(
            CurvePoint(
                size=round(float(np.mean(counts))) if step is None else step,
                per_seed={name: tuple(values) for name, values in found.items()},
            )
        )
    return LearningCurve(
        pool=pool.name,
        seeds=tuple(seeds),
        points=tuple(points),
        corruption="" if corruption is None else str(corruption),
    )


def _spoilt(split: BenchmarkSplit, pool: Pool, corruption: Corruption) -> BenchmarkSplit:
    rng = np.random.default_rng([_NOISE, split.seed])
    cells = corruption.spoil(split.train, rng)
    if cells is split.train:
        return split
    return replace(
        split,
        train=cells,
        extra=None if split.extra is None else corruption.spoil(split.extra, rng),
        train_energy_j=true_energy(cells, pool),
    )
