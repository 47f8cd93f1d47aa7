"""Reading tables of other tools row by row: CSV, JSONL, JSON and Parquet."""

from __future__ import annotations

import csv
import gzip
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from router.errors import DataError
from router.training.importers.json_files import json_lines, read_json
from router.training.schema import Problem

__all__ = ["SUFFIXES", "Table", "missing_column", "open_table"]

SUFFIXES = (".csv", ".csv.gz", ".jsonl", ".ndjson", ".jsonl.gz", ".json", ".parquet")
"""How the names of tables end."""

Rows = Iterator["tuple[int, dict[str, Any]] | Problem"]


@dataclass(frozen=True, slots=True)
class Table:
    """A table that is read once.

    Attributes
    ----------
    file : str
        Its name.
    columns : tuple of str
        Its columns; of JSON lines, those of the first row.
    rows : iterator
        Row numbers, from 1, with the cells by column; None where a cell is empty. Or what
        is wrong with a row.
    """

    file: str
    columns: tuple[str, ...]
    rows: Rows


def open_table(path: Path) -> Table:
    """Open a table.

    Parameters
    ----------
    path : Path
        A file whose name ends in one of `SUFFIXES`.

    Raises
    ------
    DataError
        If it cannot be read, has no rows or repeats a column.
    """
    name = path.name.lower()
    if not path.is_file():
        raise DataError("there is no such file", file=str(path))
    if name.endswith((".csv", ".csv.gz")):
        rows = _csv_rows(path)
    elif name.endswith(".parquet"):
        rows = _parquet_rows(path)
    elif name.endswith((".jsonl", ".ndjson", ".jsonl.gz")):
        rows = json_lines(path)
    elif name.endswith(".json"):
        rows = _json_rows(path)
    else:
        raise DataError(f"the name must end in {', '.join(SUFFIXES)}", file=str(path))
    first: list[tuple[int, dict[str, Any]] | Problem] = []
    columns: tuple[str, ...] = ()
    for row in rows:
        first.append(row)
        if not isinstance(row, Problem):
            columns = tuple(row[1])
            break
    if not first:
        raise DataError("the table has no rows", file=str(path))
    if not columns and isinstance(first[0], Problem):
        raise DataError(first[0].reason, file=str(path), row=first[0].row)
    return Table(str(path), columns, _chained(first, rows))


def missing_column(name: str, table: Table, advice: str) -> DataError:
    """Return the error of a table that lacks a column."""
    shown = ", ".join(map(repr, table.columns[:30])) or "none"
    return DataError(
        f"there is no column {name!r}: {advice}. The columns are {shown}", file=table.file
    )


def _chained(
    first: Sequence[tuple[int, dict[str, Any]] | Problem], rest: Rows
) -> Iterator[tuple[int, dict[str, Any]] | Problem]:
    yield from first
    yield from rest


def _csv_rows(path: Path) -> Rows:
    file = str(path)
    try:
        with _csv_reader(path) as reader:
            header = next(reader, None)
            if header is None:
                raise DataError("the file is empty", file=file)
            _check_header(header, file)
            for row, cells in enumerate(filter(None, reader), 1):
                if len(cells) != len(header):
                    reason = f"the row has {len(cells)} cells, the header {len(header)}"
                    yield Problem("ragged row", reason, file, row)
                else:
                    values = [cell if cell.strip() else None for cell in cells]
                    yield row, dict(zip(header, values, strict=True))
    except UnicodeDecodeError as error:
        raise DataError(f"the file is not UTF-8 at byte {error.start:,}", file=file) from None
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise DataError(f"the file is broken or truncated: {error}", file=file) from error


@contextmanager
def _csv_reader(path: Path) -> Iterator[Any]:
    """Open a CSV file for reading cells of any length."""
    limit = csv.field_size_limit(sys.maxsize)
    try:
        with (
            gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as raw,
            TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text,
        ):
            yield csv.reader(text, strict=True)
    finally:
        csv.field_size_limit(limit)


def _check_header(header: Sequence[str], file: str) -> None:
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise DataError(f"several columns are called {repeated[0]!r}", file=file)


def _json_rows(path: Path) -> Rows:
    """Yield the rows of a JSON array of objects, or of a table as pandas splits it."""
    file = str(path)
    value = read_json(path)
    if isinstance(value, dict) and isinstance(value.get("columns"), list):
        header, data = value["columns"], value.get("data")
        if not isinstance(data, list) or not all(isinstance(name, str) for name in header):
            raise DataError("is no table: it needs 'columns' and 'data'", file=file)
        _check_header(header, file)
        value = [
            dict(zip(header, row, strict=True))
            if isinstance(row, list) and len(row) == len(header)
            else row
            for row in data
        ]
    if not isinstance(value, list):
        raise DataError("is no table: it needs an array of objects", file=file)
    for row, cells in enumerate(value, 1):
        if isinstance(cells, dict):
            yield row, cells
        else:
            yield Problem("ragged row", "the row does not fit the columns", file, row)


def _parquet_rows(path: Path) -> Rows:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = str(path)
    try:
        with pq.ParquetFile(path) as parquet:
            _check_header(parquet.schema_arrow.names, file)
            row = 0
            for batch in parquet.iter_batches(batch_size=4_096):
                batch.validate(full=True)
                for cells in batch.to_pylist():
                    row += 1
                    yield row, cells
    except (OSError, pa.ArrowException, UnicodeError) as error:
        detail = " ".join(str(error).split())[:200]
        raise DataError(f"the file is broken or truncated: {detail}", file=file) from error
