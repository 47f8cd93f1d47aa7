"""The tables of RouterBench: one row a prompt, one column of grades a model.

References
----------
Hu et al., RouterBench: A Benchmark for Multi-LLM Routing System, 2024, arXiv:2403.12031;
``routerbench_0shot.pkl`` and ``routerbench_5shot.pkl`` of
https://huggingface.co/datasets/withmartian/routerbench.
"""

from __future__ import annotations

import ast
import gzip
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from router.errors import DataError
from router.training.importers.column_tables import (
    IMPORTED_COLUMNS,
    require_columns,
    wide_rows,
)
from router.training.importers.json_files import find_files, read_bytes
from router.training.importers.pickled_frames import read_pickled_frame
from router.training.importers.records import ImportedRun, ImportOptions, Item
from router.training.importers.tables import Table, open_table
from router.training.schema import Problem

__all__ = ["COST", "import_routerbench", "is_pickle"]

COST = "|total_cost"
"""How the columns of costs end."""

_ANSWER = "|model_response"
_META = ("sample_id", "prompt", "eval_name", "oracle_model_to_route_to")
_PICKLES = (".pkl", ".pickle", ".pkl.gz")
_MAX_BYTES = 2 * 2**30
_MAX_PROMPT = 1_000_000


def is_pickle(path: Path) -> bool:
    """Whether the name of a file is that of a pickle."""
    return path.name.lower().endswith(_PICKLES)


def import_routerbench(source: Path, options: ImportOptions) -> Iterator[Item]:
    """Yield the graded answers of RouterBench tables.

    Parameters
    ----------
    source : Path
        A pickled pandas table, which is read without unpickling, the same table as CSV or
        Parquet, or a folder of them.
    options : ImportOptions
        `wide` names the models where there are no columns of costs to tell them by.

    Yields
    ------
    Item
        One answer for each model of a row.

    Raises
    ------
    DataError
        If a file is not of this layout, or a pickle asks for anything but a table.
    """
    patterns = (*(f"*{suffix}" for suffix in _PICKLES), "*.csv", "*.parquet")
    for path in find_files(source, *patterns):
        table = _pickled(path) if is_pickle(path) else open_table(path)
        require_columns(table, ("sample_id", "prompt", "eval_name"), "a table of RouterBench")
        models = options.wide or _models(table)
        columns = {name: name for name in IMPORTED_COLUMNS}
        columns |= {"prompt_id": "sample_id", "task": "eval_name"}
        costs = {
            model: {"cost_usd": f"{model}{COST}"} if f"{model}{COST}" in table.columns else None
            for model in models
        }
        ignored = (*_META, *(f"{model}{_ANSWER}" for model in models))
        for item in wide_rows(table, columns, {}, costs, ignored):
            if not isinstance(item, ImportedRun):
                yield item
                continue
            try:
                yield replace(item, prompt=prompt_text(item.prompt))
            except ValueError as error:
                yield Problem("not valid", str(error), item.file, item.row, "prompt")


def prompt_text(value: Any) -> Any:
    r"""Return the prompt of a cell, which is a list of turns or the text of such a list.

    Parameters
    ----------
    value : object
        The cell.

    Returns
    -------
    object
        The turns joined by empty lines; the cell itself where it is not such a list.

    Raises
    ------
    ValueError
        If the text of the list is broken or too long.

    Examples
    --------
    >>> prompt_text("['Which planet is this?\\nA) Mars']")
    'Which planet is this?\nA) Mars'
    """
    if isinstance(value, str) and value.startswith(("['", '["')) and value.rstrip().endswith("]"):
        if len(value) > _MAX_PROMPT:
            raise ValueError(f"has {len(value):,} characters")
        try:
            turns = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return value  # text that happens to stand in brackets
    else:
        turns = value
    if isinstance(turns, list) and turns and all(isinstance(turn, str) for turn in turns):
        if sum(map(len, turns)) > _MAX_PROMPT:
            raise ValueError("is too long")
        return "\n\n".join(turns)
    return value


def _models(table: Table) -> tuple[str, ...]:
    """Return the columns of grades: those with a column of costs, else all that are left."""
    costs = [name.removesuffix(COST) for name in table.columns if name.endswith(COST)]
    models = tuple(name for name in costs if name in table.columns)
    if not models:
        models = tuple(n for n in table.columns if n and n not in _META and "|" not in n)
    if not models:
        raise DataError("there is no column of grades", file=table.file)
    return models


def _pickled(path: Path) -> Table:
    file = str(path)
    frame = read_pickled_frame(_pickle_bytes(path), file)
    wanted = [name for name in frame.columns if not name.endswith(_ANSWER)]
    wanted = [name for name in wanted if name != "oracle_model_to_route_to"]
    return Table(file, tuple(wanted), frame.rows(wanted))


def _pickle_bytes(path: Path) -> bytes:
    if path.is_file() and path.stat().st_size > _MAX_BYTES:
        raise DataError(f"is larger than {_MAX_BYTES / 2**30:g} GiB", file=str(path))
    if path.suffix.lower() != ".gz":
        return read_bytes(path)
    try:
        with gzip.open(path) as file:
            data = file.read(_MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"is broken or truncated: {error}", file=str(path)) from error
    if len(data) > _MAX_BYTES:
        raise DataError(f"holds more than {_MAX_BYTES / 2**30:g} GiB", file=str(path))
    return data
