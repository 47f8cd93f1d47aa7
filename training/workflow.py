"""Training with everything around it: held-out figures, artifact, card and tracking."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

from router.artifact import MANIFEST_FILE, artifact_digest, write_artifact
from router.errors import ConfigError, DataError
from router.eval.baselines import default_baselines
from router.eval.benchmark import run_benchmark
from router.eval.matrix import AnswerMatrix
from router.eval.result import BenchmarkResult
from router.features import FeatureExtractor
from router.pool import Pool
from router.training.calibration import CALIBRATION_SHARE
from router.training.card import model_card
from router.training.forecast import forecast
from router.training.method import LearnedRouter
from router.training.promise import promise_summary
from router.training.tracked_figures import (
    benchmark_figures,
    head_figures,
    log_report,
    run_params,
)
from router.training.tracker import Tracker
from router.training.train import TrainedRouter, train_router

__all__ = ["TrainingJob", "run_training"]

_FIXED_BASELINES = ("cheapest", "reference", "zero router")


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """What to train and where to put it.

    Attributes
    ----------
    matrix : AnswerMatrix
        Evaluation runs.
    pool : Pool
        The candidates.
    extractor : FeatureExtractor
        Computes the features.
    out : Path
        Folder of the artifact.
    data : str
        Where the runs come from, in words, for the card.
    digest : str
        Digest of the runs.
    command : str
        The command that repeats this, for the card.
    seed : int
        Seed of the router on all prompts; held-out splits use 0, 1, ...
    n_splits : int
        Held-out splits to measure on; 0 for none.
    n_jobs : int
        Fits at a time.
    register : str or None
        Name to register the router under.
    forecast : bool
        Whether to estimate what more graded prompts would bring.
    calibration_share : float
        Share of the prompts to hold out for certification.
    """

    matrix: AnswerMatrix
    pool: Pool
    extractor: FeatureExtractor
    out: Path
    data: str
    digest: str
    command: str
    seed: int = 0
    n_splits: int = 1
    n_jobs: int = 2
    register: str | None = None
    forecast: bool = False
    calibration_share: float = CALIBRATION_SHARE


def run_training(
    job: TrainingJob, tracker: Tracker, say: Callable[[str], None]
) -> tuple[TrainedRouter, BenchmarkResult | None]:
    """Train a router, measure it on held-out splits, store it and track it.

    Parameters
    ----------
    job : TrainingJob
        What to do.
    tracker : Tracker
        Where parameters, figures and artifacts are logged.
    say : callable
        Told about each step.

    Returns
    -------
    trained : TrainedRouter
        The router, trained on all prompts but those held out for certification; a forecast is
        in its lineage.
    result : BenchmarkResult or None
        Its figures on held-out splits, by routers trained on the rest; None without splits, or
        with too few prompts that every model of the pool was graded on.

    Raises
    ------
    ConfigError
        If the folder holds something that is not a router, or cannot be made.
    DataError
        If the runs lack a model of the pool or have too few prompts.
    """
    _check_out(job.out)
    with ExitStack() as stack:
        run = stack.enter_context(tracker)
        run.log_params(_params(job))
        run.log_dataset(
            job.pool.name, job.digest, len(job.matrix), list(job.matrix.models), job.data
        )
        result = _held_out(job, say) if job.n_splits else None
        trained = train_router(
            job.matrix,
            job.pool,
            data_digest=job.digest,
            calibration_share=job.calibration_share,
            spec=job.extractor.spec,
            encoder=job.extractor.encoder,
            seed=job.seed,
            n_jobs=job.n_jobs,
            progress=say,
        )
        trained = _with_forecast(job, trained, say)
        card = model_card(
            trained.artifact, name=job.pool.name, data=job.data, command=job.command, result=result
        )
        write_artifact(trained.artifact, job.out, card)
        say(f"router written to {job.out}")
        _track(run, job, trained, result, say)
    return trained, result


def _check_out(out: Path) -> None:
    """Refuse before the work what could not be written after it."""
    taken = out.exists() and not (out / MANIFEST_FILE).is_file()
    if taken and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"{out} holds something else than a router: choose another folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{out} cannot be made: {error.strerror}") from error


def _held_out(job: TrainingJob, say: Callable[[str], None]) -> BenchmarkResult | None:
    fixed = [method for method in default_baselines() if method.name in _FIXED_BASELINES]
    try:
        return run_benchmark(
            job.matrix,
            job.pool,
            LearnedRouter(job.pool, job.extractor, n_jobs=job.n_jobs),
            seeds=range(job.n_splits),
            extractor=job.extractor,
            baselines=fixed,
            progress=say,
        )
    except DataError as error:
        # The training on all prompts needs fewer, and gaps in the grades do not stop it.
        say(f"no held-out figures: {error}")
        return None


def _with_forecast(
    job: TrainingJob, trained: TrainedRouter, say: Callable[[str], None]
) -> TrainedRouter:
    """Write into the lineage what more graded prompts would bring."""
    if not job.forecast:
        return trained
    found = forecast(
        job.matrix,
        job.pool,
        extractor=job.extractor,
        seed=job.seed,
        n_jobs=job.n_jobs,
        progress=say,
    )
    if found is None:
        return trained
    lineage = {**trained.artifact.lineage, "forecast": found.to_dict()}
    return replace(trained, artifact=replace(trained.artifact, lineage=lineage))


def _params(job: TrainingJob) -> dict[str, object]:
    return run_params(
        job.pool,
        data_digest=job.digest,
        n_prompts=len(job.matrix),
        seed=job.seed,
        n_splits=job.n_splits,
        features=job.extractor.spec,
        calibration_share=job.calibration_share,
    )


def _promised(trained: TrainedRouter) -> dict[str, float]:
    """Energy of each bar that is certified with a confidence of 0.9, and the prompts behind it."""
    summary = promise_summary(trained.artifact.calibration)
    if summary is None:
        return {}
    return {"n_calibration": float(summary["n"])} | {
        f"certified_energy_{promise['bar']:.2f}": float(promise["energy"])
        for promise in summary["promises"]
        if promise["energy"] is not None and not promise["group"] and promise["confidence"] == 0.9
    }


def _track(
    run: Tracker,
    job: TrainingJob,
    trained: TrainedRouter,
    result: BenchmarkResult | None,
    say: Callable[[str], None],
) -> None:
    # first the router: figures that follow are its own
    run.log_router(job.out)
    run.log_params(
        {
            "reference": job.pool.models[trained.fitted.reference].api_id,
            "router_digest": artifact_digest(job.out),
        }
    )
    metrics = {} if result is None else benchmark_figures(result, result.router)
    out_of_fold = trained.fitted.evidence.log_energy_ratio
    if isfinite(out_of_fold):
        metrics["out_of_fold_log_energy_ratio"] = out_of_fold
    run.log_metrics(metrics | _promised(trained))
    for name, figures in head_figures(trained.fitted.evidence).items():
        with run.nested(name, "head") as head:
            head.log_params({"pool": job.pool.name, "head": name})
            head.log_metrics(figures)
    if result is not None:
        run.describe(f"Held out: {result.verdict()}\n\n`{job.command}`")
        log_report(run, result, calibration=trained.artifact.calibration)
    if job.register is not None:
        version = run.register(job.register, job.out)
        say(f"registered as models:/{job.register}/{version}")
