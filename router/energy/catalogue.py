"""The catalogue: what is known about the energy of each open model, with its source."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from router.config import check_keys, get_tables, read_toml, suggest
from router.energy.architecture import architectures
from router.energy.entry import NUMBERS, CatalogueEntry, entry_from_row
from router.errors import ConfigError

__all__ = ["Catalogue"]

# Words of a model's name that say how it was tuned, stored or published, not what it is.
_DECORATION = re.compile(
    r"(?<![a-z0-9])(meta|instruct|inst|it|chat|hf|bf16|fp16|fp8|v0\.\d|\d{4}|free|latest)(?![a-z0-9])"
)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Models by name, Hugging Face id, Oxlo id or alias, whatever the case.

    Attributes
    ----------
    entries : tuple of CatalogueEntry
        The models.

    Examples
    --------
    >>> catalogue = Catalogue.default()
    >>> catalogue.find("llama-3.3-70B").joules_per_completion_token
    0.8223
    >>> catalogue.match("meta-llama/Meta-Llama-3.1-8B-Instruct").name
    'Llama-3.1-8B'
    """

    entries: tuple[CatalogueEntry, ...]
    _exact: dict[str, CatalogueEntry] = field(init=False, repr=False, compare=False)
    _tolerant: dict[tuple[str, ...], CatalogueEntry] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        exact: dict[str, CatalogueEntry] = {}
        tolerant: dict[tuple[str, ...], CatalogueEntry] = {}
        # A later entry, the user's own, takes a name over from an earlier one.
        for entry in self.entries:
            for name in entry.names:
                exact[name.casefold()] = entry
                if words := _words(name):
                    tolerant[words] = entry
        object.__setattr__(self, "_exact", exact)
        object.__setattr__(self, "_tolerant", tolerant)

    def __iter__(self) -> Iterator[CatalogueEntry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @staticmethod
    @cache
    def default() -> Catalogue:
        """Return the shipped catalogue, read once."""
        path = Path(__file__).with_name("data") / "catalogue.csv"
        entries = (entry_from_row(row, "catalogue.csv") for row in _csv_rows(path))
        known = architectures()
        return Catalogue(tuple(replace(e, architecture=known[e.name]) for e in entries))

    @classmethod
    def read(cls, path: str | Path, base: Catalogue | None = None) -> Catalogue:
        """Return a catalogue extended by the rows of a file.

        Parameters
        ----------
        path : str or Path
            A CSV file with a header, or a TOML file with one ``[[model]]`` table a model.
            Columns or keys: ``model`` and any of ``hf_id``, ``oxlo_ids``, ``aliases`` (names
            separated by spaces), ``total_parameters_b``, ``active_parameters_b``,
            ``context_window``, ``precision``, ``joules_per_completion_token`` with
            ``joules_per_prompt_token`` and ``basis``, ``low_factor``, ``high_factor``,
            ``source``, ``date``. A new model needs its total parameters or its own joules
            per token; a row for a known model changes what it gives and keeps the rest.
        base : Catalogue, optional
            The catalogue to extend; the shipped one when not given.

        Raises
        ------
        ConfigError
            If the file cannot be read or a row is not valid; the message names file, row
            and field.
        """
        path = Path(path)
        base = cls.default() if base is None else base
        rows = _toml_rows(path) if path.suffix.lower() == ".toml" else _csv_rows(path)
        entries = {entry.name.casefold(): entry for entry in base.entries}
        seen: set[str] = set()
        for number, row in enumerate(rows, start=1):
            where = f"{path}, row {number}"
            known = base._own(str(row.get("model", "")))
            entry = entry_from_row({"source": str(path), **row}, where, known)
            key = entry.name.casefold()
            if key in seen:
                raise ConfigError(f"{where}: model {entry.name!r} occurs twice: keep one row")
            seen.add(key)
            # Taken out first, so that the user's row comes last and owns its names.
            entries.pop(key, None)
            entries[key] = entry
        return cls(tuple(entries.values()))

    def _own(self, name: str) -> CatalogueEntry | None:
        """Return the entry that `name` is a name of, and not only an alias."""
        entry = self._exact.get(name.strip().casefold())
        if entry is None or name.casefold() in map(str.casefold, entry.aliases):
            return None
        return entry

    def find(self, name: str) -> CatalogueEntry:
        """Return the model of that name, Hugging Face id, Oxlo id or alias.

        Raises
        ------
        ConfigError
            If there is none, with the nearest name.
        """
        entry = self._exact.get(name.strip().casefold())
        if entry is None:
            near = suggest(name, (n for e in self.entries for n in e.names))
            advice = f"{near} Otherwise" if near else ":"
            raise ConfigError(
                f"model {name!r} is not in the catalogue{advice} "
                "give its parameters or its own joules per token"
            )
        return entry

    def match(self, name: str) -> CatalogueEntry | None:
        """Return the model that a name from evaluation runs means, or None.

        Organisation, provider, notes in brackets, words such as ``Instruct``, dates and
        punctuation do not matter. Every other word and number has to be the same, so a size
        or a version is never guessed.
        """
        exact = self._exact.get(name.strip().casefold())
        return exact if exact is not None else self._tolerant.get(_words(name))


def _words(name: str) -> tuple[str, ...]:
    """Return what identifies a model in `name`, without organisation, provider and tuning."""
    bare = re.sub(r"\(.*?\)", " ", name.casefold()).strip().rsplit("/", 1)[-1].partition("@")[0]
    return tuple(re.findall(r"[a-z]+|\d+[a-z]*", _DECORATION.sub(" ", bare)))


def _csv_rows(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = list(csv.reader(file, strict=True))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: not a CSV file in UTF-8: {error}") from error
    if not table:
        raise ConfigError(f"{path}: is empty: give a header with 'model' and rows")
    header, rows = table[0], []
    if duplicates := {key for key in header if header.count(key) > 1}:
        raise ConfigError(f"{path}: column {min(duplicates)!r} occurs twice in the header")
    for number, cells in enumerate(table[1:], start=1):
        if not any(cells):
            continue
        where = f"{path}, row {number}"
        if len(cells) != len(header):
            raise ConfigError(f"{where}: {len(cells)} cells under {len(header)} columns")
        row = {key: cell.strip() for key, cell in zip(header, cells, strict=True)}
        rows.append({key: _cell(key, cell, where) for key, cell in row.items() if cell})
    return rows


def _cell(key: str, cell: str, where: str) -> str | float:
    if key not in NUMBERS:
        return cell
    try:
        return float(cell)
    except ValueError:
        raise ConfigError(f"{where}: {key!r} must be a number, got {cell!r}") from None


def _toml_rows(path: Path) -> list[dict[str, Any]]:
    data = read_toml(path)
    check_keys(data, ("model",), str(path))
    # TOML has dates of its own; the catalogue keeps them as text.
    return [
        {key: str(value) if isinstance(value, date) else value for key, value in row.items()}
        for row in get_tables(data, "model", str(path))
    ]
