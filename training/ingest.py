"""Loading evaluation runs from files: read, check, de-duplicate, report."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from router.errors import ConfigError
from router.training.run_cells import Chunk
from router.training.run_files import Paths, expand_paths, raw_rows, read_chunks
from router.training.run_table import CheckedRuns, RunTable
from router.training.runs import Runs, runs_digest, to_matrix
from router.training.schema import COLUMNS, Problem, RunsError, check_columns

__all__ = ["Runs", "load_runs", "runs_from_frame", "to_matrix"]

_SET_ASIDE = Path(".wattroute", "set_aside.jsonl")


def load_runs(
    paths: Paths,
    *,
    on_bad: Literal["error", "skip"] = "error",
    set_aside: str | os.PathLike[str] | None = None,
) -> Runs:
    r"""Load evaluation runs from Parquet, JSONL and CSV files and check them.

    Parameters
    ----------
    paths : path or iterable of path
        Files whose names end in .parquet, .jsonl, .ndjson or .csv, the latter three also
        with .gz, or folders of them. Their columns are those of
        `router.training.schema.COLUMNS`; prompt, model and quality are required.
    on_bad : {"error", "skip"}
        What to do if rows are bad: raise, or set them aside and go on. Of rows that
        contradict each other all are bad. Files that cannot be read, or whose columns are
        wrong, raise in any case.
    set_aside : path, optional
        File for the rows set aside, one JSON object a line with file, row, field, reason
        and the raw row; by default ``.wattroute/set_aside.jsonl`` in the working folder.

    Returns
    -------
    Runs
        The good rows, each (prompt id, model) once. The same prompt and model under two
        prompt ids is two answers.

    Raises
    ------
    RunsError
        With all problems of all files at once, if there are any and `on_bad` does not set
        them aside, or if no good row is left. It is a `DataError`.
    ConfigError
        If `on_bad` is neither of the two, or `set_aside` is one of the files to read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "runs.csv")
    ...     _ = path.write_text("prompt,model,quality\nWhy?,small,0\nWhy?,large,1\n")
    ...     load_runs(path).to_matrix().quality
    array([[1., 0.]])
    """
    if on_bad not in ("error", "skip"):
        raise ConfigError(f"on_bad must be 'error' or 'skip', not {on_bad!r}")
    target = Path(set_aside or _SET_ASIDE)
    files, problems = expand_paths(paths)
    if on_bad == "skip" and target.resolve() in [path.resolve() for path in files]:
        raise ConfigError(f"set_aside must not be a file of runs to read: {target}")
    table = RunTable()
    for path in files:
        for chunk in read_chunks(path):
            table.add(str(path), chunk)
    checked = table.finish()
    problems.extend(checked.problems)
    if problems and (on_bad == "error" or any(problem.row is None for problem in problems)):
        raise RunsError(problems)
    names = tuple(map(str, files))
    if not problems:
        return _runs(checked, names)
    n_set_aside = _write_set_aside(target, files, problems)
    logging.getLogger(__name__).warning(
        "set %d of %d rows aside in %s", n_set_aside, checked.n_read, target
    )
    if checked.frame.empty:
        raise RunsError(problems)
    return _runs(checked, names, problems, n_set_aside, target)


def runs_from_frame(frame: pd.DataFrame, *, name: str = "table") -> Runs:
    """Check evaluation runs that are in memory.

    Parameters
    ----------
    frame : DataFrame
        Columns as for `load_runs`; the index is ignored.
    name : str
        What messages call it.

    Returns
    -------
    Runs
        The rows, each (prompt id, model) once.

    Raises
    ------
    RunsError
        If anything is wrong with the table.
    """
    table = RunTable()
    names = [str(column) for column in frame.columns]
    columns: dict[str, list[Any]] = {
        column: [None if _is_missing(value) else value for value in frame[column]]
        for column in COLUMNS
        if names.count(column) == 1
    }
    problems = check_columns(names, name)
    if frame.empty:
        problems.append(Problem("empty file", "the table has no rows", name))
    table.add(name, Chunk(np.arange(1, len(frame) + 1), columns, problems))
    checked = table.finish()
    if checked.problems:
        raise RunsError(checked.problems)
    return _runs(checked, (name,))


def _is_missing(value: Any) -> bool:
    return value is pd.NA or (isinstance(value, float) and value != value)


def _runs(
    checked: CheckedRuns,
    files: tuple[str, ...],
    problems: Sequence[Problem] = (),
    n_set_aside: int = 0,
    set_aside: Path | None = None,
) -> Runs:
    return Runs(
        frame=checked.frame,
        digest=runs_digest(checked.frame, checked.embeddings),
        files=files,
        n_read=checked.n_read,
        n_repeated=checked.n_repeated,
        problems=tuple(problems),
        n_set_aside=n_set_aside,
        set_aside=set_aside,
        embeddings=checked.embeddings,
    )


def _write_set_aside(target: Path, files: Sequence[Path], problems: Sequence[Problem]) -> int:
    """Write every bad row once, with its first problem first, and return their number."""
    n_rows = 0
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{target.name}.part")
    with part.open("w", encoding="utf-8") as out:
        for path in files:
            of_row = {
                row: list(found)
                for row, found in groupby(
                    (p for p in problems if p.file == str(path)), key=lambda p: p.row or 0
                )
            }
            for row, raw in raw_rows(path, list(of_row)).items() if of_row else ():
                first, *others = of_row[row]
                line = {
                    "file": first.file,
                    "row": row,
                    "field": first.field,
                    "reason": first.reason,
                    "also": [{"field": p.field, "reason": p.reason} for p in others],
                    "raw": raw,
                }
                out.write(json.dumps(line, default=str) + "\n")
                n_rows += 1
    part.replace(target)
    return n_rows
