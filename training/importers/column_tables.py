"""Any table of graded answers, with the names of its columns told by the user."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from router.errors import ConfigError
from router.training.importers.json_files import find_files
from router.training.importers.records import ImportedRun, ImportOptions, Item, LeftOut, Note
from router.training.importers.tables import SUFFIXES, Table, missing_column, open_table
from router.training.schema import COLUMNS, Problem

__all__ = [
    "IMPORTED_COLUMNS",
    "import_table",
    "long_rows",
    "parse_columns",
    "require_columns",
    "wide_rows",
]

IMPORTED_COLUMNS = tuple(name for name in COLUMNS if name != "embedding")
"""Columns of evaluation runs that a table may give."""

_OF_ANSWER = ("completion_tokens", "energy_j", "cost_usd", "latency_s")
_OTHERS = tuple(
    name for name in IMPORTED_COLUMNS if name not in ("prompt", "model", "quality", "prompt_id")
)


def parse_columns(texts: tuple[str, ...]) -> dict[str, str]:
    """Return the mapping that ``FIELD=NAME`` say.

    Returns
    -------
    dict of str to str
        Column of evaluation runs to the name it has in the source.

    Raises
    ------
    ConfigError
        If a text has another form, or a field is unknown or named twice.

    Examples
    --------
    >>> parse_columns(("prompt=question", "quality=score"))
    {'prompt': 'question', 'quality': 'score'}
    """
    found: dict[str, str] = {}
    for text in texts:
        field, equals, name = text.partition("=")
        if not equals or not name:
            raise ConfigError(f"--column {text!r}: must be FIELD=NAME")
        if field not in IMPORTED_COLUMNS:
            close = difflib.get_close_matches(field, IMPORTED_COLUMNS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "one of " + ", ".join(COLUMNS)
            raise ConfigError(f"--column {text!r}: there is no field {field!r}: {hint}")
        if found.setdefault(field, name) != name:
            raise ConfigError(f"--column names {field!r} twice")
    return found


def import_table(source: Path, options: ImportOptions) -> Iterator[Item]:
    """Yield the graded answers of tables.

    Parameters
    ----------
    source : Path
        A CSV, JSONL, JSON or Parquet file, or a folder of them.
    options : ImportOptions
        Columns, and the columns that each hold one model's grades.

    Yields
    ------
    Item
        One answer a row, or with `options.wide` one for each model of a row.

    Raises
    ------
    DataError
        If a file cannot be read or lacks a column.
    """
    for path in find_files(source, *(f"*{suffix}" for suffix in SUFFIXES)):
        table = open_table(path)
        columns = {name: options.columns.get(name, name) for name in IMPORTED_COLUMNS}
        if options.wide:
            yield from wide_rows(table, columns, options.columns, dict.fromkeys(options.wide))
        else:
            yield from long_rows(table, columns, options.columns, model_given=options.model_given)


def long_rows(
    table: Table,
    columns: Mapping[str, str],
    given: Mapping[str, str],
    *,
    model_given: bool = False,
) -> Iterator[Item]:
    """Yield one answer a row.

    Parameters
    ----------
    table : Table
        With a column each for prompt, model and grade.
    columns : mapping of str to str
        Column of evaluation runs to the table's.
    given : mapping of str to str
        Those of them that must be there.
    model_given : bool
        Whether the table may lack a column for the model.

    Raises
    ------
    DataError
        If a column is missing.
    """
    needed = {"prompt", "quality", *given} | (set() if model_given else {"model"})
    for name in sorted(needed):
        if columns[name] not in table.columns:
            advice = f"say which it is with --column {name}=NAME"
            if name == "quality":
                advice += ", or name the columns of the models with --wide"
            raise missing_column(columns[name], table, advice)
    yield from _unused(table, columns.values())
    quality = columns["quality"]
    for item in table.rows:
        if isinstance(item, Problem):
            yield item
            continue
        row, cells = item
        model = cells.get(columns["model"])
        if cells.get(quality) is None:
            yield LeftOut(f"the grade {quality!r} is empty", table.file, row)
            continue
        yield ImportedRun(
            table.file,
            row,
            cells.get(columns["prompt"]),
            "" if model is None else str(model),
            cells[quality],
            quality,
            **_common(cells, columns),
        )


def wide_rows(
    table: Table,
    columns: Mapping[str, str],
    given: Mapping[str, str],
    models: Mapping[str, Mapping[str, str] | None],
    ignored: tuple[str, ...] = (),
) -> Iterator[Item]:
    """Yield one answer for each model of a row.

    Parameters
    ----------
    table : Table
        With a column of grades for each model.
    columns : mapping of str to str
        Column of evaluation runs to the table's.
    given : mapping of str to str
        Those of them that must be there.
    models : mapping of str to mapping
        Columns of grades, named after their models, each with the columns of evaluation
        runs that the table has for that model alone.
    ignored : tuple of str
        Columns that need no mention.

    Raises
    ------
    DataError
        If a column is missing.
    ConfigError
        If a column is told that a wide table cannot have.
    """
    unfit = sorted({"model", "quality", *_OF_ANSWER} & set(given))
    if unfit:
        raise ConfigError(
            f"--column {unfit[0]} does not go with a column for each model: it belongs to one "
            "model's answer"
        )
    for name in sorted({"prompt", *given}):
        if columns[name] not in table.columns:
            advice = f"say which it is with --column {name}=NAME"
            raise missing_column(columns[name], table, advice)
    for model in models:
        if model not in table.columns:
            raise missing_column(model, table, "it was named as the grades of a model")
    # what belongs to one answer cannot be told of all models of a row
    columns = {name: column for name, column in columns.items() if name not in _OF_ANSWER}
    own = [name for pairs in models.values() for name in (pairs or {}).values()]
    yield from _unused(table, [*columns.values(), *models, *own, *ignored])
    for item in table.rows:
        if isinstance(item, Problem):
            yield item
            continue
        row, cells = item
        common = _common(cells, columns)
        for model, pairs in models.items():
            if cells.get(model) is None:
                yield LeftOut(f"no grade of {model}", table.file, row)
                continue
            extra = {name: cells.get(column) for name, column in (pairs or {}).items()}
            yield ImportedRun(
                table.file,
                row,
                cells.get(columns["prompt"]),
                model,
                cells[model],
                model,
                **common | extra,
            )


def _common(cells: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    found = {name: cells.get(columns[name]) for name in _OTHERS if name in columns}
    for name in ("task", "split", "source"):
        if found.get(name) is not None:
            found[name] = str(found[name])
    prompt_id = cells.get(columns["prompt_id"])
    return {**found, "prompt_id": None if prompt_id is None else str(prompt_id)}


def _unused(table: Table, used: Any) -> Iterator[Note]:
    names = [name for name in table.columns if name not in set(used)]
    if names:
        yield Note(f"columns not used: {', '.join(names[:20])}")


def require_columns(table: Table, names: tuple[str, ...], what: str) -> None:
    """Refuse a table of another layout.

    Raises
    ------
    DataError
        If it lacks one of `names`.
    """
    for name in names:
        if name not in table.columns:
            raise missing_column(name, table, f"{what} has it; for other tables use 'csv'")
