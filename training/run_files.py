"""Reading evaluation runs from files and folders, a piece at a time."""

from __future__ import annotations

import csv
import os
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from router.training.log_rows import is_decision_log, raw_log_rows, read_log
from router.training.parquet_rows import raw_parquet_rows, read_parquet
from router.training.run_cells import Chunk
from router.training.schema import Problem
from router.training.text_rows import raw_csv_rows, raw_jsonl_rows, read_csv, read_jsonl

__all__ = ["Paths", "expand_paths", "is_run_name", "raw_rows", "read_chunks"]

Paths: TypeAlias = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
"""One file or folder, or several."""

_RawReader: TypeAlias = Callable[[Path, Collection[int]], dict[int, Any]]
_TEXT_SUFFIXES = (".jsonl", ".ndjson", ".csv")
_SUFFIXES = (".parquet", *_TEXT_SUFFIXES, *(suffix + ".gz" for suffix in _TEXT_SUFFIXES))


def expand_paths(paths: Paths) -> tuple[list[Path], list[Problem]]:
    """Return the files that `paths` name, and what is wrong with `paths`.

    Parameters
    ----------
    paths : path or iterable of path
        Files, or folders of which every file with a known suffix is taken, hidden ones and
        sub-folders left aside.

    Returns
    -------
    files : list of Path
        Each file once, in the order given; those of a folder by name.
    problems : list of Problem
        Paths that do not exist or hold no runs.
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    files: dict[Path, Path] = {}
    problems = []
    for path in map(Path, given):
        reason = None
        if path.is_dir():
            found = [file for file in sorted(path.iterdir()) if _is_run_file(file)]
            if not found:
                reason = f"the folder has no file that ends in {', '.join(_SUFFIXES)}"
        else:
            found = [path]
            if not path.exists():
                reason = "there is no such file or folder"
            elif not is_run_name(path):
                reason = f"the name must end in {', '.join(_SUFFIXES)}"
        if reason:
            problems.append(Problem("not readable", reason, str(path)))
        else:
            for file in found:
                files.setdefault(file.resolve(), file)
    if not given:
        problems.append(Problem("no files", "no file or folder was given", "evaluation runs"))
    return list(files.values()), problems


def is_run_name(path: Path) -> bool:
    """Return whether the name of a file ends as those of evaluation runs do.

    Parameters
    ----------
    path : Path
        The file; it need not exist.
    """
    return path.name.lower().endswith(_SUFFIXES)


def read_chunks(path: Path) -> Iterator[Chunk]:
    """Read one file.

    Parameters
    ----------
    path : Path
        A file with a known suffix.

    Yields
    ------
    Chunk
        Rows in the order of the file. What is wrong with a row's form or with the whole
        file comes as problems of a chunk; nothing is raised.
    """
    file = str(path)
    read, _ = _readers(path)
    empty = True
    try:
        for chunk in read(path):
            empty = empty and not len(chunk.rows) and not chunk.problems
            yield chunk
    except UnicodeDecodeError as error:
        yield _broken(file, f"the file is not UTF-8: {error.reason} at byte {error.start:,}")
    except (OSError, EOFError, zlib.error, csv.Error, pa.ArrowException) as error:
        detail = " ".join(str(error).split())[:200]
        yield _broken(file, f"the file is broken or truncated: {detail}")
    else:
        if empty:
            yield _broken(file, "the file has no rows", "empty file")


def raw_rows(path: Path, wanted: Collection[int]) -> dict[int, Any]:
    """Return rows as they are in the file, for setting them aside.

    Parameters
    ----------
    path : Path
        A file that could be read.
    wanted : collection of int
        Row numbers, as in `Chunk.rows`.

    Returns
    -------
    dict of int to object
        What JSON can hold best of each row: an object with the row's fields, or the text
        of the line where it has none.
    """
    _, read_raw = _readers(path)
    return read_raw(path, set(wanted))


def _readers(path: Path) -> tuple[Callable[[Path], Iterator[Chunk]], _RawReader]:
    name = path.name.lower()
    if name.endswith(".parquet"):
        return read_parquet, raw_parquet_rows
    if name.endswith((".csv", ".csv.gz")):
        return read_csv, raw_csv_rows
    if is_decision_log(path):
        return read_log, raw_log_rows
    return read_jsonl, raw_jsonl_rows


def _is_run_file(path: Path) -> bool:
    return path.is_file() and is_run_name(path) and not path.name.startswith(".")


def _broken(file: str, reason: str, kind: str = "broken file") -> Chunk:
    return Chunk(np.empty(0, np.int64), {}, [Problem(kind, reason, file)])
