"""The catalogue: what is known about the energy of each open model, with its source."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from router.config import check_keys, get_tables, read_toml, suggest
from router.energy.architecture import architectures
from router.energy.csv_rows import read_csv_rows
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
        rows = read_csv_rows(path, NUMBERS)
        entries = (entry_from_row(row, where) for where, row in rows)
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
        toml = path.suffix.lower() == ".toml"
        rows = _toml_rows(path) if toml else read_csv_rows(path, NUMBERS)
        entries = {entry.name.casefold(): entry for entry in base.entries}
        seen: set[str] = set()
        for where, row in rows:
            known = base.own(str(row.get("model", "")))
            entry = entry_from_row({"source": str(path), **row}, where, known)
            key = entry.name.casefold()
            if key in seen:
                raise ConfigError(f"{where}: model {entry.name!r} occurs twice: keep one row")
            seen.add(key)
            # Taken out first, so that the user's row comes last and owns its names.
            entries.pop(key, None)
            entries[key] = entry
        return cls(tuple(entries.values()))

    def own(self, name: str) -> CatalogueEntry | None:
        """Return the entry that `name` is a name or id of, and not only an alias; else None."""
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


def _toml_rows(path: Path) -> list[tuple[str, dict[str, Any]]]:
    data = read_toml(path)
    check_keys(data, ("model",), str(path))
    # TOML has dates of its own; the catalogue keeps them as text.
    return [
        (
            f"{path}, row {number}",
            {key: str(value) if isinstance(value, date) else value for key, value in row.items()},
        )
        for number, row in enumerate(get_tables(data, "model", str(path)), start=1)
    ]
