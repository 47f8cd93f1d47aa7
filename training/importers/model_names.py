"""What models are called in the runs, where a user renames them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from router.errors import ConfigError, DataError

__all__ = ["ModelNames"]


@dataclass(frozen=True, slots=True)
class ModelNames:
    """Names that a user gave.

    Attributes
    ----------
    only : str, optional
        The name of the one model that all rows are of.
    renamed : mapping of str to str
        Name in the source to name in the runs.
    """

    only: str | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> ModelNames:
        """Return the names that ``NAME`` and ``OLD=NEW`` say.

        Raises
        ------
        ConfigError
            If a text is empty, or contradicts an earlier one.

        Examples
        --------
        >>> ModelNames.parse(["org/Small-7B=small"]).of("org/Small-7B")
        'small'
        """
        only: str | None = None
        renamed: dict[str, str] = {}
        for text in texts:
            old, equals, new = text.rpartition("=")
            if not new.strip() or (equals and not old.strip()):
                raise ConfigError(f"--model {text!r}: must be NAME or OLD=NEW")
            if equals:
                if renamed.setdefault(old, new) != new:
                    raise ConfigError(f"--model names {old!r} twice")
            elif only not in (None, new):
                raise ConfigError(f"--model gives all rows two names: {only!r} and {new!r}")
            else:
                only = new
        if only is not None and renamed:
            raise ConfigError("--model: give either one NAME for all rows, or OLD=NEW for each")
        return cls(only, renamed)

    def of(self, name: str) -> str:
        """Return what the model `name` of a source is called in the runs."""
        return self.renamed.get(name, name) if self.only is None else self.only

    def check(self, found: Iterable[str]) -> None:
        """Refuse names that do not fit the models found.

        Parameters
        ----------
        found : iterable of str
            Models of the sources by their names there, empty for rows that name none.

        Raises
        ------
        DataError
            If one name is given for several models.
        ConfigError
            If a model that is to be renamed is in no row.
        """
        names = sorted(set(found) - {""})
        if self.only is not None and len(names) > 1:
            raise DataError(
                f"--model {self.only} is one name, but the rows are of {len(names)} models: "
                f"{_shown(names)}. Rename each with --model OLD=NEW, or import one at a time",
                field="model",
            )
        missing = sorted(set(self.renamed) - set(names))
        if missing and names:
            raise ConfigError(
                f"--model renames {missing[0]!r}, of which there is no row; there are "
                f"{_shown(names)}"
            )


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more
