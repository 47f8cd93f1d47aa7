"""``wattroute calibrate``: certify a stored router's quality bars on new runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from router import Router
from router.artifact import CARD_FILE, artifact_digest, write_artifact
from router.cli.options import unused_seed_option
from router.cli.table import render_table
from router.errors import ConfigError, DataError
from router.router import router_folder
from router.training.card import with_promise
from router.training.commands.options import (
    json_option,
    on_bad_option,
    progress_printer,
    say_assumed_lengths,
)
from router.training.ingest import load_runs
from router.training.promise import (
    SHOWN_BARS,
    promise_rows,
    promise_summary,
    promises_anything,
)
from router.training.recertify import recertify

__all__ = ["calibrate"]

_METHODS = ("exact", "betting")


@click.command(
    epilog="""\b
Examples:
  wattroute calibrate models/default new-runs.parquet --out my-router
  wattroute calibrate my-router runs/ --out my-router-2 --method betting
"""
)
@click.argument("folder", metavar="DIR")
@click.argument("runs", nargs=-1, required=True, metavar="RUNS...")
@click.option("--out", required=True, metavar="NEWDIR", help="Folder to write the new version to.")
@click.option(
    "--method",
    type=click.Choice(_METHODS),
    help="Test of right and wrong answers, or betting on graded ones.  [default: that of the "
    "router; 'exact' if it was never calibrated]",
)
@on_bad_option
@unused_seed_option
@json_option
def calibrate(
    folder: str,
    runs: tuple[str, ...],
    out: str,
    method: str | None,
    on_bad: str,
    as_json: bool,
) -> None:
    """Certify a stored router's quality bars on new runs, without training it again.

    RUNS are graded answers of all models of the pool, as `wattroute train` takes them. Prompts
    that the router was trained on are left out with a count, and so are those that its guard
    finds unlike them. The result is a new version of the router that names its parent. The exit
    code is 1 if no bar from 0.9 up is certified with a confidence of 0.9.
    """
    say = progress_printer()
    parent = router_folder(folder)
    if Path(out).resolve() == parent.resolve():
        raise ConfigError(f"--out {out} is the router itself: choose another folder")
    if Path(out).is_file():
        raise ConfigError(f"--out {out} is a file: choose a folder")
    artifact = Router.load(folder).artifact
    table = load_runs(runs, on_bad="skip" if on_bad == "skip" else "error")
    say(table.summary())
    missing = [name for name in artifact.pool.names if name not in table.models]
    if missing:
        raise DataError(f"the runs have no model {', '.join(map(repr, missing))}", field="model")
    matrix = table.to_matrix(artifact.pool.names)
    say_assumed_lengths(matrix, say)
    found, left_out = recertify(
        artifact,
        matrix,
        data_digest=table.digest,
        parent=artifact_digest(parent),
        method=method,
    )
    calibration = found.calibration
    assert calibration is not None
    say("; ".join(f"{n:,} prompts left out: {why}" for why, n in left_out.items()))
    card = (parent / CARD_FILE).read_text(encoding="utf-8")
    write_artifact(found, out, with_promise(card, found))
    say(f"new version written to {out}")
    if as_json:
        summary = {"router": out, "parent": found.lineage["parent"], "left_out": left_out}
        click.echo(json.dumps(summary | (promise_summary(calibration) or {}), indent=1))
    else:
        headers = ("prompts like", "number", "confidence", *(f"{bar:.2f}" for bar in SHOWN_BARS))
        click.echo("Energy that each certified quality bar takes, relative to the reference model:")
        click.echo(render_table(headers, promise_rows(calibration), "<>>>>>>"))
    sys.exit(int(not promises_anything(calibration)))
