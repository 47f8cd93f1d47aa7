"""``wattroute import``: evaluation runs from what other tools wrote."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Literal

import click

from router.cli.table import render_table
from router.errors import ConfigError
from router.training.commands.options import json_option, progress_printer
from router.training.importers.column_tables import parse_columns
from router.training.importers.formats import FORMATS
from router.training.importers.grades import Scale
from router.training.importers.model_names import ModelNames
from router.training.importers.records import ImportOptions, MetricChoice
from router.training.importers.run_import import AUTO, HUB, ImportJob, ImportResult, run_import

__all__ = ["import_runs"]

_SHOWN = 30


@click.command(
    "import",
    epilog="""\b
Examples:
  wattroute import lm-eval results/ --metric exact_match,strict-match --out runs.parquet
  wattroute import inspect logs/ --metric includes --out runs.parquet
  wattroute import csv graded.csv --column prompt=question --column quality=score \\
      --scale 0:10 --out runs.parquet
  wattroute import csv wide.csv --wide gpt-4 --wide mixtral-8x7b --out runs.parquet
  wattroute import embedllm hf:RZ412/EmbedLLM/test.csv --out runs.parquet
""",
)
@click.argument("words", nargs=-1, required=True, metavar="[FORMAT] SOURCE...")
@click.option("--out", required=True, metavar="FILE", help="File of runs: .parquet, .jsonl, .csv.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="[TASK=]NAME",
    help="The grade to take where there are several; may be repeated for tasks.",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="FIELD=NAME",
    help="What the source calls a column of runs (prompt, model, quality, task...).",
)
@click.option(
    "--wide", multiple=True, metavar="COLUMN", help="A column with the grades of that model."
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="[OLD=]NAME",
    help="Name of the model of all rows, or another name for one of them.",
)
@click.option("--scale", metavar="LOW:HIGH", help="Range of the grades.  [default: 0:1]")
@click.option(
    "--repeats",
    type=click.Choice(["error", "mean", "first"]),
    default="error",
    show_default=True,
    help="What becomes of different grades of one model on one prompt.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Take only so many prompts.")
@click.option("--tracking-uri", metavar="URI", help="MLflow store of run:RUN_ID.")
@click.option(
    "--on-bad",
    type=click.Choice(["error", "skip"]),
    default="error",
    show_default=True,
    help="Stop at bad rows, or leave them out and list them.",
)
@click.option("--overwrite", is_flag=True, help="Replace --out where it exists.")
@json_option
def import_runs(
    words: tuple[str, ...],
    out: str,
    metrics: tuple[str, ...],
    columns: tuple[str, ...],
    wide: tuple[str, ...],
    models: tuple[str, ...],
    scale: str | None,
    repeats: Literal["error", "mean", "first"],
    limit: int | None,
    tracking_uri: str | None,
    on_bad: Literal["error", "skip"],
    overwrite: bool,
    as_json: bool,
) -> None:
    """Import graded answers of other tools as evaluation runs that training reads.

    FORMAT is csv, embedllm, helm, hf, inspect, llmrouterbench, lm-eval, mlflow, openai-evals,
    routellm or routerbench; without one, or with auto, it is found out. SOURCE is a file, a
    folder, hf:owner/name for a data set of the Hugging Face hub, or run:RUN_ID of MLflow. What
    is left out is counted, with the reason, and listed in .wattroute/left_out.jsonl.
    """
    form, sources = _split(words)
    job = ImportJob(
        format=form,
        sources=sources,
        out=Path(out),
        options=ImportOptions(
            metric=MetricChoice.parse(metrics),
            columns=parse_columns(columns),
            wide=tuple(dict.fromkeys(wide)),
            scale=Scale() if scale is None else Scale.parse(scale),
            model_given=any("=" not in model for model in models),
            tracking_uri=tracking_uri,
        ),
        names=ModelNames.parse(models),
        repeats=repeats,
        on_bad=on_bad,
        limit=limit,
        overwrite=overwrite,
    )
    result = run_import(job, progress_printer())
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=1))
    else:
        # names of files need not be valid Unicode
        click.echo(_text(result).encode(errors="backslashreplace").decode())


def _split(words: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return the format, found out where none is named, and the sources."""
    known = (*FORMATS, AUTO, HUB)
    first = words[0]
    if first in known:
        return first, words[1:]
    is_source = ":" in first or Path(first).exists()
    if not is_source:
        close = difflib.get_close_matches(first.lower(), known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"formats are {', '.join(known)}"
        raise ConfigError(f"{first!r} is neither a format nor a file or folder: {hint}")
    return AUTO, words


def _text(result: ImportResult) -> str:
    runs, prompts = _count(result.n_runs, "run"), _count(result.n_prompts, "prompt")
    models, rows = _count(len(result.models), "model"), _count(result.n_read, "row")
    lines = [f"{result.out}: {runs} of {prompts} and {models}, from {rows} ({result.format})"]
    lines += [f"  {note}" for note in result.notes]
    table = [
        [name, f"{found['n_runs']:,}", f"{found['quality']:.3f}", f"{found['n_with_tokens']:,}"]
        for name, found in list(result.models.items())[:_SHOWN]
    ]
    lines.append(render_table(["model", "runs", "mean quality", "with tokens"], table, "<>>>"))
    if len(result.models) > _SHOWN:
        lines.append(f"and {len(result.models) - _SHOWN:,} more models")
    if result.n_repeated:
        lines.append(f"{result.n_repeated:,} rows say the same as an earlier one")
    if result.n_averaged:
        lines.append(f"{result.n_averaged:,} runs are the mean of several grades")
    if result.left_out or result.bad:
        lines.append(f"Left out, listed in {result.left_out_file}:")
        lines += [f"  {count:,} x {reason}" for reason, count in result.left_out.items()]
        lines += [f"  {count:,} x bad: {kind}" for kind, count in result.bad.items()]
    return "\n".join(lines)


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
