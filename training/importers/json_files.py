"""Reading JSON and JSONL of other tools, with errors that name file, line and field."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from router.errors import DataError
from router.training.schema import Problem

__all__ = [
    "find_files",
    "json_lines",
    "member",
    "parse_json",
    "read_bytes",
    "read_json",
    "require",
]


def find_files(source: Path, *patterns: str) -> list[Path]:
    """Return the files of a source by name: itself, or those in the folder and below.

    Parameters
    ----------
    source : Path
        A file, taken as it is, or a folder.
    *patterns : str
        Patterns of names, such as ``samples_*.jsonl``.

    Returns
    -------
    list of Path
        Sorted; files and folders with a name that begins with a dot are left aside.

    Raises
    ------
    DataError
        If there is no such file or folder, or the folder holds none.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise DataError("there is no such file or folder", file=str(source))
    found = sorted(
        path
        for pattern in patterns
        for path in source.rglob(pattern)
        if path.is_file() and not _is_hidden(path.relative_to(source))
    )
    if not found:
        raise DataError(f"the folder has no file {' or '.join(patterns)}", file=str(source))
    return list(dict.fromkeys(found))


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=str(path)) from error


def read_json(path: Path) -> Any:
    """Return the value of a JSON file.

    Raises
    ------
    DataError
        If it cannot be read or is no JSON.
    """
    return parse_json(read_bytes(path), str(path))


def parse_json(data: bytes, file: str) -> Any:
    """Return the value of JSON in memory.

    Parameters
    ----------
    data : bytes
        UTF-8, with a byte order mark or without.
    file : str
        What messages call it.

    Raises
    ------
    DataError
        If it is empty, not UTF-8, truncated or otherwise no JSON.
    """
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 at byte {error.start:,}", file=file) from None
    except RecursionError:
        raise DataError("is no JSON of a tool: it is nested too deeply", file=file) from None
    except ValueError as error:
        if not data.strip():
            raise DataError("the file is empty", file=file) from None
        raise DataError(f"is broken or truncated JSON: {error}", file=file) from None


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]] | Problem]:
    """Yield the objects of a JSONL file with their line numbers.

    Parameters
    ----------
    path : Path
        The file, compressed if its name ends in .gz.

    Yields
    ------
    tuple of (int, dict) or Problem
        Line number and object, or what is wrong with the line. Empty lines are left aside.

    Raises
    ------
    DataError
        If the file cannot be read or has no lines.
    """
    file = str(path)
    empty = True
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as lines:
            for row, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                empty = False
                try:
                    value = json.loads(line.decode("utf-8-sig"))
                except UnicodeDecodeError:
                    yield Problem("not UTF-8", "the line is not UTF-8", file, row)
                except (ValueError, RecursionError) as error:
                    reason = f"the line is broken or truncated JSON: {error}"
                    yield Problem("bad JSON", reason, file, row)
                else:
                    if isinstance(value, dict):
                        yield row, value
                    else:
                        yield Problem("bad JSON", "the line is not a JSON object", file, row)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", file=file) from error
    except (EOFError, zlib.error) as error:
        raise DataError(f"is broken or truncated: {error}", file=file) from error
    if empty:
        raise DataError("the file is empty", file=file)


def require(
    value: Any, kind: type | tuple[type, ...], what: str, file: str, row: int | None = None
) -> Any:
    """Return `value` if it is of a kind.

    Parameters
    ----------
    value : object
        A member of parsed JSON, None where it is absent.
    kind : type or tuple of type
        What it must be.
    what : str
        The field, for the message.
    file, row : str, int or None
        Where it is.

    Raises
    ------
    DataError
        If it is missing or of another type.
    """
    if not isinstance(value, kind):
        problem = "is missing" if value is None else f"is of type {type(value).__name__}"
        raise DataError(f"{problem}: not a file of this format", file=file, row=row, field=what)
    return value


def member(value: Any, *names: str) -> Any:
    """Return a member of nested objects, None where any of them is absent."""
    for name in names:
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
