"""``wattroute learning-curve``: what a router reaches with how many graded prompts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from router.errors import ConfigError
from router.eval.corruption import Corruption
from router.eval.report import render_curve, write_curve_report
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
from router.training.learning_curve import SIZES, run_learning_curve

__all__ = ["learning_curve", "parse_sizes"]


def parse_sizes(text: str) -> tuple[int, ...]:
    """Read numbers of prompts that are separated by commas.

    Raises
    ------
    ConfigError
        If one is not a whole number.
    """
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ConfigError(
            f"--sizes is {text!r}: give whole numbers, separated by commas"
        ) from error


@click.command(
    epilog="""\b
Examples:
  wattroute learning-curve pool.toml
  wattroute learning-curve pool.toml --sizes 50,200,1000,5000 --out report/
  wattroute learning-curve pool.toml --corrupt flip:0.2 --json
"""
)
@click.argument("pool_file", metavar="POOL.toml")
@click.argument("runs", nargs=-1, metavar="[RUNS...]")
@click.option(
    "--sizes",
    default=",".join(map(str, SIZES)),
    show_default=True,
    metavar="N,N,...",
    help="Numbers of training prompts; the full training splits are always added.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Number of splits, with seeds from --seed upwards.",
)
@click.option(
    "--corrupt",
    metavar="KIND[:SHARE]",
    help="Make the runs worse first: flip:0.2, missing:0.5 (training prompts alone), perfect, "
    "failing, constant, twins, lone-task.",
)
@click.option("--out", metavar="DIR", help="Write report.html, report.md and report.json here.")
@click.option("--encoder", default="static", show_default=True, metavar="NAME", help="As in train.")
@on_bad_option
@jobs_option
@seed_option
@json_option
def learning_curve(
    pool_file: str,
    runs: tuple[str, ...],
    sizes: str,
    seeds: int,
    corrupt: str | None,
    out: str | None,
    encoder: str,
    on_bad: str,
    jobs: int,
    seed: int,
    as_json: bool,
) -> None:
    """Show how the router gains with the number of graded prompts.

    POOL.toml names the candidates and, unless RUNS are given, the evaluation runs. The router is
    trained on the first prompts of each training split and measured on the whole test split,
    beside the zero router that saw the same prompts: on its frontier, and as it is served. The
    exit code is 1 if it is worse than the zero router + 0.02 beyond chance at some size.
    """
    say = progress_printer()
    wanted = parse_sizes(sizes)
    corruption = None if corrupt is None else Corruption.parse(corrupt)
    if out is not None:
        make_folder(Path(out))
    loaded = load_pool_runs(runs, pool_file, on_bad, say)
    curve = run_learning_curve(
        loaded.matrix,
        loaded.pool,
        sizes=wanted,
        seeds=range(seed, seed + seeds),
        extractor=make_extractor(encoder, loaded.matrix),
        corruption=corruption,
        n_jobs=jobs,
        progress=say,
    )
    if out is not None:
        write_curve_report(curve, out)
        say(f"report written to {out}")
    click.echo(json.dumps(curve.to_dict(), indent=1) if as_json else render_curve(curve))
    sys.exit(int(curve.broken))
