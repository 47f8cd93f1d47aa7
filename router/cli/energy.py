"""``wattroute energy``: what a request costs in joules."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from router.cli.energy_validate import validate
from router.cli.options import unused_seed_option
from router.cli.table import render_table
from router.energy import (
    Catalogue,
    CatalogueEntry,
    EnergyInterval,
    EnergyTerm,
    Footprint,
    GivenFigure,
    Rates,
    RequestBreakdown,
    explain_request,
    read_own_measurements,
    with_own_measurements,
)
from router.energy.formula import REFERENCE_BATCH, REFERENCE_PROMPT_TOKENS
from router.errors import ConfigError

__all__ = ["energy"]

_COMPLETION_TOKENS = 200
_MEASURED_BATCHES = (8, 4096)
_MOST_TOKENS = 1e9
_MOST_TOGETHER = 1e6
_LIMITS = (
    "GPU joules on H100 80 GB: good for comparing models; a provider's own energy may differ by a "
    "factor of 2 to 4."
)


class _EnergyGroup(click.Group):
    """A group whose arguments belong to ``request`` unless they begin with a subcommand."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``request`` before arguments that do not name a subcommand."""
        if not args or args[0] not in {*self.commands, *ctx.help_option_names}:
            args = ["request", *args]
        return super().parse_args(ctx, args)


@click.group(
    cls=_EnergyGroup,
    epilog="""\b
Examples:
  wattroute energy Qwen3-32B --prompt-tokens 200 --completion-tokens 300
  wattroute energy --completion-tokens 800 --batch 16
  wattroute energy llama-3.3-70b --grid-intensity 300 --grid-source "my supplier, 2025"
  wattroute energy validate
""",
)
def energy() -> None:
    """Say what a request costs in joules, with its interval, basis and terms.

    `wattroute energy [MODEL] [OPTIONS]` is short for `wattroute energy request`, whose --help
    has the options.
    """


energy.add_command(validate)


@energy.command(
    epilog="""\b
Examples:
  wattroute energy Qwen3-32B --prompt-tokens 200 --completion-tokens 300 --json
  wattroute energy --measurements mine.csv
"""
)
@click.argument("model", required=False)
@click.option(
    "--prompt-tokens",
    type=click.FloatRange(0, _MOST_TOKENS),
    default=REFERENCE_PROMPT_TOKENS,
    show_default=True,
    metavar="N",
    help="Tokens of the prompt.",
)
@click.option(
    "--completion-tokens",
    type=click.FloatRange(0, _MOST_TOKENS),
    default=_COMPLETION_TOKENS,
    show_default=True,
    metavar="N",
    help="Tokens of the answer, hidden reasoning included.",
)
@click.option(
    "--batch",
    type=click.FloatRange(1, _MOST_TOGETHER),
    default=REFERENCE_BATCH,
    show_default=True,
    metavar="B",
    help="Requests decoded together.",
)
@click.option(
    "--grid-intensity",
    type=float,
    metavar="G",
    help="Grams of CO2 equivalent per kWh: adds carbon. There is no default.",
)
@click.option("--grid-source", metavar="TEXT", help="Where --grid-intensity comes from.")
@click.option(
    "--price", type=float, metavar="P", help="Price of a kWh: adds cost. There is no default."
)
@click.option("--currency", default="", metavar="TEXT", help="Currency of --price.")
@click.option("--price-source", metavar="TEXT", help="Where --price comes from.")
@click.option(
    "--pue",
    type=float,
    metavar="F",
    help="Energy of the site over energy of its computers, at least 1, for kWh, carbon and cost. "
    "There is no default.",
)
@click.option("--pue-source", metavar="TEXT", help="Where --pue comes from.")
@click.option(
    "--catalogue",
    "catalogue_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CSV or TOML file of models that extend or change the shipped ones.",
)
@click.option(
    "--measurements",
    "measurements_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="CSV file of measured joules per token; its rows win over the catalogue's.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@unused_seed_option
def request(
    model: str | None,
    prompt_tokens: float,
    completion_tokens: float,
    batch: float,
    grid_intensity: float | None,
    grid_source: str | None,
    price: float | None,
    currency: str,
    price_source: str | None,
    pue: float | None,
    pue_source: str | None,
    catalogue_file: Path | None,
    measurements_file: Path | None,
    as_json: bool,
) -> None:
    """Say what one request costs.

    MODEL is a name, Hugging Face id or Oxlo id that `wattroute models` lists; without it all
    models are shown, least energy first.
    """
    rates = Rates(
        grid_intensity=_given("grid-intensity", grid_intensity, "grid-source", grid_source),
        price=_given("price", price, "price-source", price_source),
        currency=currency.strip(),
        pue=_given("pue", pue, "pue-source", pue_source),
    )
    if rates.currency and rates.price is None:
        raise ConfigError("--currency needs --price")
    catalogue = Catalogue.default() if catalogue_file is None else Catalogue.read(catalogue_file)
    if measurements_file is not None:
        rows = read_own_measurements(measurements_file, catalogue)
        catalogue = with_own_measurements(catalogue, rows)
    asked = {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "batch": batch,
    }
    data: dict[str, Any] = {
        "hardware": "H100 80 GB",
        **asked,
        "beyond_measured_batches": _beyond(batch),
        "rates": _rates_record(rates),
    }
    if model is not None:
        entry = catalogue.find(model)
        found = explain_request(entry, **asked)
        if as_json:
            click.echo(_dumped(data | {"model": _model_record(entry, found, rates, asked)}))
        else:
            click.echo(_one(entry, found, rates, asked))
        return
    shown = _every(catalogue, asked)
    if as_json:
        records = [_model_record(entry, found, rates, asked) for entry, found in shown]
        click.echo(_dumped(data | {"models": records}))
    else:
        click.echo(_all(shown, rates, asked, len(catalogue)))


def _given(
    option: str, value: float | None, source_option: str, source: str | None
) -> GivenFigure | None:
    if value is None:
        if source is not None:
            raise ConfigError(f"--{source_option} needs --{option}")
        return None
    return GivenFigure(value) if source is None else GivenFigure(value, source.strip())


def _every(
    catalogue: Catalogue, asked: dict[str, float]
) -> list[tuple[CatalogueEntry, RequestBreakdown]]:
    """Return all models that can be answered for, least energy first."""
    found = [
        (entry, explain_request(entry, **asked))
        for entry in catalogue
        if entry.architecture is not None or asked["batch"] == REFERENCE_BATCH
    ]
    if not found:
        raise ConfigError("no model's parameters are known: another batch cannot be asked of any")
    found.sort(key=lambda pair: (pair[1].energy.value_j, pair[0].name))
    return found


def _too_long(entry: CatalogueEntry, asked: dict[str, float]) -> bool:
    window = entry.context_window
    return window is not None and asked["prompt_tokens"] + asked["completion_tokens"] > window


def _beyond(batch: float) -> bool:
    return not _MEASURED_BATCHES[0] <= batch <= _MEASURED_BATCHES[1]


def _one(
    entry: CatalogueEntry, found: RequestBreakdown, rates: Rates, asked: dict[str, float]
) -> str:
    joules = found.energy
    site = rates.site_kwh(joules)
    lines = [
        f"{entry.name}: {_number(joules.value_j)} J "
        f"({_number(joules.low_j)} - {_number(joules.high_j)}), {joules.basis}",
        f"= {_number(joules.value_j / 3600)} Wh for {_asked_text(asked)}.",
        "",
        render_table(_TERM_HEADERS, [_term_cells(found, term) for term in found.terms], "<<>><<"),
        "",
        _basis_line(entry, asked["batch"]),
    ]
    lines += _architecture_lines(entry, found)
    if rates.pue is not None:
        lines.append(
            f"With PUE {rates.pue.value:g} ({rates.pue.source}): {_number(site.value * 1000)} Wh."
        )
    lines += _rate_lines(rates, rates.carbon(joules), rates.cost(joules))
    if _too_long(entry, asked):
        lines.append(f"That is more than its context window of {entry.context_window:,} tokens.")
    return "\n".join([*lines, *_notes(asked)])


def _basis_line(entry: CatalogueEntry, batch: float) -> str:
    dated = f" ({entry.date})" if entry.date else ""
    moved = "" if batch == REFERENCE_BATCH else f", brought to batch {batch:g} by the formula"
    return f"Basis: {entry.basis_text}; {entry.source}{dated}{moved}."


_TERM_HEADERS = ("phase", "term", "J", "share", "what", "formula")


def _term_cells(found: RequestBreakdown, term: EnergyTerm) -> tuple[str, ...]:
    share = term.energy_j / found.energy.value_j
    return (
        term.phase,
        term.name,
        _number(term.energy_j),
        f"{share:.1%}",
        term.meaning,
        term.formula,
    )


def _architecture_lines(entry: CatalogueEntry, found: RequestBreakdown) -> list[str]:
    known = entry.architecture
    if known is None:
        return ["Its parameters are not known: the terms of the formula cannot be shown."]
    kind = " (typical of its size)" if known.typical else ""
    lines = [
        f"Parameters: {known.total_parameters_b:g} B, {known.active_parameters_b:g} B active, "
        f"{known.layers} layers{kind}, {known.precision}, {found.gpus} GPU"
        f"{'s' if found.gpus != 1 else ''}.",
        f"Serving factor {found.serving_factor:.2f}, contained in every term.",
    ]
    over = found.over_formula_completion
    if entry.basis == "measured" and over is not None:
        lines.append(f"The measurement is {over:.2f} times the formula; decode terms contain it.")
    return lines


def _rate_lines(rates: Rates, carbon: Footprint | None, cost: Footprint | None) -> list[str]:
    lines = []
    if rates.grid_intensity is not None and carbon is not None:
        lines.append(
            f"Carbon: {_interval(carbon)} at {rates.grid_intensity.value:g} g CO2e/kWh "
            f"({rates.grid_intensity.source})."
        )
    if rates.price is not None and cost is not None:
        per = f"{rates.price.value:g} {rates.currency}".strip()
        lines.append(f"Electricity: {_interval(cost)} at {per}/kWh ({rates.price.source}).")
    return lines


def _all(
    shown: list[tuple[CatalogueEntry, RequestBreakdown]],
    rates: Rates,
    asked: dict[str, float],
    n_models: int,
) -> str:
    headers = ["model", "J", "low - high", "Wh", "basis"]
    headers += ["g CO2e"] if rates.grid_intensity else []
    headers += [rates.currency or "price"] if rates.price else []
    rows = []
    for entry, found in shown:
        joules = found.energy
        carbon, cost = rates.carbon(joules), rates.cost(joules)
        rows.append(
            [
                entry.name,
                _number(joules.value_j),
                f"{_number(joules.low_j)} - {_number(joules.high_j)}",
                _number(joules.value_j / 3600),
                joules.basis,
                *([_number(carbon.value)] if carbon else []),
                *([_number(cost.value)] if cost else []),
            ]
        )
    lines = [
        render_table(headers, rows, "<>>><" + ">" * (len(headers) - 5)),
        "",
        f"{len(shown)} of {n_models} models, {_asked_text(asked)}.",
    ]
    for label, figure, unit in (
        ("Grid intensity", rates.grid_intensity, "g CO2e/kWh"),
        ("Price", rates.price, f"{rates.currency}/kWh"),
        ("PUE", rates.pue, ""),
    ):
        if figure is not None:
            lines.append(f"{label} {f'{figure.value:g} {unit}'.strip()} ({figure.source}).")
    return "\n".join([*lines, *_notes(asked)])


def _notes(asked: dict[str, float]) -> list[str]:
    low, high = _MEASURED_BATCHES
    beyond = [f"Batches were measured from {low} to {high:,}: {asked['batch']:g} is beyond them."]
    return [*(beyond if _beyond(asked["batch"]) else []), _LIMITS]


def _asked_text(asked: dict[str, float]) -> str:
    return (
        f"{asked['prompt_tokens']:g} prompt and {asked['completion_tokens']:g} completion tokens, "
        f"batch {asked['batch']:g}"
    )


def _model_record(
    entry: CatalogueEntry, found: RequestBreakdown, rates: Rates, asked: dict[str, float]
) -> dict[str, Any]:
    joules = found.energy
    carbon, cost = rates.carbon(joules), rates.cost(joules)
    return {
        "name": entry.name,
        "energy_j": _interval_record(joules),
        "energy_wh": joules.value_j / 3600,
        "basis": joules.basis,
        "basis_text": entry.basis_text,
        "source": entry.source,
        "date": entry.date,
        "total_parameters_b": entry.total_parameters_b,
        "active_parameters_b": entry.active_parameters_b,
        "beyond_context_window": _too_long(entry, asked),
        "gpus": found.gpus,
        "serving_factor": found.serving_factor,
        "measured_over_formula": found.over_formula_completion
        if entry.basis == "measured"
        else None,
        "terms": [asdict(term) for term in found.terms],
        "site_kwh": asdict(rates.site_kwh(joules)),
        "carbon": None if carbon is None else asdict(carbon),
        "cost": None if cost is None else asdict(cost),
    }


def _interval_record(joules: EnergyInterval) -> dict[str, float]:
    return {"value": joules.value_j, "low": joules.low_j, "high": joules.high_j}


def _rates_record(rates: Rates) -> dict[str, Any]:
    return {
        name: None if figure is None else {**asdict(figure), "unit": unit}
        for name, figure, unit in (
            ("grid_intensity", rates.grid_intensity, "g CO2e/kWh"),
            ("price", rates.price, f"{rates.currency}/kWh"),
            ("pue", rates.pue, ""),
        )
    }


def _interval(found: Footprint) -> str:
    ends = f"{_number(found.low)} - {_number(found.high)}"
    return f"{_number(found.value)} {found.unit}".strip() + f" ({ends})"


def _number(value: float) -> str:
    """Return three significant digits, or whole numbers from 1,000 on."""
    if value >= 999.5:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".") if value else "0"


def _dumped(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False)
