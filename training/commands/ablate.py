"""``wattroute ablate``: what each part of the router is worth."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click

from router.cli.table import render_table
from router.eval.ablation import ablation_sections
from router.eval.report.markdown import markdown_report
from router.training.ablation import run_ablation
from router.training.commands.options import (
    check_output,
    input_files,
    jobs_option,
    json_option,
    load_pool_runs,
    make_extractor,
    make_folder,
    on_bad_option,
    progress_printer,
    replacing,
    seed_option,
)

__all__ = ["ablate"]

_PREAMBLE = (
    "Routers with one part left out or replaced, on the splits of the benchmark protocol. The test "
    "figures are a report: nothing may be chosen by them. What is kept and what goes is decided "
    "on training prompts, by the out-of-fold table."
)


@click.command(
    epilog="""\b
Examples:
  wattroute ablate pool.toml
  wattroute ablate pools/*.toml --seeds 5 --out docs/ablation.md
"""
)
@click.argument("pool_files", nargs=-1, required=True, metavar="POOL.toml...")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    default=3,
    show_default=True,
    help="Number of splits, with seeds from --seed upwards.",
)
@click.option("--out", metavar="FILE.md", help="Write the tables here as Markdown.")
@click.option("--encoder", default="static", show_default=True, metavar="NAME", help="As in train.")
@on_bad_option
@jobs_option
@seed_option
@json_option
def ablate(
    pool_files: tuple[str, ...],
    seeds: int,
    out: str | None,
    encoder: str,
    on_bad: str,
    jobs: int,
    seed: int,
    as_json: bool,
) -> None:
    """Measure what each part of the router is worth on one or more pools.

    Each POOL.toml names the candidates and their evaluation runs. The router is trained without
    each of its parts in turn; the tables show how its log_energy_ratio changes, on test prompts
    and out of fold.
    """
    say = progress_printer()
    if out is not None:
        inputs = [path for pool_file in pool_files for path in input_files((), pool_file)]
        check_output("--out", out, inputs)
        make_folder(Path(out).parent)
    found, digests = [], []
    for pool_file in pool_files:
        loaded = load_pool_runs((), pool_file, on_bad, say)
        say(f"pool {loaded.pool.name}")
        digests.append(f"{loaded.pool.name} {loaded.runs.digest[:12]}")
        found.append(
            run_ablation(
                loaded.matrix,
                loaded.pool,
                seeds=range(seed, seed + seeds),
                extractor=make_extractor(encoder, loaded.matrix),
                n_jobs=jobs,
                progress=say,
            )
        )
    sections = ablation_sections(found)
    # the figures took long: they are shown before a file can fail to be written
    if as_json:
        click.echo(json.dumps([pool.to_dict() for pool in found], indent=1, allow_nan=False))
    else:
        for section in sections:
            assert section.table is not None
            table = section.table
            shown = render_table(table.headers, table.rows, table.align)
            click.echo(f"{section.title}\n{shown}\n")
    if out is not None:
        words = ["wattroute", "ablate", *(Path(name).name for name in pool_files)]
        words += ["--seeds", str(seeds), "--seed", str(seed)]
        words += [] if encoder == "static" else ["--encoder", encoder]
        lines = [
            _PREAMBLE,
            f"Made by: {shlex.join(words)}. Digests of the runs: {', '.join(digests)}.",
        ]
        page = markdown_report("What each part of the router is worth", " ".join(lines), sections)
        with replacing(out) as part:
            part.write_text(page, encoding="utf-8")
        say(f"tables written to {out}")
