"""``wattroute evaluate``: a stored router on evaluation runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
import numpy as np

from router import Router
from router.artifact import artifact_digest
from router.cli.table import render_table
from router.errors import ArtifactError, DataError
from router.eval.stored import StoredEvaluation, evaluate_stored
from router.registry import find_router, is_router_uri
from router.router import router_folder
from router.training.commands.options import (
    json_option,
    on_bad_option,
    progress_printer,
    say_assumed_lengths,
    seed_option,
)
from router.training.commands.tracking_options import StartRun, tracking_options
from router.training.ingest import load_runs
from router.training.promotion import seen_prompts
from router.training.tracked_figures import evaluation_figures, run_params
from router.training.train import prompt_hashes

__all__ = ["evaluate"]


@click.command(
    epilog="""\b
Examples:
  wattroute evaluate models/default new-runs.parquet
  wattroute evaluate my-router runs/ --json
  wattroute evaluate models:/wattroute@champion runs/ --track
"""
)
@click.argument("folder", metavar="DIR")
@click.argument("runs", nargs=-1, required=True, metavar="RUNS...")
@tracking_options
@on_bad_option
@seed_option
@json_option
def evaluate(
    folder: str,
    runs: tuple[str, ...],
    start_run: StartRun,
    on_bad: str,
    seed: int,
    as_json: bool,
) -> None:
    """Measure a stored router on evaluation runs.

    Prompts that the router was trained or certified on are left out with a count. For each
    quality bar it shows the share of the reference model's quality that was kept and the energy
    it took. The seed is that of the simulated calibration floor. The exit code is 1 if a bar was
    missed beyond chance.
    """
    say = progress_printer()
    router = Router.load(folder)
    artifact = router.artifact
    table = load_runs(runs, on_bad="skip" if on_bad == "skip" else "error")
    say(table.summary())
    missing = [name for name in artifact.pool.names if name not in table.models]
    if missing:
        raise DataError(f"the runs have no model {', '.join(map(repr, missing))}", field="model")
    matrix = table.to_matrix(artifact.pool.names)
    complete = matrix.complete_rows()
    seen = seen_prompts(router, complete)
    if seen is None:
        raise ArtifactError(f"{folder} does not say what it was trained on: train it again")
    hashes = prompt_hashes(complete.prompts)
    trained_on = np.isin(hashes, np.array(artifact.lineage["prompt_hashes"], np.int64))
    fresh = complete.rows(~seen)
    say(
        f"{len(fresh):,} new prompts; left out: {int(trained_on.sum()):,} that it was trained on, "
        f"{int((seen & ~trained_on).sum()):,} that it was certified on, "
        f"{len(matrix) - len(complete):,} without a grade of every model"
    )
    if not len(fresh):
        raise DataError("no prompt is left that the router was not trained on, or certified on")
    say_assumed_lengths(fresh, say)
    given = fresh.embeddings if artifact.features.encoder.startswith("precomputed") else None
    shown = folder if is_router_uri(folder) else Path(folder).name
    with start_run(f"evaluate {shown}", "evaluate") as run:
        if is_router_uri(folder):
            run.judge_router(find_router(folder))
        run.log_params(
            run_params(
                artifact.pool,
                data_digest=table.digest,
                n_prompts=len(fresh),
                seed=seed,
                reference=router.reference,
                router=folder,
                router_digest=artifact_digest(router_folder(folder)),
            )
        )
        source = ", ".join(Path(name).name for name in table.files)
        name = artifact.pool.name
        run.log_dataset(name, table.digest, len(fresh), table.models, source, "evaluation")
        found = evaluate_stored(router, fresh, given, seed=seed)
        run.log_metrics(evaluation_figures(found))
        run.describe("\n".join(_verdicts(found)))
    click.echo(json.dumps(found.to_dict(), indent=1) if as_json else _render(found))
    sys.exit(int(any(outcome.broken for outcome in found.bars)))


def _verdicts(found: StoredEvaluation) -> list[str]:
    """Return a line of Markdown for each bar."""
    return [
        f"- Bar {o.bar:.2f}: quality {o.quality:.3f} ({o.quality_low:.3f} to "
        f"{o.quality_high:.3f}), energy {o.energy:.3f} of {found.reference}"
        for o in found.bars
    ]


def _render(found: StoredEvaluation) -> str:
    bars = render_table(
        (
            "bar",
            "certified",
            "quality kept",
            "95 % interval",
            "energy",
            "unlike training",
            "bar kept",
        ),
        [
            (
                f"{o.bar:.2f}",
                "yes" if o.certified else "no",
                f"{o.quality:.3f}",
                f"{o.quality_low:.3f} to {o.quality_high:.3f}",
                f"{o.energy:.3f}",
                f"{o.unlike_training:.0%}",
                "no" if o.broken else ("yes" if o.quality >= o.bar else "within chance"),
            )
            for o in found.bars
        ],
        "><>>>>>",
    )
    names = ("log_energy_ratio", "peak_quality", "auc", "brier", "ece", "ece_floor", "length_error")
    figures = render_table(
        ("figure", "value"), [(name, f"{found.figures[name]:.3f}") for name in names], "<>"
    )
    return (
        f"{found.n_prompts:,} prompts; quality and energy relative to {found.reference}\n\n"
        f"{bars}\n\n{figures}"
    )
