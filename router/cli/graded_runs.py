"""``wattroute graded-runs``: evaluation runs from the decision logs of a proxy."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from router.cli.options import unused_seed_option
from router.errors import ConfigError
from router.messages import has_text

__all__ = ["graded_runs"]


@click.command(
    "graded-runs",
    epilog="""\b
Examples:
  wattroute graded-runs decisions.jsonl --out runs.jsonl
  wattroute train runs.jsonl --pool pool.toml --out my-router
""",
)
@click.argument(
    "logs",
    nargs=-1,
    required=True,
    metavar="LOG...",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
)
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.jsonl",
    help="File of evaluation runs to write.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON.")
@unused_seed_option
def graded_runs(logs: tuple[Path, ...], out: Path, as_json: bool) -> None:
    """Write the graded answers of decision logs as evaluation runs.

    A decision becomes a run if its prompt was logged (`wattroute serve --log-prompts`), it was
    answered, and a grade came in at /v1/feedback. Prompts that are malformed or have no text are
    passed over. `wattroute train` reads the file.
    """
    from router.serve.decision_log import graded_runs as read_graded_runs

    if out.resolve() in [log.resolve() for log in logs]:
        raise ConfigError(f"--out must not be one of the logs: {out}")
    count = n_passed_over = 0
    models: set[str] = set()
    part = out.with_name(f"{out.name}.part")
    try:
        # prompts are for their owner alone, as they are in the log
        with open(part, "w", encoding="utf-8", opener=_private) as file:
            for run in read_graded_runs(logs):
                if not has_text(run["prompt"]):
                    n_passed_over += 1
                    continue
                file.write(json.dumps(run) + "\n")
                count += 1
                models.add(run["model"])
        if count:
            part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    if as_json:
        told = {"runs": count, "passed_over": n_passed_over, "models": sorted(models)}
        click.echo(json.dumps({**told, "out": str(out)}))
    elif count:
        click.echo(f"{count:,} graded runs of {len(models)} models in {out}")
    if n_passed_over:
        why = "their prompts are malformed or have no text"
        click.echo(f"{n_passed_over:,} graded runs passed over: {why}", err=True)
    if not count:
        click.echo(
            "no graded runs: serve with --log-prompts, and send grades to /v1/feedback", err=True
        )
        click.get_current_context().exit(1)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
