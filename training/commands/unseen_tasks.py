"""``wattroute unseen-tasks``: what the router does on kinds of tasks that it was not trained on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click

from router.errors import ConfigError
from router.eval.unseen_tasks import render_unseen_tasks
from router.pool import load_pool
from router.training.commands.options import (
    jobs_option,
    json_option,
    load_pool_runs,
    make_extractor,
    on_bad_option,
    progress_printer,
    seed_option,
)
from router.training.default_runs import (
    DATA_DIR,
    DEFAULT_POOL_FILE,
    TASKS_FILE,
    load_default_runs,
)
from router.training.unseen_tasks import leading_parts, run_unseen_tasks

__all__ = ["unseen_tasks"]


@click.command(
    epilog="""\b
Examples:
  wattroute unseen-tasks pool.toml --by 1
  wattroute unseen-tasks pool.toml runs.parquet --families families.json --json
  wattroute unseen-tasks --default-runs --only games --only logic
"""
)
@click.argument("pool_file", required=False, metavar="POOL.toml")
@click.argument("runs", nargs=-1, metavar="[RUNS...]")
@click.option(
    "--default-runs",
    is_flag=True,
    help="Use the default runs and the default pool; families are the categories of tasks.",
)
@click.option(
    "--by",
    metavar="task|N",
    help="Families are the task labels, or their first N parts between dots or slashes.  "
    "[default: task]",
)
@click.option(
    "--families",
    "families_file",
    metavar="FILE.json",
    help="An object from task labels to families; labels that it lacks are always known.",
)
@click.option("--only", multiple=True, metavar="FAMILY", help="Leave out these families only.")
@click.option(
    "--bar",
    "bars",
    multiple=True,
    type=click.FloatRange(0.0, 1.0, min_open=True),
    default=(0.90, 0.95, 0.98),
    show_default=True,
    help="Quality bars to serve.",
)
@click.option("--encoder", default="static", show_default=True, metavar="NAME", help="As in train.")
@on_bad_option
@jobs_option
@seed_option
@json_option
def unseen_tasks(
    pool_file: str | None,
    runs: tuple[str, ...],
    default_runs: bool,
    by: str | None,
    families_file: str | None,
    only: tuple[str, ...],
    bars: tuple[float, ...],
    encoder: str,
    on_bad: str,
    jobs: int,
    seed: int,
    as_json: bool,
) -> None:
    """Measure the router on kinds of tasks that it was not trained on.

    For every family of tasks a router is trained on all others. Shown are how surely its guard
    notices prompts of the family, and which quality and energy it keeps on them. Exit code 1 says
    that a family misses a bar by more than 0.02.

    POOL.toml names the candidates and, unless RUNS are given, the evaluation runs.
    """
    if by is not None and families_file is not None:
        raise ConfigError("give either --by or --families")
    family_of = _family_of(by, families_file, default_runs)
    say = progress_printer()
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
    found = run_unseen_tasks(
        matrix,
        pool,
        family_of,
        bars=bars,
        only=only,
        extractor=make_extractor(encoder, matrix),
        seed=seed,
        n_jobs=jobs,
        progress=say,
    )
    click.echo(json.dumps(found.to_dict(), indent=1) if as_json else render_unseen_tasks(found))
    if not found.within:
        click.get_current_context().exit(1)


def _family_of(
    by: str | None, families_file: str | None, default_runs: bool
) -> Callable[[str], str]:
    """Return the function from task labels to families."""
    if families_file is not None:
        return _mapped(_read_families(Path(families_file)))
    if by is None and default_runs:
        described = json.loads((DATA_DIR / TASKS_FILE).read_text(encoding="utf-8"))
        return _mapped({task["task"]: task["category"] for task in described["tasks"]})
    if by is None or by == "task":
        return str
    if not by.isdecimal() or int(by) < 1:
        raise ConfigError(f"--by is {by!r}: use 'task' or a number of parts from 1 up")
    return leading_parts(int(by))


def _mapped(families: dict[str, str]) -> Callable[[str], str]:
    return lambda task: families.get(task, "")


def _read_families(file: Path) -> dict[str, str]:
    try:
        families = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{file}: not JSON: {error}") from error
    if not isinstance(families, dict) or not all(isinstance(f, str) for f in families.values()):
        raise ConfigError(f"{file}: expected an object from task labels to names of families")
    return families
