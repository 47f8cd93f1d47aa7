"""``wattroute train``: a router from evaluation runs."""

from __future__ import annotations

import json
import shlex
from math import isfinite
from pathlib import Path

import click

from router.cli.table import render_table
from router.errors import ConfigError
from router.pool import load_pool
from router.training.calibration import CALIBRATION_SHARE
from router.training.commands.options import (
    jobs_option,
    json_option,
    load_pool_runs,
    make_extractor,
    on_bad_option,
    progress_printer,
    seed_option,
)
from router.training.default_runs import DEFAULT_DATA, DEFAULT_POOL_FILE, load_default_runs
from router.training.promise import SHOWN_BARS, promise_rows, promise_summary
from router.training.tracking import MlflowTracker, NullTracker, Tracker
from router.training.workflow import TrainingJob, run_training

__all__ = ["train"]


@click.command(
    epilog="""\b
Examples:
  wattroute train runs.parquet --pool pool.toml --out my-router
  wattroute train runs/ --out my-router --splits 5 --register my-router
  wattroute train --default-runs --splits 5 --out models/default
"""
)
@click.argument("runs", nargs=-1, metavar="RUNS...")
@click.option(
    "--pool",
    "pool_file",
    metavar="POOL.toml",
    help="The candidates. Without it, all models of the runs that the catalogue knows.",
)
@click.option("--out", required=True, metavar="DIR", help="Folder to write the router to.")
@click.option(
    "--default-runs", is_flag=True, help="Train on the default runs, regenerated and matched."
)
@click.option(
    "--encoder",
    default="static",
    show_default=True,
    metavar="NAME",
    help="'static', or a sentence-transformers model by path or name (extra 'encoders').",
)
@click.option(
    "--splits",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Held-out splits to measure on before training on all prompts.",
)
@click.option(
    "--forecast/--no-forecast",
    default=True,
    show_default=True,
    help="Estimate what more graded prompts would bring, with six small trainings.",
)
@click.option(
    "--calibration-share",
    type=click.FloatRange(0.0, 1.0, max_open=True),
    default=CALIBRATION_SHARE,
    show_default=True,
    metavar="S",
    help="Share of the prompts that is held out to certify quality bars; 0 for none.",
)
@click.option("--tracking-uri", metavar="URI", help="MLflow store.  [default: sqlite:///mlflow.db]")
@click.option("--experiment", default="wattroute", show_default=True, help="MLflow experiment.")
@click.option("--no-tracking", is_flag=True, help="Do not log to MLflow.")
@click.option("--register", metavar="NAME", help="Register the router in MLflow under this name.")
@on_bad_option
@jobs_option
@seed_option
@json_option
def train(
    runs: tuple[str, ...],
    pool_file: str | None,
    out: str,
    default_runs: bool,
    encoder: str,
    splits: int,
    forecast: bool,
    calibration_share: float,
    tracking_uri: str | None,
    experiment: str,
    no_tracking: bool,
    register: str | None,
    on_bad: str,
    jobs: int,
    seed: int,
    as_json: bool,
) -> None:
    """Train a router from evaluation runs and store it in a folder.

    RUNS are Parquet, JSONL or CSV files, or folders of them, with the columns prompt, model
    and quality. Models outside the pool help as extra evidence about the prompts.
    """
    if default_runs and runs:
        raise ConfigError("give either RUNS or --default-runs")
    if no_tracking and (register or tracking_uri):
        raise ConfigError("--no-tracking rules out --register and --tracking-uri")
    say = progress_printer()
    if default_runs:
        loaded_default = load_default_runs(cache_dir=Path(".wattroute"), n_jobs=jobs)
        say(loaded_default.summary())
        table, data = loaded_default.runs, DEFAULT_DATA
        pool = load_pool(pool_file or DEFAULT_POOL_FILE)
        matrix = table.to_matrix()
    else:
        loaded = load_pool_runs(runs, pool_file, on_bad, say)
        table, pool, matrix = loaded.runs, loaded.pool, loaded.matrix
        data = f"{', '.join(Path(name).name for name in table.files)}."
    job = TrainingJob(
        matrix=matrix,
        pool=pool,
        extractor=make_extractor(encoder, matrix),
        out=Path(out),
        data=data,
        digest=table.digest,
        command=_command(
            runs, pool_file, out, default_runs, encoder, splits, calibration_share, seed
        ),
        seed=seed,
        n_splits=splits,
        n_jobs=jobs,
        register=register,
        forecast=forecast,
        calibration_share=calibration_share,
    )
    tracker: Tracker = NullTracker()
    if not no_tracking:
        name = f"train {pool.name} seed {seed}"
        tracker = MlflowTracker(tracking_uri, experiment, run_name=name, kind="train")
    trained, result = run_training(job, tracker, say)
    evidence = trained.fitted.evidence
    reference = pool.models[trained.fitted.reference]
    expected = trained.artifact.lineage.get("forecast")
    if as_json:
        click.echo(
            json.dumps(
                {
                    "router": out,
                    "pool": list(pool.names),
                    "reference": reference.api_id,
                    "n_prompts": trained.artifact.lineage["n_prompts"],
                    "data_digest": table.digest,
                    "out_of_fold": trained.artifact.lineage["out_of_fold"],
                    "calibration": promise_summary(trained.artifact.calibration),
                    "forecast": expected,
                    "held_out": None if result is None else result.to_dict(),
                },
                indent=1,
            )
        )
        return
    click.echo(f"{out}: {len(pool.names)} models, reference {reference.api_id}")
    if isfinite(evidence.log_energy_ratio):
        click.echo(f"log_energy_ratio out of fold: {evidence.log_energy_ratio:+.3f}")
    if result is not None:
        click.echo(f"Held out: {result.verdict()}")
    if trained.artifact.calibration is not None:
        headers = ("prompts like", "number", "confidence", *(f"{bar:.2f}" for bar in SHOWN_BARS))
        click.echo("Certified, with the energy that each quality bar takes:")
        rows = promise_rows(trained.artifact.calibration)
        click.echo(render_table(headers, rows, "<>>>>>>"))
    if expected is not None:
        click.echo(f"{'Warning: ' if expected['worth_it'] else ''}{expected['advice']}")


def _command(
    runs: tuple[str, ...],
    pool_file: str | None,
    out: str,
    default_runs: bool,
    encoder: str,
    splits: int,
    calibration_share: float,
    seed: int,
) -> str:
    words = ["wattroute", "train"]
    words += ["--default-runs"] if default_runs else [Path(run).name for run in runs]
    if pool_file is not None:
        words += ["--pool", Path(pool_file).name]
    if encoder != "static":
        words += ["--encoder", encoder]
    if calibration_share != CALIBRATION_SHARE:
        words += ["--calibration-share", f"{calibration_share:g}"]
    words += ["--splits", str(splits), "--seed", str(seed), "--out", out]
    return shlex.join(words)
