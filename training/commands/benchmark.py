"""``wattroute benchmark``: the benchmark protocol on a pool."""

from __future__ import annotations

import json
from pathlib import Path

import click

from router.errors import ConfigError
from router.eval.benchmark import run_benchmark
from router.eval.report import render_benchmark, render_curve, write_report
from router.pool import load_pool
from router.training.commands.options import (
    jobs_option,
    json_option,
    load_pool_runs,
    make_extractor,
    make_folder,
    on_bad_option,
    progress_printer,
    seed_option,
)
from router.training.default_runs import DEFAULT_POOL_FILE, load_default_runs
from router.training.learning_curve import run_learning_curve
from router.training.method import LearnedRouter

__all__ = ["benchmark"]


@click.command(
    epilog="""\b
Examples:
  wattroute benchmark pool.toml
  wattroute benchmark pool.toml --seeds 10 --report report/ --decisions decisions.parquet
  wattroute benchmark pool.toml --learning-curve --report report/
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
@click.option("--decisions", metavar="FILE.parquet", help="Write every decision here.")
@click.option(
    "--learning-curve",
    "with_curve",
    is_flag=True,
    help="Measure with fewer training prompts too, as `wattroute learning-curve` does.",
)
@click.option("--encoder", default="static", show_default=True, metavar="NAME", help="As in train.")
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
    decisions: str | None,
    with_curve: bool,
    encoder: str,
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
        make_folder(Path(decisions).parent)
    if default_runs:
        if pool_file is not None:
            raise ConfigError("give either POOL.toml or --default-runs")
        loaded_default = load_default_runs(cache_dir=Path(".wattroute"), n_jobs=jobs)
        say(loaded_default.summary())
        pool, matrix = load_pool(DEFAULT_POOL_FILE), loaded_default.runs.to_matrix()
    elif pool_file is None:
        raise click.UsageError("give a POOL.toml or --default-runs")
    else:
        loaded = load_pool_runs(runs, pool_file, on_bad, say)
        pool, matrix = loaded.pool, loaded.matrix
    extractor = make_extractor(encoder, matrix)
    result = run_benchmark(
        matrix,
        pool,
        LearnedRouter(pool, extractor, n_jobs=jobs),
        seeds=range(seed, seed + seeds),
        extractor=extractor,
        progress=say,
    )
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
    if report is not None:
        write_report(result, report, curve)
        say(f"report written to {report}")
    if decisions is not None:
        result.write_decisions(decisions)
        say(f"decisions written to {decisions}")
    if as_json:
        found = result.to_dict()
        if curve is not None:
            found["learning_curve"] = curve.to_dict()
        click.echo(json.dumps(found, indent=1))
        return
    click.echo(render_benchmark(result))
    if curve is not None:
        click.echo(render_curve(curve))
