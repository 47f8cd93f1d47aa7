"""``wattroute demo``: everything once, on the default runs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from router import Router
from router.cli.route import render_decision
from router.eval.benchmark import run_benchmark
from router.eval.report import render_benchmark, write_report
from router.eval.suites import reasoning_gym_prompts
from router.pool import load_pool
from router.training.commands.options import (
    jobs_option,
    json_option,
    make_extractor,
    make_folder,
    progress_printer,
    seed_option,
)
from router.training.default_runs import DEFAULT_DATA, DEFAULT_POOL_FILE, load_default_runs
from router.training.method import LearnedRouter
from router.training.tracking import MlflowTracker
from router.training.workflow import TrainingJob, run_training

__all__ = ["demo"]

_NEW_PROMPTS = "products+mini_sudoku:size=1,seed=10001"
_OTHER_PROMPT = "Write a friendly invitation to a garden party, in three sentences."


@click.command(
    epilog="""\b
Examples:
  wattroute demo
  wattroute demo --out try-out --seeds 5
"""
)
@click.option(
    "--out", default="demo", show_default=True, metavar="DIR", help="Folder for what it makes."
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    help="Splits of the benchmark.",
)
@jobs_option
@seed_option
@json_option
def demo(out: str, seeds: int, jobs: int, seed: int, as_json: bool) -> None:
    """Train, benchmark and try a router on the default evaluation runs.

    Prompts are regenerated with reasoning-gym, the router is trained with MLflow tracking and
    compared with every baseline on held-out prompts, a report is written, and three prompts
    are routed.
    """
    say = progress_printer()
    folder = Path(out)
    make_folder(folder)
    say("1 of 4: the default evaluation runs")
    loaded = load_default_runs(cache_dir=Path(".wattroute"), n_jobs=jobs)
    say(loaded.summary())
    pool, matrix = load_pool(DEFAULT_POOL_FILE), loaded.runs.to_matrix()
    extractor = make_extractor("static", matrix)

    tracker = MlflowTracker(run_name="demo")
    say(f"2 of 4: training on all of them, tracked in {tracker.tracking_uri}")
    job = TrainingJob(
        matrix=matrix,
        pool=pool,
        extractor=extractor,
        out=folder / "router",
        data=DEFAULT_DATA,
        digest=loaded.runs.digest,
        command=f"wattroute demo --seed {seed}",
        seed=seed,
        n_splits=0,
        n_jobs=jobs,
    )
    trained, _ = run_training(job, tracker, say)

    say(f"3 of 4: benchmark on {seeds} splits, each with a router of its own")
    result = run_benchmark(
        matrix,
        pool,
        LearnedRouter(pool, extractor, n_jobs=jobs),
        seeds=range(seed, seed + seeds),
        extractor=extractor,
        progress=say,
    )
    write_report(result, folder / "report", calibration=trained.artifact.calibration)

    say("4 of 4: two new prompts of tasks that it was trained on, and one of another kind")
    router = Router.load(folder / "router")
    prompts = [made.prompt for made in reasoning_gym_prompts(_NEW_PROMPTS)] + [_OTHER_PROMPT]
    decisions = router.route_many(prompts)
    if as_json:
        found = {"benchmark": result.to_dict(), "decisions": [d.to_dict() for d in decisions]}
        click.echo(json.dumps(found, indent=1))
        return
    click.echo(render_benchmark(result))
    for prompt, decision in zip(prompts, decisions, strict=True):
        click.echo(f"\n> {prompt}\n{render_decision(decision)}")
    click.echo(
        f"\nRouter: {folder / 'router'}   report: {folder / 'report' / 'report.html'}\n"
        f"Next: wattroute route --router {folder / 'router'} 'Your prompt'"
    )
