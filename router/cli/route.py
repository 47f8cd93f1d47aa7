"""``wattroute route``: choose the model for one prompt and show every candidate."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from router.cli.options import decision_options, unused_seed_option
from router.cli.table import render_table
from router.errors import ConfigError

if TYPE_CHECKING:
    from router import Candidate, Decision

__all__ = ["read_messages", "read_text", "render_decision", "route"]

_HEADERS = ("", "model", "P(good)", "J", "low - high", "basis", "tokens", "why")
_ALIGN = "<<>>><><"


@click.command(
    epilog="""\b
Examples:
  wattroute route "Write a haiku about frost."
  wattroute route - --quality 0.95 --confidence 0.99 < prompt.txt
  wattroute route --messages chat.json --json
"""
)
@decision_options
@click.option("--json", "as_json", is_flag=True, help="Print the decision as JSON.")
@unused_seed_option
def route(
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
    as_json: bool,
) -> None:
    """Choose the model for one prompt and say why.

    TEXT is the prompt; '-' reads it from standard input. Shown is every candidate with its
    probability of a good answer, the energy of the request with its interval, the expected
    tokens of the answer, and why it was chosen or not.
    """
    if (text is None) == (messages_file is None):
        raise click.UsageError("give either TEXT or --messages FILE.json")
    prompt = read_text(text) if text is not None else read_messages(str(messages_file))

    # numpy and tokenizers load here, so that --help and wrong usage answer at once
    from router import Router

    decision = Router.load(folder).route(
        prompt,
        quality=quality,
        confidence=confidence,
        group=group,
        uncertified=uncertified,
        min_probability=min_probability,
        allowed=allowed or None,
        guard=guard,
    )
    for warning in decision.warnings:
        click.echo(f"warning: {warning}", err=True)
    if as_json:
        click.echo(json.dumps(decision.to_dict(), indent=2, ensure_ascii=False))
    else:
        click.echo(render_decision(decision))


def read_text(text: str) -> str:
    """Return the prompt, from standard input for '-'."""
    prompt = _read_stdin() if text == "-" else text
    if not prompt.strip():
        raise ConfigError("the prompt is empty")
    return prompt


def _read_stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"standard input is not UTF-8 text: {error}") from error


def read_messages(name: str) -> list[dict[str, Any]]:
    """Read chat messages from the JSON file `name`."""
    where = "standard input" if name == "-" else name
    try:
        source = _read_stdin() if name == "-" else Path(name).read_text(encoding="utf-8-sig")
        value = json.loads(source)
    except OSError as error:
        raise ConfigError(f"{where}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{where}: not UTF-8 text: {error}") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(f"{where}: not JSON: {error}") from error
    messages = value.get("messages") if isinstance(value, dict) else value
    if not isinstance(messages, list) or not messages:
        raise ConfigError(f"{where}: expected a list of chat messages, at least one")
    for number, message in enumerate(messages, start=1):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise ConfigError(f"{where}: message {number} must be an object with a 'role'")
    return messages


def render_decision(decision: Decision) -> str:
    """Return the decision and the table of all candidates, least energy first."""
    candidates = sorted(decision.candidates, key=lambda c: (c.energy_j.value_j, c.model))
    table = render_table(_HEADERS, [_cells(candidate) for candidate in candidates], _ALIGN)
    others = ", ".join(decision.ranking[1:])
    return (
        f"{decision.model}: {decision.reason}\n"
        f"Quality bar: {decision.quality:g} of the reference model, {decision.reference}.\n"
        f"{_promises(decision)}"
        f"If it fails: {others or 'no other model is allowed'}.\n\n"
        f"{table}"
    )


def _promises(decision: Decision) -> str:
    """Return a line for each promise that was asked for."""
    lines = []
    bar, floor = decision.certificate, decision.floor_certificate
    if bar is not None:
        dated = f" (confidence {bar.confidence:g}, {bar.date})" if bar.date else ""
        lines.append(f"Promise: {bar.reason}{dated}.")
    if floor is not None:
        lines.append(
            f"Floor {floor.floor:g}: {floor.reason}; some model reaches it on "
            f"{floor.coverage:.0%} of prompts."
        )
    return "".join(f"{line}\n" for line in lines)


def _cells(candidate: Candidate) -> tuple[str, ...]:
    energy = candidate.energy_j
    return (
        "*" if candidate.chosen else "",
        candidate.model,
        f"{candidate.probability:.3f}",
        _joules(energy.value_j),
        f"{_joules(energy.low_j)} - {_joules(energy.high_j)}",
        energy.basis,
        f"{candidate.completion_tokens:,.0f}",
        candidate.reason,
    )


def _joules(energy_j: float) -> str:
    """Return joules with at least three significant digits and no exponent."""
    if energy_j >= 100:
        return f"{energy_j:,.0f}"
    return f"{energy_j:.1f}" if energy_j >= 10 else f"{energy_j:.2f}"
