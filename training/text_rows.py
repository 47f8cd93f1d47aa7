"""Reading evaluation runs from CSV and JSONL, row by row, so that each error has its row."""

from __future__ import annotations

import csv
import gzip
import itertools
import json
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from router.training.run_cells import Chunk
from router.training.schema import COLUMNS, Column, Problem, check_columns

__all__ = ["raw_csv_rows", "raw_jsonl_rows", "read_csv", "read_jsonl"]

# Few enough for the objects of a piece to stay in the processor's cache.
_CHUNK_ROWS = 1_024


def read_csv(path: Path) -> Iterator[Chunk]:
    """Read one CSV file with a header, rows as RFC 4180 has them.

    Parameters
    ----------
    path : Path
        The file, compressed if its name ends in .gz.

    Yields
    ------
    Chunk
        First one with what is wrong with the header, then the rows; a row with too few or
        too many cells is a problem. Empty cells are None, numbers are parsed where they can
        be.

    Raises
    ------
    OSError, EOFError, zlib.error, csv.Error, UnicodeDecodeError
        If the file is broken.
    """
    file = str(path)
    with _csv_reader(path) as reader:
        header = next(reader, None)
        if header is None:
            return
        yield Chunk(np.empty(0, np.int64), {}, check_columns(header, file))
        known = [(j, n) for j, n in enumerate(header) if n in COLUMNS and header.count(n) == 1]
        first = 1
        while piece := _piece(reader):
            rows = np.arange(first, first + len(piece))
            first += len(piece)
            problems = []
            if set(map(len, piece)) != {len(header)}:
                fits = np.array([len(cells) == len(header) for cells in piece])
                for i in np.flatnonzero(~fits).tolist():
                    reason = f"the row has {len(piece[i])} cells, the header {len(header)}"
                    problems.append(Problem("ragged row", reason, file, int(rows[i])))
                rows = rows[fits]
                piece = list(itertools.compress(piece, fits))
            cells_of = list(zip(*piece, strict=True)) or [()] * len(header)
            columns = {name: _csv_cells(cells_of[j], COLUMNS[name]) for j, name in known}
            yield Chunk(rows, columns, problems)


def raw_csv_rows(path: Path, wanted: Collection[int]) -> dict[int, Any]:
    """Return some rows of a CSV file as they are.

    Parameters
    ----------
    path : Path
        The file.
    wanted : collection of int
        Row numbers, from 1 without the header.

    Returns
    -------
    dict of int to dict or list
        The cells of each row by column, in a list if they do not fit the header.
    """
    with _csv_reader(path) as reader:
        header = next(reader)
        return {
            row: dict(zip(header, cells, strict=True)) if len(cells) == len(header) else cells
            for row, cells in enumerate(filter(None, reader), 1)
            if row in wanted
        }


@contextmanager
def _csv_reader(path: Path) -> Iterator[Any]:
    """Open a CSV file for reading cells of any length."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with _open(path) as raw, TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
            yield csv.reader(text, strict=True)
    finally:
        csv.field_size_limit(limit)


def _piece(reader: Any) -> list[list[str]]:
    try:
        return list(itertools.islice(filter(None, reader), _CHUNK_ROWS))
    except csv.Error as error:
        raise csv.Error(f"{error} in line {reader.line_num:,}") from None


def _csv_cells(cells: Sequence[str], column: Column) -> list[Any]:
    """Give CSV's text the types of JSON; what does not parse stays text."""
    if column.kind == "number":
        try:
            return [float(cell) if cell else None for cell in cells]
        except ValueError:
            return [_parsed(cell, float) for cell in cells]
    if column.kind == "vector":
        return [_parsed(cell, json.loads) for cell in cells]
    return [cell or None for cell in cells]


def _parsed(cell: str, parse: Callable[[str], Any]) -> Any:
    if not cell:
        return None
    try:
        return parse(cell)
    except (ValueError, RecursionError):
        return cell


def read_jsonl(path: Path) -> Iterator[Chunk]:
    """Read one file with a JSON object on each line.

    Parameters
    ----------
    path : Path
        The file, compressed if its name ends in .gz.

    Yields
    ------
    Chunk
        The rows, numbered by line; a line that is no JSON object is a problem. Last, one
        with what is wrong with the names.

    Raises
    ------
    OSError, EOFError, zlib.error
        If the file is broken.
    """
    file = str(path)
    first_seen: dict[str, int] = {}
    with _open(path) as lines:
        numbered = enumerate(lines, 1)
        while piece := list(itertools.islice(numbered, _CHUNK_ROWS)):
            rows, objects, problems = [], [], []
            for row, line in piece:
                value = _object(line)
                if isinstance(value, dict):
                    rows.append(row)
                    objects.append(value)
                elif value is not None:
                    problems.append(Problem("bad JSON", value, file, row))
            for name in set().union(*objects) - first_seen.keys():
                having = (row for row, value in zip(rows, objects, strict=True) if name in value)
                first_seen[name] = next(having)
            columns = {
                name: [value.get(name) for value in objects]
                for name, column in COLUMNS.items()
                if column.required or name in first_seen
            }
            yield Chunk(np.array(rows, np.int64), columns, problems)
    if first_seen:
        names = sorted(first_seen, key=first_seen.__getitem__)
        problems = [
            replace(p, reason=f"{p.reason} (first in row {first_seen[p.field]:,})")
            if p.field in first_seen
            else p
            for p in check_columns(names, file)
        ]
        yield Chunk(np.empty(0, np.int64), {}, problems)


def raw_jsonl_rows(path: Path, wanted: Collection[int]) -> dict[int, Any]:
    """Return some lines of a JSONL file.

    Parameters
    ----------
    path : Path
        The file.
    wanted : collection of int
        Line numbers, from 1.

    Returns
    -------
    dict of int to object
        The JSON of each line, or its text if it is no JSON object.
    """
    found: dict[int, Any] = {}
    with _open(path) as lines:
        for row, line in enumerate(lines, 1):
            if row in wanted:
                value = _object(line)
                text = line.decode(errors="replace").rstrip("\r\n")
                found[row] = value if isinstance(value, dict) else text
    return found


_decode = json.JSONDecoder().raw_decode


def _object(line: bytes) -> dict[str, Any] | str | None:
    """Return the object of a line, what is wrong with the line, or None if it is blank."""
    try:
        text = line.decode("utf-8-sig").strip()
        if not text:
            return None
        value, end = _decode(text)
    except UnicodeDecodeError:
        return "the line is not UTF-8"
    except (ValueError, RecursionError) as error:
        return f"the line is not JSON: {error}"
    if end < len(text):
        return f"the line is not one JSON object: more follows at column {end + 1}"
    return value if isinstance(value, dict) else "the line is not a JSON object"


def _open(path: Path) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        return cast(IO[bytes], gzip.open(path))
    return path.open("rb")
