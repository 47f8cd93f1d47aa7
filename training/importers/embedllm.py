"""The tables of EmbedLLM: one row for each question and model, with the label.

References
----------
Zhuang et al., EmbedLLM: Learning Compact Representations of Large Language Models, 2025,
arXiv:2410.02223; data at https://huggingface.co/datasets/RZ412/EmbedLLM.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from router.training.importers.column_tables import (
    IMPORTED_COLUMNS,
    long_rows,
    require_columns,
)
from router.training.importers.json_files import find_files
from router.training.importers.records import ImportOptions, Item
from router.training.importers.tables import open_table

__all__ = ["EMBEDLLM_COLUMNS", "import_embedllm"]

EMBEDLLM_COLUMNS = ("prompt_id", "model_id", "label", "prompt", "model_name")
"""Columns that every table of EmbedLLM has."""

_NAMES = {"model": "model_name", "quality": "label", "task": "category"}


def import_embedllm(source: Path, options: ImportOptions) -> Iterator[Item]:
    """Yield the graded answers of EmbedLLM tables.

    Parameters
    ----------
    source : Path
        A CSV or Parquet file such as ``train.csv``, or a folder of them.
    options : ImportOptions
        None of them concerns this format.

    Yields
    ------
    Item
        One answer a row.

    Raises
    ------
    DataError
        If a file is not of this layout.
    """
    columns = {name: _NAMES.get(name, name) for name in IMPORTED_COLUMNS}
    for path in find_files(source, "*.csv", "*.csv.gz", "*.parquet"):
        table = open_table(path)
        require_columns(table, EMBEDLLM_COLUMNS, "a table of EmbedLLM")
        yield from long_rows(table, columns, {"model": "model_name", "prompt_id": "prompt_id"})
