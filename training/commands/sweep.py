"""``wattroute sweep``: search for the parts of the router that suit some runs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from router.cli.table import render_table
from router.errors import ConfigError
from router.eval.splits import PoolPrompts
from router.training.commands.options import (
    jobs_option,
    json_option,
    load_pool_runs,
    make_extractor,
    on_bad_option,
    progress_printer,
    seed_option,
)
from router.training.sweep import FIGURE, RUN_ATTRIBUTE, SweepResult, open_study, run_sweep
from router.training.tracked_figures import run_params
from router.training.tracker import NullTracker, Tracker
from router.training.tracking import MlflowTracker

__all__ = ["sweep"]


@click.command(
    epilog="""\b
Examples:
  wattroute sweep runs.parquet --pool pool.toml --trials 30
  wattroute sweep --pool pool.toml --trials 100 --study sweep.journal --json
"""
)
@click.argument("runs", nargs=-1, metavar="RUNS...")
@click.option(
    "--pool",
    "pool_file",
    metavar="POOL.toml",
    help="The candidates. Without it, all models of the runs that the catalogue knows.",
)
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    help="Trials in all, those of earlier sittings included.",
)
@click.option(
    "--study",
    "study_file",
    default=".wattroute/sweep.journal",
    show_default=True,
    metavar="FILE",
    help="Where trials are kept; the same command goes on where it was stopped.",
)
@click.option("--encoder", default="static", show_default=True, metavar="NAME", help="As in train.")
@click.option("--tracking-uri", metavar="URI", help="MLflow store.  [default: sqlite:///mlflow.db]")
@click.option("--experiment", default="wattroute", show_default=True, help="MLflow experiment.")
@click.option("--no-tracking", is_flag=True, help="Do not log to MLflow.")
@on_bad_option
@jobs_option
@seed_option
@json_option
def sweep(
    runs: tuple[str, ...],
    pool_file: str | None,
    trials: int,
    study_file: str,
    encoder: str,
    tracking_uri: str | None,
    experiment: str,
    no_tracking: bool,
    on_bad: str,
    jobs: int,
    seed: int,
    as_json: bool,
) -> None:
    """Search the options of a fit for those that suit your runs, and test the best.

    On 70 % of the prompts it searches by the out-of-fold log_energy_ratio, beginning with the
    default options. Then the best options are compared with the default ones on the other 30 %,
    which took no part: the best of many trials is flattered by chance.
    """
    if no_tracking and tracking_uri:
        raise ConfigError("--no-tracking rules out --tracking-uri")
    say = progress_printer()
    loaded = load_pool_runs(runs, pool_file, on_bad, say)
    pool, matrix, digest = loaded.pool, loaded.matrix, loaded.runs.digest
    extractor = make_extractor(encoder, matrix)
    name = f"{pool.name} {digest[:12]} {extractor.spec.encoder} seed {seed}"
    study = open_study(Path(study_file), name, seed)
    say(f"{len(study.trials)} trials in {study_file}")
    prompts = PoolPrompts.prepare(matrix, pool, extractor=extractor, progress=say)
    tracker: Tracker = NullTracker()
    if not no_tracking:
        tracker = MlflowTracker(
            tracking_uri,
            experiment,
            f"sweep {pool.name}",
            "sweep",
            run_id=study.user_attrs.get(RUN_ATTRIBUTE),
        )
    with tracker as run:
        if isinstance(run, MlflowTracker):
            study.set_user_attr(RUN_ATTRIBUTE, run.run_id)
        run.log_params(
            run_params(
                pool,
                data_digest=digest,
                n_prompts=len(prompts),
                seed=seed,
                features=extractor.spec,
            )
        )
        source = ", ".join(Path(file).name for file in loaded.runs.files)
        run.log_dataset(pool.name, digest, len(matrix), matrix.models, source)
        found = run_sweep(
            study, prompts, pool, run, n_trials=trials, seed=seed, n_jobs=jobs, progress=say
        )
    click.echo(json.dumps(found.to_dict(), indent=1) if as_json else _render(found))


def _render(found: SweepResult) -> str:
    rows = [(name, str(value)) for name, value in found.changed.items()]
    changed = render_table(("option", "best"), rows, "<<") if rows else "None differs."
    return (
        f"{found.n_trials} trials; {FIGURE}: best {found.best:+.4f}, default "
        f"{found.default:+.4f}\n\nOptions that differ from the default ones:\n{changed}\n\n"
        f"On {found.n_held_out:,} prompts that took no part: {found.verdict()}"
    )
