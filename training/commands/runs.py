"""``wattroute runs``: look at evaluation runs before learning from them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import click

from router.errors import ConfigError
from router.eval.report.runs_section import runs_html
from router.eval.report.runs_text import render_runs
from router.eval.runs_description import describe_runs
from router.pool import Pool, load_pool, pool_from_models
from router.training.commands.options import json_option, make_folder, progress_printer
from router.training.described_runs import prompt_labels, read_as_found
from router.training.runs import Runs

__all__ = ["runs"]


@click.group("runs")
def runs() -> None:
    """Look at evaluation runs before learning from them."""


@runs.command(
    epilog="""\b
Examples:
  wattroute runs describe runs.parquet
  wattroute runs describe runs/ --pool pool.toml --test held-out.parquet --html runs.html
  wattroute runs describe --pool pool.toml --json
"""
)
@click.argument("paths", nargs=-1, metavar="RUNS...")
@click.option(
    "--pool",
    "pool_file",
    metavar="POOL.toml",
    help="Models with their energy, for the ladder and the headroom; names the runs where RUNS "
    "are left out. Without it, all models of the runs that the catalogue knows.",
)
@click.option(
    "--test",
    "test_paths",
    multiple=True,
    metavar="RUNS",
    help="Runs kept for testing: their prompts should not be in RUNS. May be repeated.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Number of splits of the headroom, with seeds from --seed upwards.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="First of the seeds."
)
@click.option("--html", "html_file", metavar="OUT.html", help="Write the description here too.")
@json_option
def describe(
    paths: tuple[str, ...],
    pool_file: str | None,
    test_paths: tuple[str, ...],
    seeds: int,
    seed: int,
    html_file: str | None,
    as_json: bool,
) -> None:
    """Describe evaluation runs: coverage, grades, repeats, leaks, noise, headroom.

    Rows that cannot be used are counted and left out. The exit code is 1 if something makes
    figures from these runs wrong: such rows, contradictory grades, or prompts on both sides of a
    split.
    """
    say = progress_printer()
    pool = None if pool_file is None else load_pool(pool_file)
    if not paths:
        if pool is None:
            raise click.UsageError("give files of runs, or a pool file that names them")
        paths = tuple(map(str, pool.run_paths()))
        if not paths:
            raise ConfigError(f"{pool_file}: names no runs: give them as arguments")
    if html_file is not None:
        # a slip such as --html runs.csv must not cost the runs
        if Path(html_file).suffix.lower() not in (".html", ".htm"):
            raise ConfigError(f"--html {html_file}: the name of a page must end in .html")
        make_folder(Path(html_file).parent)
    found, grading = read_as_found(paths)
    say(found.summary())
    test = None if not test_paths else read_as_found(test_paths)[0].to_matrix()
    without_energy = ""
    if pool is None:
        pool, without_energy = _known_pool(found, say)
    sources = prompt_labels(found, "source")
    description = describe_runs(
        found.to_matrix(),
        pool,
        sources=None if sources is None else [" + ".join(labels) for labels in sources],
        splits=prompt_labels(found, "split"),
        test=test,
        grading=grading,
        without_energy=without_energy,
        seeds=range(seed, seed + seeds),
        progress=say,
    )
    if html_file is not None:
        Path(html_file).write_text(runs_html(description), encoding="utf-8")
        say(f"description written to {html_file}")
    click.echo(json.dumps(description.to_dict(), indent=1) if as_json else render_runs(description))
    sys.exit(int(bool(description.findings())))


def _known_pool(found: Runs, say: Callable[[str], None]) -> tuple[Pool | None, str]:
    """Return the models that the catalogue knows, or why they are no pool."""
    try:
        pool, unknown = pool_from_models(found.models)
    except ConfigError as error:
        return None, str(error)
    if unknown:
        say(f"not in the catalogue, so without energy: {', '.join(unknown)}")
    return pool, ""
