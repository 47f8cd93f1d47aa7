"""Rows of a CSV file, each with its place for messages."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path

from router.errors import ConfigError

__all__ = ["read_csv_rows"]


def read_csv_rows(path: Path, numbers: Collection[str]) -> list[tuple[str, dict[str, str | float]]]:
    """Read a CSV file with a header.

    Parameters
    ----------
    path : Path
        A CSV file in UTF-8, with or without a byte order mark.
    numbers : collection of str
        Columns that hold numbers.

    Returns
    -------
    list of (str, dict)
        File and row, counted from 1 without the header, and the cells that are not empty by
        column. Blank lines are left out but counted.

    Raises
    ------
    ConfigError
        If the file cannot be read, the header is missing or names a column twice, a row has
        another number of cells, or a cell of a number column is none; the message names file,
        row and column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = list(csv.reader(file, strict=True))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: not a CSV file in UTF-8: {error}") from error
    if not table:
        raise ConfigError(f"{path}: is empty: give a header with 'model' and rows")
    header, rows = [key.strip() for key in table[0]], []
    if duplicates := {key for key in header if header.count(key) > 1}:
        raise ConfigError(f"{path}: column {min(duplicates)!r} occurs twice in the header")
    for number, cells in enumerate(table[1:], start=1):
        if not any(cells):
            continue
        where = f"{path}, row {number}"
        if len(cells) != len(header):
            raise ConfigError(f"{where}: {len(cells)} cells under {len(header)} columns")
        row = {key: cell.strip() for key, cell in zip(header, cells, strict=True)}
        found = {key: _cell(key, cell, numbers, where) for key, cell in row.items() if cell}
        rows.append((where, found))
    return rows


def _cell(key: str, cell: str, numbers: Collection[str], where: str) -> str | float:
    if key not in numbers:
        return cell
    try:
        return float(cell)
    except ValueError:
        raise ConfigError(f"{where}: {key!r} must be a number, got {cell!r}") from None
