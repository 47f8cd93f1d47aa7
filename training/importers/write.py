"""Writing evaluation runs: the file is complete and readable, or as it was before."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from router.errors import ConfigError
from router.training.ingest import load_runs
from router.training.schema import COLUMNS

__all__ = ["SUFFIXES", "check_out", "write_rows"]

SUFFIXES = (".parquet", ".jsonl", ".csv")
"""How the name of a file of runs may end."""


def check_out(out: Path, sources: Sequence[str], *, overwrite: bool = False) -> None:
    """Refuse a file that cannot or must not be written, before the work that leads to it.

    Raises
    ------
    ConfigError
        If the name has another ending, the file exists, is a folder or one of the sources,
        or its folder is missing.
    """
    if out.suffix not in SUFFIXES:
        raise ConfigError(f"--out {out}: the name must end in {', '.join(SUFFIXES)}")
    if out.is_dir():
        raise ConfigError(f"--out {out} is a folder: name a file in it")
    if any(Path(source).resolve() == out.resolve() for source in sources):
        raise ConfigError(f"--out {out} is one of the files to import")
    if out.exists() and not overwrite:
        raise ConfigError(f"--out {out} exists: name another file, or add --overwrite")
    if not out.parent.is_dir():
        raise ConfigError(f"--out {out}: there is no folder {out.parent}")


def write_rows(out: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write evaluation runs and read them back as training will.

    Parameters
    ----------
    out : Path
        File whose name ends in one of `SUFFIXES`.
    rows : sequence of mapping
        Columns of `router.training.schema.COLUMNS`, at least one row.

    Raises
    ------
    DataError
        If the rows are not what training reads.
    """
    columns = [name for name in COLUMNS if any(row.get(name) is not None for row in rows)]
    part = out.with_name(f".{out.stem}.part{out.suffix}")
    try:
        if out.suffix == ".parquet":
            _write_parquet(part, columns, rows)
        elif out.suffix == ".jsonl":
            with part.open("w", encoding="utf-8") as file:
                for row in rows:
                    present = {name: row[name] for name in columns if row.get(name) is not None}
                    file.write(json.dumps(present, ensure_ascii=False) + "\n")
        else:
            with part.open("w", encoding="utf-8", newline="") as file:
                table = csv.writer(file, lineterminator="\n")
                table.writerow(columns)
                table.writerows([row.get(name) for name in columns] for row in rows)
        load_runs(part)
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)


def _write_parquet(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {
        name: pa.array(
            [row.get(name) for row in rows],
            pa.float64() if COLUMNS[name].kind == "number" else pa.string(),
        )
        for name in columns
    }
    pq.write_table(pa.table(arrays), path, compression="zstd")
