"""Strict TOML: unknown keys and wrong types are errors that name file and key."""

from __future__ import annotations

import difflib
import json
import math
import tomllib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from router.errors import ConfigError

__all__ = [
    "check_keys",
    "get_number",
    "get_tables",
    "get_text",
    "get_texts",
    "read_toml",
    "suggest",
    "toml_value",
]


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    ConfigError
        If the file cannot be read or is not TOML; the message names file and line.
    """
    try:
        return tomllib.loads(Path(path).read_bytes().decode("utf-8-sig").replace("\r\n", "\n"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 text: save it as UTF-8") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def suggest(word: str, known: Iterable[str]) -> str:
    """Return ``"; did you mean 'x'?"`` for the known word nearest to `word`, or ``""``.

    Examples
    --------
    >>> suggest("modle", ["model", "runs"])
    "; did you mean 'model'?"
    >>> suggest("energy", ["model", "runs"])
    ''
    """
    spelling: dict[str, str] = {}
    for option in known:
        spelling.setdefault(option.casefold(), option)
    close = difflib.get_close_matches(word.casefold(), spelling, n=1)
    return f"; did you mean {spelling[close[0]]!r}?" if close else ""


def check_keys(table: Mapping[str, Any], allowed: Collection[str], where: str) -> None:
    """Refuse a key of `table` that is not in `allowed`.

    Parameters
    ----------
    table : mapping
        A table as `read_toml` returns it.
    allowed : collection of str
        The keys that mean something.
    where : str
        File and table, for the message.

    Raises
    ------
    ConfigError
        At the first unknown key, with the nearest known one.
    """
    for key in table:
        if key not in allowed:
            hint = suggest(key, allowed) or f"; known keys: {', '.join(sorted(allowed))}"
            raise ConfigError(f"{where}: unknown key {key!r}{hint}")


def get_text(table: Mapping[str, Any], key: str, where: str) -> str | None:
    """Return the text at `key`, or None where the key is absent.

    Raises
    ------
    ConfigError
        If the value is not a string or is blank.
    """
    value = table.get(key)
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise ConfigError(f"{where}: {key!r} must be text that is not blank, got {value!r}")
    return value


def get_texts(table: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
    """Return the texts at `key`, a string or a list of strings; none where it is absent.

    Raises
    ------
    ConfigError
        If an item is not a string or is blank.
    """
    value = table.get(key, [])
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(i, str) and i.strip() for i in items):
        raise ConfigError(f"{where}: {key!r} must be text or a list of texts, got {value!r}")
    return tuple(items)


def get_number(table: Mapping[str, Any], key: str, where: str) -> float | None:
    """Return the number above 0 at `key`, or None where the key is absent.

    Raises
    ------
    ConfigError
        If the value is not a number, not finite, or not above 0.
    """
    value = table.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{where}: {key!r} must be a number, got {value!r}")
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"{where}: {key!r} must be a finite number above 0, got {value!r}")
    return float(value)


def get_tables(table: Mapping[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    """Return the tables written as ``[[key]]``; none where there are none.

    Raises
    ------
    ConfigError
        If the value is something else.
    """
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ConfigError(f"{where}: {key!r} must be written as [[{key}]] tables")
    return value


def toml_value(value: str | float | Collection[str]) -> str:
    r"""Return `value` as TOML writes it; `tomllib` reads the same value back.

    Examples
    --------
    >>> print(toml_value('a "quoted" word'), toml_value(0.5), toml_value(["a", "b"]))
    "a \"quoted\" word" 0.5 ["a", "b"]
    """
    if isinstance(value, str):
        # JSON's escapes are TOML's, except that TOML also escapes the delete character.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    return f"[{', '.join(toml_value(item) for item in value)}]"
