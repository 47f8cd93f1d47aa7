"""Fit a router again and again with one part left out each time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from threadpoolctl import threadpool_limits

from router.dial import DialShape
from router.errors import ConfigError
from router.eval.ablation import ALL_PARTS, OUT_OF_FOLD, TEST, PoolAblation
from router.eval.baselines.tasks import TaskMeans
from router.eval.matrix import AnswerMatrix
from router.eval.protocol import split_prompts
from router.eval.result import HEADLINE
from router.eval.scoring import score
from router.eval.splits import PoolPrompts
from router.features import FeatureExtractor
from router.pool import Pool
from router.training.blocks import BLOCKS
from router.training.fit_options import DEFAULT_HEADS, FitOptions
from router.training.fitting import fit_candidates
from router.training.heads import FAMILIES
from router.training.split_fit import fit_split
from router.training.stacking import stack_variants
from router.training.targets import build_targets

__all__ = ["Variant", "ablation_variants", "run_ablation"]

_TASK_MEANS = "true-task means (for orientation)"


@dataclass(frozen=True, slots=True)
class Variant:
    """A router from which a part was left out, or in which it was replaced.

    Attributes
    ----------
    name : str
        What differs, in words.
    options : FitOptions
        Which parts take part.
    """

    name: str
    options: FitOptions


def ablation_variants(n_models: int) -> tuple[Variant, ...]:
    """Return the routers that are compared with the whole one, for a pool of some size.

    Parameters
    ----------
    n_models : int
        Models in the pool.

    Returns
    -------
    tuple of Variant
        From features to the dial.
    """

    def without(head: str) -> FitOptions:
        return FitOptions(heads=tuple(name for name in DEFAULT_HEADS if name != head))

    blocks = (
        Variant(f"without {block}", FitOptions(blocks=tuple(b for b in BLOCKS if b != block)))
        for block in BLOCKS
    )
    one_stack = (
        Variant(f"one stack: pool, {stack.link}", FitOptions(stacks=(stack.name,)))
        for stack in stack_variants(n_models, 0)
    )
    pruning = FitOptions().pruning
    return (
        *blocks,
        Variant("with neighbours", FitOptions(heads=(*DEFAULT_HEADS, "neighbours"))),
        Variant("without clusters", without("clusters")),
        Variant("without trees", without("trees")),
        Variant("trees alone", FitOptions(heads=("trees",))),
        Variant("neighbours and clusters alone", FitOptions(heads=("neighbours", "clusters"))),
        *one_stack,
        Variant("without models outside the pool", FitOptions(extra_models=False)),
        Variant("without shrinkage by evidence", FitOptions(evidence_shrinkage=False)),
        Variant("mean lengths", FitOptions(length_head=False)),
        Variant(f"{'without' if pruning else 'with'} pruning", FitOptions(pruning=not pruning)),
        Variant("without shrunken settings", FitOptions(dial=DialShape(shrinkages=(0.0,)))),
        Variant("without fixed models on the dial", FitOptions(dial=DialShape(fixed_models=False))),
    )


def run_ablation(
    matrix: AnswerMatrix,
    pool: Pool,
    *,
    seeds: Sequence[int] = (0, 1, 2),
    extractor: FeatureExtractor | None = None,
    n_jobs: int = 2,
    progress: Callable[[str], None] | None = None,
) -> PoolAblation:
    """Measure a router without each of its parts on the splits of the benchmark protocol.

    Features are computed once. Parts that are left out after the candidates were cross-fitted
    share one cross-fit.

    Parameters
    ----------
    matrix : AnswerMatrix
        All evaluation runs, models outside the pool included.
    pool : Pool
        The candidates.
    seeds : sequence of int
        One split each.
    extractor : FeatureExtractor, optional
        Computes the features; the default one where absent.
    n_jobs : int
        Fits at a time.
    progress : callable, optional
        Called with a line of text after each step.

    Returns
    -------
    PoolAblation
        Figures with and without each variant.

    Raises
    ------
    ConfigError
        If seeds repeat or are missing.
    DataError
        If the runs lack a model of the pool or have too few prompts.
    """
    if not seeds or len(set(seeds)) != len(seeds):
        raise ConfigError(f"seeds is {list(seeds)}: give at least one, each once")
    say = progress or (lambda line: None)
    prompts = PoolPrompts.prepare(matrix, pool, extractor=extractor, progress=say)
    variants = (Variant(ALL_PARTS, FitOptions()), *ablation_variants(len(pool.models)))
    names = [*(variant.name for variant in variants), _TASK_MEANS]
    figures: dict[str, dict[str, list[float]]] = {
        name: {TEST: [], OUT_OF_FOLD: []} for name in names
    }
    for seed in seeds:
        train, test = split_prompts(prompts.cells.groups, seed)
        split = prompts.split(train, test, seed)
        truth = prompts.truth(split, test)
        with threadpool_limits(1):
            shared = fit_candidates(
                split.train_features,
                build_targets(split.train, split.extra, pool),
                split.train.groups,
                options=FitOptions(heads=FAMILIES),
                seed=seed,
                n_jobs=n_jobs,
            )
            for variant in variants:
                found = fit_split(
                    split,
                    pool,
                    options=variant.options,
                    candidates=shared if variant.options.blocks == BLOCKS else None,
                    n_jobs=n_jobs,
                )
                test_ratio = score(found.outcome, truth, seed).figures[HEADLINE]
                out_of_fold = found.fitted.evidence.log_energy_ratio
                figures[variant.name][TEST].append(test_ratio)
                figures[variant.name][OUT_OF_FOLD].append(out_of_fold)
                say(
                    f"seed {seed}, {variant.name}: {HEADLINE} {test_ratio:+.3f}, "
                    f"out of fold {out_of_fold:+.3f}"
                )
                if variant.name == ALL_PARTS:
                    told = replace(split, test_energy_j=found.outcome.energy_j)
                    by_task = score(TaskMeans().run(told), truth, seed).figures[HEADLINE]
                    figures[_TASK_MEANS][TEST].append(by_task)
                    figures[_TASK_MEANS][OUT_OF_FOLD].append(np.nan)
    return PoolAblation(
        pool=pool.name,
        n_prompts=len(prompts),
        seeds=tuple(seeds),
        figures={
            name: {figure: tuple(values) for figure, values in found.items()}
            for name, found in figures.items()
        },
    )
