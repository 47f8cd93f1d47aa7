"""What is known about the energy of one model, and how it is read from a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from router.config import check_keys, get_number, get_text, get_texts
from router.energy.architecture import Architecture
from router.energy.coefficients import Coefficients
from router.energy.formula import joules_per_completion_token, joules_per_prompt_token
from router.energy.interval import Basis, basis_of
from router.errors import ConfigError

__all__ = ["NUMBERS", "CatalogueEntry", "EntryEnergy", "entry_from_row", "read_energy"]

NUMBERS = (
    "total_parameters_b",
    "active_parameters_b",
    "context_window",
    "joules_per_completion_token",
    "joules_per_prompt_token",
    "low_factor",
    "high_factor",
)
"""Fields of a row that are numbers."""

_TEXTS = ("model", "hf_id", "oxlo_ids", "aliases", "precision", "basis", "source", "date")
_OWN = ("joules_per_completion_token", "joules_per_prompt_token", "basis")
_SIZE = ("total_parameters_b", "active_parameters_b", "precision")


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """What is known about one model.

    Attributes
    ----------
    name : str
        The model's name in the catalogue.
    joules_per_completion_token, joules_per_prompt_token : float
        GPU joules per token at the operating point H100 80 GB, 64 requests together.
    low_factor, high_factor : float
        Factors from an energy to the ends of its interval.
    basis : {"measured", "estimated", "assumed"}
        What the joules per completion token rest on.
    basis_text : str
        The same in the words of the file it came from.
    source, date : str
        Where the figure comes from, and from when it is.
    hf_id : str
        Name on Hugging Face; empty where not known.
    oxlo_ids, aliases : tuple of str
        Ids that Oxlo uses for the model, and names of models of the same architecture.
    total_parameters_b, active_parameters_b : float, optional
        Billions of parameters, in all and used for one token.
    context_window : int, optional
        Tokens that fit.
    architecture : Architecture, optional
        The architecture, known or typical of its parameters.
    """

    name: str
    joules_per_completion_token: float
    joules_per_prompt_token: float
    low_factor: float
    high_factor: float
    basis: Basis
    basis_text: str
    source: str = ""
    date: str = ""
    hf_id: str = ""
    oxlo_ids: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    total_parameters_b: float | None = None
    active_parameters_b: float | None = None
    context_window: int | None = None
    architecture: Architecture | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that the model goes by."""
        return tuple(n for n in (self.name, self.hf_id, *self.oxlo_ids, *self.aliases) if n)


@dataclass(frozen=True, slots=True)
class EntryEnergy:
    """The energy of one model, as a row gives it.

    Attributes are those of `CatalogueEntry` of the same name.
    """

    joules_per_completion_token: float
    joules_per_prompt_token: float
    low_factor: float
    high_factor: float
    basis_text: str
    architecture: Architecture | None


def read_energy(row: Mapping[str, Any], where: str) -> EntryEnergy:
    """Read the energy of a model from its own joules per token or from its parameters.

    Parameters
    ----------
    row : mapping
        May have ``joules_per_completion_token``, ``joules_per_prompt_token``, ``basis``,
        ``low_factor``, ``high_factor``, ``total_parameters_b``, ``active_parameters_b`` and
        ``precision``. Its own joules win over its parameters.
    where : str
        File and row, for messages.

    Raises
    ------
    ConfigError
        If neither is given, one is incomplete, or a value is not valid.
    """
    architecture = _architecture(row, where)
    e_out = get_number(row, "joules_per_completion_token", where)
    e_in = get_number(row, "joules_per_prompt_token", where)
    text = get_text(row, "basis", where)
    uncertainty = Coefficients.default().uncertainty
    if e_out is not None and e_in is not None and text is not None:
        factors = uncertainty[basis_of(text)]
    elif given := [key for key in _OWN if key in row]:
        missing = ", ".join(repr(key) for key in _OWN if key not in row)
        raise ConfigError(f"{where}: {given[0]!r} needs {missing} beside it")
    elif architecture is not None:
        e_out = joules_per_completion_token(architecture)
        e_in = joules_per_prompt_token(architecture)
        text = "estimated: typical of its parameters"
        factors = uncertainty["typical"]
    else:
        raise ConfigError(
            f"{where}: its energy is missing: give 'total_parameters_b', or "
            "'joules_per_completion_token', 'joules_per_prompt_token' and 'basis'"
        )
    low, high = _factors(row, where, factors)
    return EntryEnergy(e_out, e_in, low, high, text, architecture)


def entry_from_row(
    row: Mapping[str, Any], where: str, known: CatalogueEntry | None = None
) -> CatalogueEntry:
    """Return the entry that a row describes.

    Parameters
    ----------
    row : mapping
        Fields of `CatalogueEntry`, with ``model`` for its name and ``basis`` as free text;
        what is absent is taken from `known`.
    where : str
        File and row, for messages.
    known : CatalogueEntry, optional
        The entry that the row changes.

    Raises
    ------
    ConfigError
        If a key is unknown, or a value is missing or not valid.
    """
    check_keys(row, NUMBERS + _TEXTS, where)
    name = get_text(row, "model", where)
    if name is None:
        raise ConfigError(f"{where}: 'model' is missing: give the model's name")
    changes: dict[str, Any] = {}
    for key in ("hf_id", "source", "date"):
        changes[key] = get_text(row, key, where)
    for key in ("oxlo_ids", "aliases"):
        names = get_texts(row, key, where)
        changes[key] = tuple(part for text in names for part in text.split()) or None
    for key in ("total_parameters_b", "active_parameters_b"):
        changes[key] = get_number(row, key, where)
    window = get_number(row, "context_window", where)
    changes["context_window"] = None if window is None else int(window)
    changes = {key: value for key, value in changes.items() if value is not None}
    if known is not None and not any(key in row for key in (*_OWN, *_SIZE)):
        low, high = _factors(row, where, (known.low_factor, known.high_factor))
        return replace(known, low_factor=low, high_factor=high, **changes)
    energy = read_energy(row, where)
    fields = {
        "joules_per_completion_token": energy.joules_per_completion_token,
        "joules_per_prompt_token": energy.joules_per_prompt_token,
        "low_factor": energy.low_factor,
        "high_factor": energy.high_factor,
        "basis": basis_of(energy.basis_text),
        "basis_text": energy.basis_text,
        **changes,
    }
    if known is None:
        return CatalogueEntry(name=name, architecture=energy.architecture, **fields)
    if energy.architecture is not None:
        # The old count of active parameters says nothing about a changed total.
        fields["active_parameters_b"] = changes.get("active_parameters_b")
        fields["architecture"] = energy.architecture
    return replace(known, **fields)


def _factors(
    row: Mapping[str, Any], where: str, default: tuple[float, float]
) -> tuple[float, float]:
    low = get_number(row, "low_factor", where)
    high = get_number(row, "high_factor", where)
    low, high = default[0] if low is None else low, default[1] if high is None else high
    if not low <= 1 <= high:
        raise ConfigError(
            f"{where}: need 'low_factor' <= 1 <= 'high_factor', got {low:g} and {high:g}"
        )
    return low, high


def _architecture(row: Mapping[str, Any], where: str) -> Architecture | None:
    total = get_number(row, "total_parameters_b", where)
    active = get_number(row, "active_parameters_b", where)
    precision = get_text(row, "precision", where)
    if total is None:
        for key, value in (("active_parameters_b", active), ("precision", precision)):
            if value is not None:
                raise ConfigError(f"{where}: {key!r} needs 'total_parameters_b' beside it")
        return None
    try:
        return Architecture.from_parameters(total, active, precision=precision)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
