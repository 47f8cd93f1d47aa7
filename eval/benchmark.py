"""Run the benchmark protocol: one router and all baselines on the same splits."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from router.errors import ConfigError
from router.eval.baselines import Oracle, RandomShares, default_baselines
from router.eval.baselines.fixed import ORACLE, RANDOM_SHARES
from router.eval.describe import describe_data, describe_models
from router.eval.length_fit import length_fits
from router.eval.matrix import AnswerMatrix
from router.eval.protocol import (
    SERVED_BARS,
    BenchmarkSplit,
    Method,
    Outcome,
    split_prompts,
)
from router.eval.regrets import worst_decisions
from router.eval.reliability import reliability_curves
from router.eval.result import (
    HEADLINE,
    TASK_BAR,
    BenchmarkResult,
    MethodResult,
    SeedDecisions,
)
from router.eval.scoring import Score, Truth, average_frontier, score
from router.eval.served import zero_mixtures
from router.eval.splits import PoolPrompts
from router.eval.task_outcomes import task_outcomes
from router.eval.traffic import SeedTraffic, served_traffic
from router.features import FeatureExtractor, Features
from router.messages import prompt_text
from router.pool import Pool

__all__ = ["run_benchmark"]

_Progress = Callable[[str], None]


def run_benchmark(
    matrix: AnswerMatrix,
    pool: Pool,
    router: Method,
    *,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    extractor: FeatureExtractor | None = None,
    features: Features | None = None,
    baselines: Sequence[Method] | None = None,
    progress: _Progress | None = None,
) -> BenchmarkResult:
    """Benchmark a router against every baseline.

    Parameters
    ----------
    matrix : AnswerMatrix
        All evaluation runs, models outside the pool included.
    pool : Pool
        The candidates.
    router : Method
        What to benchmark. It runs first on each split and must return choices and predicted
        energy, which the baselines share.
    seeds : sequence of int
        One split each.
    extractor : FeatureExtractor, optional
        Computes the features, once for all prompts; the default one where absent.
    features : Features, optional
        Features that are there already, one row for each prompt of `matrix`.
    baselines : sequence of Method, optional
        What to compare with, besides random shares and the oracle; the protocol's where
        absent.
    progress : callable, optional
        Called with a line of text after each step.

    Returns
    -------
    BenchmarkResult
        Figures of every method and seed, frontiers, data and decisions.

    Raises
    ------
    ConfigError
        If seeds repeat or are missing, two methods have one name, `features` does not fit,
        or the router predicts no energy.
    DataError
        If the runs lack a model of the pool, or have too few prompts that all of its models
        were graded on.
    """
    methods = default_baselines() if baselines is None else tuple(baselines)
    _check_arguments(seeds, [router, *methods])
    say = progress or (lambda line: None)
    prompts = PoolPrompts.prepare(
        matrix, pool, extractor=extractor, features=features, progress=say
    )
    cells = prompts.cells
    truths: list[Truth] = []
    parts: list[SeedDecisions] = []
    traffic: list[SeedTraffic] = []
    expected_tokens: list[NDArray[np.float64]] = []
    scores: dict[str, list[Score]] = {}
    sizes = []
    for number, seed in enumerate(seeds, 1):
        train, test = split_prompts(cells.groups, seed)
        sizes.append((len(train), len(test)))
        say(f"seed {seed} ({number} of {len(seeds)}): {len(train)} training, {len(test)} test")
        split = prompts.split(train, test, seed)
        truth = prompts.truth(split, test)
        truths.append(truth)
        # Two threads of linear algebra wait for each other where another core is busy.
        with threadpool_limits(1):
            for method, outcome in _outcomes(router, methods, split, truth):
                try:
                    found = score(outcome, truth, seed)
                except ValueError as error:
                    raise ConfigError(f"{method.name}: {error}") from error
                scores.setdefault(method.name, []).append(found)
                if method is router:
                    parts.append(_decisions(outcome, split))
                    traffic += _traffic(outcome, split, truth)
                    if outcome.completion_tokens is not None:
                        expected_tokens.append(outcome.completion_tokens)
                say(f"  {method.name}: log_energy_ratio {found.figures[HEADLINE]:+.3f}")
    results = [_method_result(name, found) for name, found in scores.items()]
    return BenchmarkResult(
        pool=pool.name,
        seeds=tuple(seeds),
        router=results[0],
        baselines=tuple(results[1:]),
        models=describe_models(cells, prompts.energy_j, pool, truths),
        data=describe_data(matrix, cells, prompts.extra, pool, sizes),
        seed_decisions=tuple(parts),
        peak_rss_mb=_peak_rss_mb(),
        reliability=reliability_curves(
            [part.quality for part in parts], [truth.quality for truth in truths], pool.names
        ),
        lengths=length_fits(
            expected_tokens, [truth.completion_tokens for truth in truths], pool.names
        )
        if len(expected_tokens) == len(truths)
        else (),
        served=served_traffic(traffic) if traffic else None,
        tasks=task_outcomes(traffic, TASK_BAR) if traffic else (),
        regrets=worst_decisions(traffic, TASK_BAR, pool.names) if traffic else (),
    )


def _check_arguments(seeds: Sequence[int], methods: Sequence[Method]) -> None:
    if not seeds or len(set(seeds)) != len(seeds):
        raise ConfigError(f"seeds is {list(seeds)}: give at least one, each once")
    names = [method.name for method in methods] + [RANDOM_SHARES, ORACLE]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(f"two methods are called {repeated[0]!r}: give each its own name")


def _outcomes(
    router: Method,
    baselines: Sequence[Method],
    split: BenchmarkSplit,
    truth: Truth,
) -> Iterator[tuple[Method, Outcome]]:
    """Run the router, then all that may use its predicted energy and its shares."""
    outcome = router.run(split)
    if outcome.choices is None or outcome.energy_j is None or outcome.quality is None:
        raise ConfigError(f"{router.name}: a router must return choices, quality and energy_j")
    yield router, outcome
    split = replace(split, test_energy_j=outcome.energy_j)
    for method in (
        *baselines,
        RandomShares(outcome.choices),
        Oracle(truth.quality, truth.energy_j),
    ):
        yield method, method.run(split)


def _decisions(outcome: Outcome, split: BenchmarkSplit) -> SeedDecisions:
    assert outcome.choices is not None
    assert outcome.quality is not None
    assert outcome.energy_j is not None
    return SeedDecisions(
        seed=split.seed,
        prompt_ids=split.test_ids,
        choices=outcome.choices.astype(np.int16),
        quality=outcome.quality,
        energy_j=outcome.energy_j,
    )


def _traffic(outcome: Outcome, split: BenchmarkSplit, truth: Truth) -> list[SeedTraffic]:
    """Where the router sends the test prompts; nothing if it does not say."""
    if outcome.served is None:
        return []
    n_test, n_models = truth.quality.shape
    if outcome.served.shape != (len(SERVED_BARS), n_test):
        raise ConfigError(
            f"served must have shape ({len(SERVED_BARS)}, {n_test}), got {outcome.served.shape}"
        )
    if not (outcome.served.min() >= 0 and outcome.served.max() < n_models):
        raise ConfigError(f"served must be columns from 0 to {n_models - 1}")
    assert outcome.quality is not None
    assert outcome.energy_j is not None
    return [
        SeedTraffic(
            seed=split.seed,
            prompt_ids=split.test_ids,
            tasks=split.test_tasks,
            texts=tuple(prompt_text(prompt).text for prompt in split.test_prompts),
            truth=truth,
            choices=outcome.served,
            probability=outcome.quality,
            energy_j=outcome.energy_j,
            mixtures=zero_mixtures(split.means, truth.reference, SERVED_BARS),
        )
    ]


def _method_result(name: str, scores: Sequence[Score]) -> MethodResult:
    figures = dict.fromkeys(figure for found in scores for figure in found.figures)
    return MethodResult(
        name=name,
        per_seed={
            figure: tuple(found.figures.get(figure, float("nan")) for found in scores)
            for figure in figures
        },
        frontier=average_frontier([found.points for found in scores]),
    )


def _peak_rss_mb() -> float:
    """Most memory that this process ever held."""
    try:
        import resource
    except ImportError:
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) / (2**20 if sys.platform == "darwin" else 2**10)
