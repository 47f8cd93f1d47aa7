"""``wattroute models``: the catalogue of open models with the energy of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from router.cli.options import unused_seed_option
from router.cli.table import render_table
from router.energy import Catalogue, CatalogueEntry

__all__ = ["models"]

_OPERATING_POINT = "H100 80 GB, 64 requests decoded together"


@click.command(
    epilog="""\b
Examples:
  wattroute models qwen
  wattroute models --oxlo
  wattroute models --catalogue mine.csv --json
"""
)
@click.argument("text", required=False, metavar="[FILTER]")
@click.option(
    "--catalogue",
    "file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CSV or TOML file of models that extend or change the shipped ones.",
)
@click.option("--oxlo", is_flag=True, help="Only models that Oxlo serves.")
@click.option("--json", "as_json", is_flag=True, help="Print the models as JSON.")
@unused_seed_option
def models(text: str | None, file: Path | None, oxlo: bool, as_json: bool) -> None:
    """List the models that are known, with their energy, least energy first.

    FILTER is part of any name of a model. Joules are GPU joules per token, with the ends of
    the interval and what they rest on: measured, estimated or assumed.
    """
    catalogue = Catalogue.default() if file is None else Catalogue.read(file)
    chosen = [entry for entry in catalogue if _matches(entry, text or "", oxlo)]
    chosen.sort(key=lambda entry: (entry.joules_per_completion_token, entry.name))
    if as_json:
        data = {"operating_point": _OPERATING_POINT, "models": [_record(e) for e in chosen]}
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
    elif chosen:
        click.echo(render_table(_HEADERS, [_cells(entry) for entry in chosen], _ALIGN))
        click.echo(
            f"\n{len(chosen)} of {len(catalogue)} models. "
            f"GPU joules per token at {_OPERATING_POINT}.\n"
            "Good for comparing models; a provider's own energy may differ by a factor of 2 to 4."
        )
    if not chosen:
        click.echo(
            "no model matches: `wattroute models` lists all, --catalogue adds yours", err=True
        )
        click.get_current_context().exit(1)


_HEADERS = (
    "model",
    "Oxlo ids",
    "total B",
    "active B",
    "J/completion token",
    "low - high",
    "J/prompt token",
    "basis",
)
_ALIGN = "<<>>>>><"


def _matches(entry: CatalogueEntry, text: str, oxlo: bool) -> bool:
    if oxlo and not entry.oxlo_ids:
        return False
    return any(text.casefold() in name.casefold() for name in entry.names)


def _cells(entry: CatalogueEntry) -> tuple[str | None, ...]:
    joules = entry.joules_per_completion_token
    low, high = joules * entry.low_factor, joules * entry.high_factor
    return (
        entry.name,
        ", ".join(entry.oxlo_ids),
        _billions(entry.total_parameters_b),
        _billions(entry.active_parameters_b),
        _joules(joules),
        f"{_joules(low)} - {_joules(high)}",
        _joules(entry.joules_per_prompt_token),
        entry.basis,
    )


def _billions(parameters_b: float | None) -> str | None:
    return None if parameters_b is None else f"{parameters_b:.1f}"


def _joules(joules: float) -> str:
    """Return joules with three significant digits."""
    return f"{joules:#.3g}".rstrip(".")


def _record(entry: CatalogueEntry) -> dict[str, Any]:
    joules = entry.joules_per_completion_token
    return {
        "name": entry.name,
        "hf_id": entry.hf_id or None,
        "oxlo_ids": list(entry.oxlo_ids),
        "aliases": list(entry.aliases),
        "total_parameters_b": entry.total_parameters_b,
        "active_parameters_b": entry.active_parameters_b,
        "context_window": entry.context_window,
        "joules_per_completion_token": joules,
        "joules_per_completion_token_low": joules * entry.low_factor,
        "joules_per_completion_token_high": joules * entry.high_factor,
        "joules_per_prompt_token": entry.joules_per_prompt_token,
        "basis": entry.basis,
        "basis_text": entry.basis_text,
        "source": entry.source,
        "date": entry.date,
    }
