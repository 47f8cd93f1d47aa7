"""``python -m router.training.certify POOL.toml``: simulate the promise on evaluation runs."""

from __future__ import annotations

import json
import sys

import click

from router.errors import WattRouteError
from router.training.certify.paired import METHODS
from router.training.certify.population import population_of
from router.training.certify.simulate import render_cells, simulate
from router.training.commands.options import (
    jobs_option,
    json_option,
    load_pool_runs,
    progress_printer,
    seed_option,
)

__all__ = ["simulate_promise"]


@click.command()
@click.argument("pool_file", metavar="POOL.toml")
@click.option("--draws", type=click.IntRange(min=1), default=500, show_default=True)
@click.option(
    "--size",
    "sizes",
    type=click.IntRange(min=1),
    multiple=True,
    default=(300, 1000, 3000),
    show_default=True,
    help="Calibration prompts; repeat for more sizes.",
)
@click.option("--method", type=click.Choice(list(METHODS)), default="exact", show_default=True)
@jobs_option
@seed_option
@json_option
def simulate_promise(
    pool_file: str,
    draws: int,
    sizes: tuple[int, ...],
    method: str,
    jobs: int,
    seed: int,
    as_json: bool,
) -> None:
    """Train on two fifths of a pool's prompts and certify samples of the rest.

    Prints, for each number of calibration prompts, bar and confidence, how many certificates
    were wrong and what energy the promise costs. Exits with 1 if more were wrong than may be.
    """
    say = progress_printer()
    try:
        loaded = load_pool_runs((), pool_file, "error", say)
        population = population_of(loaded.matrix, loaded.pool, seed=seed, n_jobs=jobs, progress=say)
    except (WattRouteError, OSError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    cells = simulate(population, sizes=sizes, draws=draws, method=method, seed=seed, progress=say)
    if as_json:
        click.echo(json.dumps([cell.to_dict() for cell in cells], indent=1))
    else:
        click.echo(render_cells(cells))
    if not all(cell.kept for cell in cells):
        raise click.exceptions.Exit(1)


if __name__ == "__main__":
    simulate_promise()
