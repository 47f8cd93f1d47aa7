"""What of a result is worth a column in a table of runs, under names that all kinds of runs share.

A run that trains, benchmarks or evaluates a router has the same parameters and the same figures,
where they exist, so that runs of any kind can be compared side by side. The rest is in the report
beside them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from router.calibration import Calibration
from router.eval.protocol import QUALITY_BARS
from router.eval.report import write_report
from router.eval.result import HEADLINE, BenchmarkResult, MethodResult
from router.eval.stored import StoredEvaluation
from router.features import FeatureSpec
from router.pool import Pool
from router.training.fitting import Evidence
from router.training.tracker import Tracker

__all__ = [
    "benchmark_figures",
    "evaluation_figures",
    "head_figures",
    "log_benchmark",
    "log_report",
    "run_params",
]

_BENCHMARK_FIGURES = (
    HEADLINE,
    *(f"energy_at_{bar:.2f}" for bar in QUALITY_BARS),
    "peak_quality",
    "auc",
    "brier",
    "ece",
    "length_error",
    "out_of_fold_log_energy_ratio",
    "artifact_mb",
    "decision_us_p50",
    "train_s",
)
_SERVED_FIGURES = ("served_log_energy_ratio", "served_minus_zero_served")


def run_params(
    pool: Pool,
    *,
    data_digest: str,
    n_prompts: int,
    seed: int,
    features: FeatureSpec | None = None,
    **more: object,
) -> dict[str, object]:
    """Return the parameters that every run has, and some of its own.

    Parameters
    ----------
    pool : Pool
        The candidates.
    data_digest : str
        Digest of the runs.
    n_prompts : int
        Prompts of the runs.
    seed : int
        Seed of all chance.
    features : FeatureSpec, optional
        Feature settings: the encoder, and what is not the default.
    **more : object
        Further ones.
    """
    usual = FeatureSpec().to_dict()
    settings = {} if features is None else features.to_dict()
    return {
        "pool": pool.name,
        "models": ",".join(pool.names),
        "n_models": len(pool.names),
        "data_digest": data_digest,
        "n_prompts": n_prompts,
        "seed": seed,
        **{
            f"features.{key}": value
            for key, value in settings.items()
            if key == "encoder" or value != usual[key]
        },
        **more,
    }


def benchmark_figures(result: BenchmarkResult, method: MethodResult) -> dict[str, float]:
    """Return the figures of one method of a benchmark: means over the seeds.

    Parameters
    ----------
    result : BenchmarkResult
        The benchmark.
    method : MethodResult
        Its router or a baseline.

    Returns
    -------
    dict of str to float
        Those that are known; `log_energy_ratio` with the ends of its 95 % interval, and for the
        router quality and energy that each bar led to, relative to the reference model's.
    """
    found = {name: method.interval(name).mean for name in _BENCHMARK_FIGURES}
    headline = method.interval(HEADLINE)
    found |= {f"{HEADLINE}_low": headline.low, f"{HEADLINE}_high": headline.high}
    if result.served is not None and method is result.router:
        found |= {name: result.served.interval(name).mean for name in _SERVED_FIGURES}
        for bar in QUALITY_BARS:
            served = result.served.at(bar)
            found[f"served_quality_{bar:.2f}"] = float(np.mean(served.quality))
            found[f"served_energy_{bar:.2f}"] = float(np.mean(served.energy))
    return _known(found)


def evaluation_figures(found: StoredEvaluation) -> dict[str, float]:
    """Return the figures of a stored router on new prompts, by the names of a benchmark.

    Parameters
    ----------
    found : StoredEvaluation
        The evaluation.

    Returns
    -------
    dict of str to float
        Those that are known.
    """
    figures = {name: found.figures.get(name, np.nan) for name in _BENCHMARK_FIGURES}
    for outcome in found.bars:
        figures[f"served_quality_{outcome.bar:.2f}"] = outcome.quality
        figures[f"served_energy_{outcome.bar:.2f}"] = outcome.energy
    return _known(figures)


def head_figures(evidence: Evidence) -> dict[str, dict[str, float]]:
    """Return the figures of each candidate head, as a benchmark would name them.

    Parameters
    ----------
    evidence : Evidence
        What training measured out of fold.

    Returns
    -------
    dict of str to dict
        By the head's name.
    """
    return {
        head: _known(
            {name if name == "weight" else f"out_of_fold_{name}": v for name, v in figures.items()}
        )
        for head, figures in evidence.head_figures.items()
    }


def log_benchmark(run: Tracker, result: BenchmarkResult) -> None:
    """Write down a benchmark: the router in the run itself, each baseline in one below it.

    Parameters
    ----------
    run : Tracker
        An open run.
    result : BenchmarkResult
        What was found. The report is stored with the run.
    """
    run.log_metrics(benchmark_figures(result, result.router))
    run.describe(result.verdict())
    for method in result.methods[1:]:
        with run.nested(method.name, "baseline") as below:
            below.log_params({"pool": result.pool, "method": method.name})
            below.log_metrics(benchmark_figures(result, method))
    log_report(run, result)


def log_report(
    run: Tracker, result: BenchmarkResult, *, calibration: Calibration | None = None
) -> None:
    """Store the report of a benchmark with a run; prompt texts stay out of the store.

    Parameters
    ----------
    run : Tracker
        An open run.
    result : BenchmarkResult
        What was found.
    calibration : Calibration, optional
        What a stored router of the pool promises, to be shown beside it.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_report(result, Path(folder), prompts=False, calibration=calibration)
        run.log_artifacts(folder, "report")


def _known(figures: Mapping[str, Any]) -> dict[str, float]:
    """Leave out what is not known; six digits, because a table shows all there are."""
    return {name: float(f"{value:.6g}") for name, value in figures.items() if np.isfinite(value)}
