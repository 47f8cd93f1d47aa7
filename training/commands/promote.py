"""``wattroute promote``: set the champion's alias to a challenger, if it is better."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import click
import numpy as np

from router import Router
from router.artifact import artifact_digest
from router.cli.table import render_table
from router.errors import ConfigError, DataError
from router.eval.matrix import AnswerMatrix
from router.mlflow_store import DEFAULT_TRACKING_URI
from router.registry import find_router, is_router_uri
from router.router import router_folder
from router.training.commands.options import (
    json_option,
    on_bad_option,
    progress_printer,
    say_assumed_lengths,
    seed_option,
)
from router.training.ingest import load_runs
from router.training.promotion import (
    Contest,
    PromotionRule,
    compare_routers,
    joint_pool,
    seen_prompts,
)
from router.training.promotion_run import PromotionRecord, find_champion, record_promotion

__all__ = ["promote"]


@click.command(
    epilog="""\b
Examples:
  wattroute promote my-router held-out.parquet
  wattroute promote runs:/0123abcd held-out.parquet --quality 0.95 --dry-run
  wattroute promote 7 held-out/ --name wattroute --alias champion
"""
)
@click.argument("challenger", metavar="CHALLENGER")
@click.argument("runs", nargs=-1, required=True, metavar="RUNS...")
@click.option("--name", default="wattroute", show_default=True, help="The registered model.")
@click.option("--alias", default="champion", show_default=True, help="The alias to set.")
@click.option(
    "--quality",
    default=0.98,
    show_default=True,
    metavar="Q",
    help="Quality bar that both routers serve.",
)
@click.option(
    "--margin",
    default=0.01,
    show_default=True,
    metavar="M",
    help="How far below the bar quality may be.",
)
@click.option(
    "--level",
    default=0.05,
    show_default=True,
    metavar="A",
    help="Chance of promoting a router that is not better.",
)
@click.option(
    "--leave-out-seen",
    is_flag=True,
    help="Leave out prompts that a router was trained on, instead of refusing the runs.",
)
@click.option("--dry-run", is_flag=True, help="Compare, and change nothing in the store.")
@click.option(
    "--tracking-uri",
    metavar="URI",
    help="MLflow store.  [default: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db]",
)
@click.option("--experiment", default="wattroute", show_default=True, help="MLflow experiment.")
@on_bad_option
@seed_option
@json_option
def promote(
    challenger: str,
    runs: tuple[str, ...],
    name: str,
    alias: str,
    quality: float,
    margin: float,
    level: float,
    leave_out_seen: bool,
    dry_run: bool,
    tracking_uri: str | None,
    experiment: str,
    on_bad: str,
    seed: int,
    as_json: bool,
) -> None:
    """Make a router the champion if it is better than the one that is.

    CHALLENGER is a folder, a URI (runs:/RUN_ID, models:/NAME/VERSION), or a version of the
    registered model. RUNS are graded answers, of all models of both routers, to prompts that
    neither was trained on.

    Better means: at the quality bar it keeps the bar less the margin, and takes less energy than
    the champion, both shown by a paired one-sided test at the level. Without a champion it has to
    take less energy than its own reference model. Then it is registered if it was not, and the
    alias is set to it; the comparison is logged as a run either way. The exit code is 1 if the
    alias stays where it was.
    """
    rule = PromotionRule(quality, margin, level)
    _check_alias(alias)
    say = progress_printer()
    uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_TRACKING_URI
    if challenger.isdecimal():
        challenger = f"models:/{name}/{challenger}"
    stored = find_router(challenger, uri) if is_router_uri(challenger) else None
    folder = _folder(challenger, uri)
    router = Router.load(folder)
    found = find_champion(uri, name, alias)
    champion = None
    if found is None:
        say(f"models:/{name}@{alias}: none yet; the reference model stands in for it")
    else:
        say(f"models:/{name}@{alias}: version {found.version}")
        champion_folder = _folder(found.uri, uri)
        if artifact_digest(champion_folder) == artifact_digest(folder):
            raise ConfigError(f"{challenger} is the champion already: version {found.version}")
        champion = Router.load(champion_folder)
    table = load_runs(runs, on_bad="skip" if on_bad == "skip" else "error")
    say(table.summary())
    pool, _ = joint_pool(router, champion)
    missing = [model for model in pool.names if model not in table.models]
    if missing:
        raise DataError(f"the runs have no model {', '.join(map(repr, missing))}", field="model")
    whole = table.to_matrix(pool.names)
    complete = whole.complete_rows()
    say(f"{len(whole) - len(complete):,} prompts left out: without a grade of every model")
    fresh, notes = _unseen(complete, router, champion, leave_out_seen)
    say_assumed_lengths(fresh, say)
    contest = compare_routers(router, champion, fresh, rule, seed=seed)
    for note in (*notes, *contest.notes):
        say(f"warning: {note}")
    record = None
    if not dry_run:
        record = record_promotion(
            contest,
            pool,
            table,
            uri=uri,
            experiment=experiment,
            name=name,
            alias=alias,
            challenger=challenger,
            folder=folder,
            stored=stored,
            champion=found,
            notes=notes,
            seed=seed,
        )
        for note in record.notes:
            say(f"warning: {note}")
    if as_json:
        champion_version = None if found is None else found.version
        click.echo(json.dumps(_summary(contest, record, champion_version, notes), indent=1))
    else:
        click.echo(_render(contest, challenger))
        click.echo(_outcome(contest, record, f"models:/{name}@{alias}"))
    click.get_current_context().exit(0 if contest.better else 1)


def _folder(place: str, uri: str) -> Path:
    """Return the folder of a router, fetched from this store if it is a URI."""
    if is_router_uri(place):
        from router.registry import fetch_router

        return fetch_router(place, uri)
    return router_folder(place)


def _check_alias(alias: str) -> None:
    """Refuse before the work what MLflow would refuse after it."""
    if not re.fullmatch(r"[\w-]+", alias, re.ASCII) or re.fullmatch(
        r"latest|v\d+", alias, re.IGNORECASE
    ):
        raise ConfigError(
            f"--alias {alias!r}: use letters, digits, _ and -, and neither 'latest' nor the like "
            "of 'v1'"
        )


def _unseen(
    matrix: AnswerMatrix, challenger: Router, champion: Router | None, leave_out: bool
) -> tuple[AnswerMatrix, tuple[str, ...]]:
    """Return the prompts that neither router has seen, and what is not known."""
    seen = np.zeros(len(matrix), bool)
    notes, counts = [], []
    for role, router in (("challenger", challenger), ("champion", champion)):
        if router is None:
            continue
        known = seen_prompts(router, matrix)
        if known is None:
            notes.append(
                f"the {role} does not say what it was trained on: if these prompts were in it, "
                "the comparison favours it"
            )
            continue
        seen |= known
        counts.append(f"the {role} {int(known.sum()):,}")
    if seen.any() and not leave_out:
        raise DataError(
            f"{int(seen.sum()):,} of {len(matrix):,} prompts were trained or certified on "
            f"({', '.join(counts)}): give runs that are new to both, or --leave-out-seen"
        )
    if seen.any():
        notes.append(f"{int(seen.sum()):,} prompts left out that were trained or certified on")
    return matrix.rows(~seen), tuple(notes)


def _summary(
    contest: Contest,
    record: PromotionRecord | None,
    champion: str | None,
    notes: tuple[str, ...],
) -> dict[str, object]:
    return {
        "promoted": record is not None and contest.better,
        "champion": champion,
        "version": None if record is None else record.version,
        "run_id": None if record is None else record.run_id,
        **contest.to_dict(),
        "notes": [*notes, *contest.notes, *(() if record is None else record.notes)],
    }


def _render(contest: Contest, challenger: str) -> str:
    opponent = "champion" if contest.has_champion else f"always {contest.reference}"
    rows = [
        (challenger, f"{contest.challenger_quality:.3f}", f"{contest.challenger_energy:.3f}"),
        (opponent, f"{contest.champion_quality:.3f}", f"{contest.champion_energy:.3f}"),
    ]
    table = render_table(("router", "quality", "energy"), rows, "<>>")
    reasons = "\n".join(f"- {reason}" for reason in contest.reasons())
    return (
        f"{contest.n_prompts:,} prompts; quality and energy relative to {contest.reference}\n\n"
        f"{table}\n\n{reasons}\n"
    )


def _outcome(contest: Contest, record: PromotionRecord | None, alias: str) -> str:
    if record is not None and contest.better:
        return f"Promoted: {alias} is version {record.version} now."
    if contest.better:
        return f"Better: without --dry-run, {alias} would be set to it."
    return f"Not promoted: {alias} stays as it was."
