"""``wattroute explain``: why a prompt goes where it goes, and what would send it elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import click

from router.cli.explanation_text import render_explanation
from router.cli.options import decision_options, unused_seed_option
from router.cli.route import read_messages, read_text
from router.errors import MissingExtraError

if TYPE_CHECKING:
    from router.explanation import Explanation, GradedPrompts

__all__ = ["explain"]

_READERS = "wattroute.runs_readers"


@click.command(
    epilog="""\b
Examples:
  wattroute explain "Sort these words: pear, apple, fig."
  wattroute explain - --quality 0.9 --runs runs.parquet < prompt.txt
  wattroute explain --messages chat.json --router my-router --json
"""
)
@decision_options
@click.option(
    "--runs",
    multiple=True,
    metavar="RUNS",
    help="Evaluation runs, best those that the router was trained on: the prompts nearest to TEXT "
    "are looked for in them and shown with their texts; otherwise among those whose hashes the "
    "router remembers (extra 'train'). May be repeated.",
)
@click.option(
    "--default-runs",
    is_flag=True,
    help="Look among the default runs, which the bundled router was trained on; their prompts are "
    "made again the first time, which takes a minute or two (extra 'train').",
)
@click.option(
    "--nearest",
    "n_nearest",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    metavar="N",
    help="How many of them.",
)
@click.option(
    "--texts/--hashes",
    default=True,
    show_default=True,
    help="Show the nearest prompts by the beginning of their text, or by its hash alone.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the explanation as JSON.")
@unused_seed_option
def explain(
    text: str | None,
    messages_file: str | None,
    folder: str | None,
    quality: float,
    confidence: float,
    group: str | None,
    uncertified: str | None,
    min_probability: float | None,
    allowed: tuple[str, ...],
    guard: bool,
    runs: tuple[str, ...],
    default_runs: bool,
    n_nearest: int,
    texts: bool,
    as_json: bool,
) -> None:
    """Explain where one prompt goes, and what would send it elsewhere.

    TEXT is the prompt; '-' reads it from standard input. Shown are the candidates with what each
    is worth at the bar's energy price, which parts of the prompt speak for the choice, at which
    quality bars another model would be chosen, how unlike the training prompts it is, what is
    promised, and the nearest graded prompts: by hash, or with --runs by their text.
    """
    if (text is None) == (messages_file is None):
        raise click.UsageError("give either TEXT or --messages FILE.json")
    if runs and default_runs:
        raise click.UsageError("give either --runs or --default-runs")
    prompt = read_text(text) if text is not None else read_messages(str(messages_file))

    # numpy and tokenizers load here, so that --help and wrong usage answer at once
    from router import Router
    from router.explanation import explain as explain_prompt

    router = Router.load(folder)
    graded: GradedPrompts | None = None
    if runs or default_runs:
        graded = _reader("files")(runs) if runs else _reader("default")()
        click.echo(f"looking among {len(graded.prompts):,} graded prompts", err=True)
    found = explain_prompt(
        router,
        prompt,
        quality=quality,
        confidence=confidence,
        group=group,
        uncertified=uncertified,
        min_probability=min_probability,
        allowed=allowed or None,
        guard=guard,
        graded=graded,
        n_nearest=n_nearest,
    )
    for warning in found.decision.warnings:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        click.echo(json.dumps(_to_dict(found, texts), indent=2, ensure_ascii=False))
    else:
        click.echo(render_explanation(found, texts=texts))


def _reader(name: str) -> Callable[..., GradedPrompts]:
    """Return what reads evaluation runs: part of the training package, which this one is not of."""
    for found in entry_points(group=_READERS, name=name):
        reader: Callable[..., GradedPrompts] = found.load()
        return reader
    raise MissingExtraError("pandas", "train")


def _to_dict(found: Explanation, texts: bool) -> dict[str, Any]:
    shown = found.to_dict()
    for row in () if texts else shown["nearest"]:
        del row["excerpt"]
    return shown
