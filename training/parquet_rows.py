"""Reading evaluation runs from Parquet."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from router.training.run_cells import Chunk
from router.training.schema import COLUMNS, Column, Problem, check_columns

__all__ = ["raw_parquet_rows", "read_parquet"]

_CHUNK_ROWS = 65_536

_NEEDED = {
    "text": "text",
    "prompt": "text or lists of chat messages",
    "number": "numbers",
    "vector": "lists of numbers",
}


def read_parquet(path: Path) -> Iterator[Chunk]:
    """Read one Parquet file.

    Parameters
    ----------
    path : Path
        The file.

    Yields
    ------
    Chunk
        First one with what is wrong with the columns, then the rows of the others.

    Raises
    ------
    OSError, pyarrow.ArrowException
        If the file is broken.
    """
    file = str(path)
    schema = pq.read_schema(path)
    names = [name for name in schema.names if not _is_pandas_index(name)]
    problems = check_columns(names, file)
    readable = []
    for name in names:
        if name in COLUMNS and names.count(name) == 1:
            kind = schema.field(name).type
            if _fits(kind, COLUMNS[name]):
                readable.append(name)
            else:
                reason = f"the column holds {kind}, must be {_NEEDED[COLUMNS[name].kind]}"
                problems.append(Problem("wrong type", reason, file, field=name))
    yield Chunk(np.empty(0, np.int64), {}, problems)
    # Dictionary encoding makes each repeated prompt one string from the start.
    texts = [name for name in readable if _is_text(schema.field(name).type)]
    first = 1
    with pq.ParquetFile(path, read_dictionary=texts) as parquet:
        for batch in parquet.iter_batches(batch_size=_CHUNK_ROWS, columns=readable):
            batch.validate(full=True)
            rows = np.arange(first, first + batch.num_rows)
            first += batch.num_rows
            yield Chunk(rows, dict(zip(batch.schema.names, batch.columns, strict=True)))


def raw_parquet_rows(path: Path, wanted: Collection[int]) -> dict[int, Any]:
    """Return some rows as objects.

    Parameters
    ----------
    path : Path
        The file.
    wanted : collection of int
        Row numbers, from 1.

    Returns
    -------
    dict of int to dict
        The fields of each row.
    """
    found: dict[int, Any] = {}
    first = 1
    with pq.ParquetFile(path) as parquet:
        for batch in parquet.iter_batches(batch_size=_CHUNK_ROWS):
            rows = [row for row in range(first, first + batch.num_rows) if row in wanted]
            index = pa.array([row - first for row in rows], pa.int64())
            found.update(zip(rows, batch.take(index).to_pylist(), strict=True))
            first += batch.num_rows
    return found


def _is_pandas_index(name: str) -> bool:
    return name.startswith("__index_level_") and name.endswith("__")


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    )


def _fits(kind: pa.DataType, column: Column) -> bool:
    """Whether an Arrow column type can hold what `column` asks for."""
    if pa.types.is_null(kind):
        return True
    if column.kind == "number":
        return _is_number(kind)
    if column.kind == "vector":
        return _is_list(kind) and _is_number(kind.value_type)
    if column.kind == "prompt" and _is_list(kind):
        return True
    return _is_text(kind) or (column.name == "prompt_id" and bool(pa.types.is_integer(kind)))
