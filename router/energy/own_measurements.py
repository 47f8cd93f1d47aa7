"""Joules per token that users measured themselves, and how they enter the catalogue."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from router.config import check_keys, get_number, get_text
from router.energy.architecture import Architecture
from router.energy.catalogue import Catalogue
from router.energy.coefficients import Coefficients
from router.energy.csv_rows import read_csv_rows
from router.energy.entry import CatalogueEntry
from router.energy.formula import (
    REFERENCE_BATCH,
    REFERENCE_CONTEXT,
    joules_per_completion_token,
    joules_per_prompt_token,
)
from router.errors import ConfigError

__all__ = ["OwnMeasurement", "read_own_measurements", "with_own_measurements"]

_NUMBERS = (
    "joules_per_completion_token",
    "joules_per_prompt_token",
    "batch",
    "context_tokens",
    "total_parameters_b",
    "active_parameters_b",
    "low_factor",
    "high_factor",
)
_COLUMNS = ("model", "date", "source", "precision", *_NUMBERS)
_NEEDED = ("model", "joules_per_completion_token", "date", "source")


@dataclass(frozen=True, slots=True)
class OwnMeasurement:
    """One measured row.

    Attributes
    ----------
    where : str
        File and row, for messages.
    model : str
        A name in the catalogue, or a new one.
    joules_per_completion_token : float
        GPU joules of a decoded token.
    joules_per_prompt_token : float or None
        GPU joules of a prompt token; the catalogue's or the formula's where absent.
    batch : float
        Requests that were decoded together.
    context_tokens : float
        Mean context while decoding, the prompt and half of the answer.
    architecture : Architecture or None
        From the row's own parameters, else the catalogue's.
    low_factor, high_factor : float or None
        Factors to the ends of the interval, where the row gives them.
    date, source : str
        When and how it was measured.
    """

    where: str
    model: str
    joules_per_completion_token: float
    joules_per_prompt_token: float | None
    batch: float
    context_tokens: float
    architecture: Architecture | None
    low_factor: float | None
    high_factor: float | None
    date: str
    source: str

    @property
    def over_formula(self) -> float | None:
        """Measured joules per completion token over the formula's, None without parameters."""
        if self.architecture is None:
            return None
        formula = joules_per_completion_token(self.architecture, self.batch, self.context_tokens)
        return self.joules_per_completion_token / formula

    @property
    def at_reference(self) -> tuple[float, float | None]:
        """Joules per completion and per prompt token, brought to the reference request."""
        e_out, e_in = self.joules_per_completion_token, self.joules_per_prompt_token
        if self.architecture is not None:
            here = joules_per_completion_token(self.architecture, self.batch, self.context_tokens)
            e_out *= joules_per_completion_token(self.architecture) / here
            if e_in is not None:
                here = joules_per_prompt_token(self.architecture, batch=self.batch)
                e_in *= joules_per_prompt_token(self.architecture) / here
        return e_out, e_in


def read_own_measurements(
    path: str | Path, base: Catalogue | None = None
) -> tuple[OwnMeasurement, ...]:
    """Read measured rows from a CSV file.

    Parameters
    ----------
    path : str or Path
        A CSV file with a header. Needed are ``model``, ``joules_per_completion_token``,
        ``date`` (2026, 2026-11 or 2026-11-23) and ``source``. Optional are
        ``joules_per_prompt_token``, ``batch`` (64 where absent), ``context_tokens`` (600),
        ``low_factor``, ``high_factor`` and, for a model that the catalogue does not have,
        ``total_parameters_b``, ``active_parameters_b``, ``precision``.
    base : Catalogue, optional
        Where models are looked up; the shipped one when not given.

    Raises
    ------
    ConfigError
        If the file cannot be read or a row is not valid; the message names file, row and
        field.
    """
    path = Path(path)
    base = Catalogue.default() if base is None else base
    rows = read_csv_rows(path, _NUMBERS)
    if not rows:
        raise ConfigError(f"{path}: has a header but no rows: add a measured model")
    return tuple(_measurement(row, where, base) for where, row in rows)


def with_own_measurements(base: Catalogue, rows: Iterable[OwnMeasurement]) -> Catalogue:
    """Return a catalogue in which measured rows have taken the place of other figures.

    Parameters
    ----------
    base : Catalogue
        The catalogue to extend.
    rows : iterable of OwnMeasurement
        One or several a model. Several are brought to the reference request by the formula
        and averaged (geometric mean); the interval then also holds each of them.

    Raises
    ------
    ConfigError
        If a new model lacks what its energy needs.
    """
    by_model: dict[str, list[OwnMeasurement]] = {}
    for row in rows:
        known = base.own(row.model)
        by_model.setdefault((row.model if known is None else known.name).casefold(), []).append(row)
    replaced = [_entry(group, base) for group in by_model.values()]
    kept = [entry for entry in base if entry.name.casefold() not in by_model]
    return Catalogue((*kept, *replaced))


def _measurement(row: Mapping[str, Any], where: str, base: Catalogue) -> OwnMeasurement:
    check_keys(row, _COLUMNS, where)
    for key in _NEEDED:
        if key not in row:
            raise ConfigError(f"{where}: {key!r} is missing: a measured row needs it")
    numbers = {key: get_number(row, key, where) for key in _NUMBERS}
    low, high = numbers["low_factor"], numbers["high_factor"]
    if (low is not None and low > 1) or (high is not None and high < 1):
        raise ConfigError(f"{where}: need 'low_factor' <= 1 <= 'high_factor', got {low} and {high}")
    name = get_text(row, "model", where) or ""
    batch = numbers["batch"] or REFERENCE_BATCH
    if batch < 1:
        raise ConfigError(f"{where}: 'batch' must be at least 1, got {batch:g}")
    context = numbers["context_tokens"] or REFERENCE_CONTEXT
    architecture = _architecture(row, numbers, where)
    if architecture is not None and base.own(name) is not None:
        raise ConfigError(
            f"{where}: 'total_parameters_b': the catalogue has them for {name!r}: leave them out"
        )
    if architecture is None and (entry := _found(base, name)) is not None:
        architecture = entry.architecture
    if architecture is None and (batch, context) != (REFERENCE_BATCH, REFERENCE_CONTEXT):
        raise ConfigError(
            f"{where}: 'batch' and 'context_tokens' other than {REFERENCE_BATCH} and "
            f"{REFERENCE_CONTEXT} need 'total_parameters_b' beside them, or a model of the "
            "catalogue"
        )
    return OwnMeasurement(
        where=where,
        model=name,
        joules_per_completion_token=numbers["joules_per_completion_token"] or 0.0,
        joules_per_prompt_token=numbers["joules_per_prompt_token"],
        batch=batch,
        context_tokens=context,
        architecture=architecture,
        low_factor=low,
        high_factor=high,
        date=_date(str(row["date"]), where),
        source=get_text(row, "source", where) or "",
    )


def _architecture(
    row: Mapping[str, Any], numbers: Mapping[str, float | None], where: str
) -> Architecture | None:
    total, active = numbers["total_parameters_b"], numbers["active_parameters_b"]
    precision = get_text(row, "precision", where)
    if total is not None:
        try:
            return Architecture.from_parameters(total, active, precision=precision)
        except ConfigError as error:
            raise ConfigError(f"{where}: 'total_parameters_b': {error}") from error
    for key, value in (("active_parameters_b", active), ("precision", precision)):
        if value is not None:
            raise ConfigError(f"{where}: {key!r} needs 'total_parameters_b' beside it")
    return None


def _date(text: str, where: str) -> str:
    form = re.fullmatch(r"(\d{4})(?:-(\d\d))?(?:-(\d\d))?", text)
    try:
        if form is None:
            raise ValueError(text)
        date(int(form[1]), int(form[2] or 1), int(form[3] or 1))
    except ValueError:
        raise ConfigError(
            f"{where}: 'date' must be written as 2026, 2026-11 or 2026-11-23, got {text!r}"
        ) from None
    return text


def _found(base: Catalogue, name: str) -> CatalogueEntry | None:
    """Return the entry of that name, id or alias, or None."""
    try:
        return base.find(name)
    except ConfigError:
        return None


def _entry(rows: list[OwnMeasurement], base: Catalogue) -> CatalogueEntry:
    """Return the entry that the measured rows of one model make."""
    last = rows[-1]
    known = _found(base, last.model)
    figures = [row.at_reference for row in rows]
    e_out = _mean([out for out, _ in figures])
    given = [e_in for _, e_in in figures if e_in is not None]
    architecture = last.architecture
    if given:
        e_in = _mean(given)
    elif known is not None:
        e_in = known.joules_per_prompt_token
    elif architecture is not None:
        e_in = joules_per_prompt_token(architecture)
    else:
        raise ConfigError(
            f"{last.where}: 'joules_per_prompt_token' is missing: give it, or "
            "'total_parameters_b', or the name of a model of the catalogue"
        )
    low, high = Coefficients.default().uncertainty["measured"]
    spread = [out / e_out for out, _ in figures]
    lows = [row.low_factor for row in rows if row.low_factor is not None] or [low]
    highs = [row.high_factor for row in rows if row.high_factor is not None] or [high]
    fields: dict[str, Any] = {
        "joules_per_completion_token": e_out,
        "joules_per_prompt_token": e_in,
        "low_factor": min(1.0, *lows, *spread),
        "high_factor": max(1.0, *highs, *spread),
        "basis": "measured",
        "basis_text": f"measured: {len(rows)} row{'s' if len(rows) > 1 else ''} of the user",
        "source": "; ".join(dict.fromkeys(row.source for row in rows)),
        "date": max(row.date for row in rows),
        "architecture": architecture,
    }
    if known is not None and base.own(last.model) is known:
        return replace(known, **fields)
    if architecture is not None:
        fields["total_parameters_b"] = architecture.total_parameters_b
        fields["active_parameters_b"] = architecture.active_parameters_b
    return CatalogueEntry(name=last.model, **fields)


def _mean(values: list[float]) -> float:
    """Return the geometric mean."""
    return math.exp(math.fsum(map(math.log, values)) / len(values))
