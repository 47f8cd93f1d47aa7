"""``wattroute benchmark``: the benchmark protocol on a pool."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click

from router.artifact import read_artifact
from router.calibration import Calibration
from router.errors import ConfigError
from router.eval.baselines import default_baselines
from router.eval.baselines.written_rules import WrittenRules
from router.eval.benchmark import run_benchmark
from router.eval.report import render_benchmark, render_curve, write_report
from router.eval.report.runs_section import runs_sections
from router.eval.runs_description import describe_runs
from router.pool import Pool, load_pool
from router.router import router_folder
from router.rules import TaskRules
from router.training.commands.options import (
    check_output,
    input_files,
    jobs_option,
    json_option,
    load_pool_runs,
    make_extractor,
    make_folder,
    on_bad_option,
    progress_printer,
    replacing,
    seed_option,
)
from router.training.commands.tracking_options import StartRun, tracking_options
from router.training.default_runs import DEFAULT_DATA, DEFAULT_POOL_FILE, load_default_runs
from router.training.learning_curve import run_learning_curve
from router.training.method import LearnedRouter
from router.training.tracked_figures import log_benchmark, run_params

__all__ = ["benchmark"]


@click.command(
    epilog="""\b
Examples:
  wattroute benchmark pool.toml
  wattroute benchmark pool.toml --seeds 10 --report report/ --decisions decisions.parquet
  wattroute benchmark pool.toml --learning-curve --report report/
  wattroute benchmark pool.toml --report report/ --router my-router --no-prompts
  wattroute benchmark pool.toml --rules rules.toml
  wattroute benchmark --default-runs --json
"""
)
@click.argument("pool_file", required=False, metavar="POOL.toml")
@click.argument("runs", nargs=-1, metavar="[RUNS...]")
@click.option("--default-runs", is_flag=True, help="Use the default runs and the default pool.")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Number of splits, with seeds from --seed upwards.",
)
@click.option("--report", metavar="DIR", help="Write report.html, report.md and report.json here.")
@click.option(
    "--prompts/--no-prompts",
    default=True,
    show_default=True,
    help="Show the texts of the worst decisions' prompts in the report and the JSON.",
)
@click.option(
    "--router",
    "router_dir",
    metavar="DIR",
    help="Show in the report what this stored router of the same models promises.",
)
@click.option(
    "--rules",
    "rules_file",
    metavar="RULES.toml",
    help="Compare with these task rules too, as `wattroute serve` takes them.",
)
@click.option("--decisions", metavar="FILE.parquet", help="Write every decision here.")
@click.option(
    "--learning-curve",
    "with_curve",
    is_flag=True,
    help="Measure with fewer training prompts too, as `wattroute learning-curve` does.",
)
@click.option("--encoder", default="static", show_default=True, metavar="NAME", help="As in train.")
@tracking_options
@on_bad_option
@jobs_option
@seed_option
@json_option
def benchmark(
    pool_file: str | None,
    runs: tuple[str, ...],
    default_runs: bool,
    seeds: int,
    report: str | None,
    prompts: bool,
    router_dir: str | None,
    rules_file: str | None,
    decisions: str | None,
    with_curve: bool,
    encoder: str,
    start_run: StartRun,
    on_bad: str,
    jobs: int,
    seed: int,
    as_json: bool,
) -> None:
    """Compare the router with every baseline on held-out prompts.

    POOL.toml names the candidates and, unless RUNS are given, the evaluation runs.
    """
    say = progress_printer()
    if report is not None:
        make_folder(Path(report))
    if decisions is not None:
        inputs = (DEFAULT_POOL_FILE,) if default_runs else input_files(runs, pool_file)
        check_output("--decisions", decisions, (*inputs, *([rules_file] if rules_file else ())))
        make_folder(Path(decisions).parent)
    if default_runs:
        if pool_file is not None:
            raise ConfigError("give either POOL.toml or --default-runs")
        loaded_default = load_default_runs(cache_dir=Path(".wattroute"), n_jobs=jobs)
        say(loaded_default.summary())
        pool, matrix = load_pool(DEFAULT_POOL_FILE), loaded_default.runs.to_matrix()
        digest, data = loaded_default.runs.digest, DEFAULT_DATA
    elif pool_file is None:
        raise click.UsageError("give a POOL.toml or --default-runs")
    else:
        loaded = load_pool_runs(runs, pool_file, on_bad, say)
        pool, matrix = loaded.pool, loaded.matrix
        digest = loaded.runs.digest
        data = ", ".join(Path(name).name for name in loaded.runs.files)
    calibration = None if router_dir is None else _promises(router_dir, pool, say)
    baselines = None
    if rules_file is not None:
        written = WrittenRules(TaskRules.load(rules_file, pool=pool), pool)
        baselines = (*default_baselines(), written)
    extractor = make_extractor(encoder, matrix)
    with start_run(f"benchmark {pool.name}", "benchmark") as run:
        run.log_params(
            run_params(
                pool,
                data_digest=digest,
                n_prompts=len(matrix),
                seed=seed,
                n_splits=seeds,
                features=extractor.spec,
            )
        )
        run.log_dataset(pool.name, digest, len(matrix), list(matrix.models), data, "evaluation")
        result = run_benchmark(
            matrix,
            pool,
            LearnedRouter(pool, extractor, n_jobs=jobs),
            seeds=range(seed, seed + seeds),
            extractor=extractor,
            baselines=baselines,
            progress=say,
        )
        log_benchmark(run, result)
    curve = None
    if with_curve:
        curve = run_learning_curve(
            matrix,
            pool,
            seeds=result.seeds,
            extractor=extractor,
            n_jobs=jobs,
            progress=say,
        )
    # the figures took long: they are shown before a file can fail to be written
    if as_json:
        found = result.to_dict(prompts=prompts)
        if curve is not None:
            found["learning_curve"] = curve.to_dict()
        click.echo(json.dumps(found, indent=1))
    else:
        click.echo(render_benchmark(result))
        if curve is not None:
            click.echo(render_curve(curve))
    if report is not None:
        write_report(
            result,
            report,
            curve,
            calibration=calibration,
            runs=runs_sections(describe_runs(matrix, pool, seeds=result.seeds)),
            prompts=prompts,
        )
        say(f"report written to {report}")
    if decisions is not None:
        with replacing(decisions) as part:
            result.write_decisions(part)
        say(f"decisions written to {decisions}")


def _promises(folder: str, pool: Pool, say: Callable[[str], None]) -> Calibration | None:
    """Read what a stored router promises."""
    artifact = read_artifact(router_folder(folder))
    if sorted(artifact.pool.names) != sorted(pool.names):
        raise ConfigError(
            f"--router {folder}: it chooses between {', '.join(artifact.pool.names)}, the pool "
            f"{pool.name!r} has {', '.join(pool.names)}: give a router of the same models"
        )
    if artifact.calibration is None:
        say(f"{folder} was never calibrated: the report has no certificates")
    return artifact.calibration
