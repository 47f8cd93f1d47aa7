"""Result files of LLMRouterBench: ``bench/DATASET/SPLIT/MODEL/*.json``.

References
----------
LLMRouterBench: A Massive Benchmark and Unified Framework for LLM Routing,
arXiv:2601.07206; the layout is that of its ``data_collector/storage.py``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from router.errors import DataError
from router.training.importers.json_files import find_files, read_json, require
from router.training.importers.records import ImportedRun, ImportOptions, Item, LeftOut
from router.training.schema import Problem

__all__ = ["import_llmrouterbench", "is_result"]

_STAMP = re.compile(r"(\d{8})_(\d{6})\.json$")


def is_result(value: Any) -> bool:
    """Whether parsed JSON looks like a result file."""
    return isinstance(value, dict) and {"records", "model_name", "dataset_name"} <= value.keys()


def import_llmrouterbench(source: Path, options: ImportOptions) -> Iterator[Item]:
    """Yield the graded answers of result files.

    Parameters
    ----------
    source : Path
        A result file, or a folder of them. Of several files for one dataset, split and
        model the newest counts, by the time in its name.
    options : ImportOptions
        None of them concerns this format.

    Yields
    ------
    Item
        One answer a record; demo runs and records without a score are left out.

    Raises
    ------
    DataError
        If a file is not of this format.
    """
    newest: dict[tuple[str, str, str], Path] = {}
    found = find_files(source, "*.json")
    for path in sorted(found, key=_stamp):
        value = read_json(path)
        if not is_result(value):
            raise DataError(
                "is no result file of LLMRouterBench: it needs model_name, dataset_name and "
                "records",
                file=str(path),
            )
        n_records = len(require(value["records"], list, "records", str(path)))
        if value.get("demo"):
            yield LeftOut("a demo run", str(path), None, n_records)
            continue
        key = (str(value["dataset_name"]), str(value.get("split")), str(value["model_name"]))
        older = newest.get(key)
        newest[key] = path
        if older is not None:
            n_older = len(read_json(older)["records"])
            yield LeftOut("an older run of the same dataset and model", str(older), None, n_older)
    for (dataset, split, model), path in newest.items():
        yield from _records(path, dataset, split, model)


def _records(path: Path, dataset: str, split: str, model: str) -> Iterator[Item]:
    file = str(path)
    for row, record in enumerate(read_json(path)["records"], 1):
        if not isinstance(record, dict):
            yield Problem("bad record", "the record is not an object", file, row, "records")
        elif record.get("score") is None:
            yield LeftOut("the record has no score", file, row)
        else:
            counted = bool(record.get("prompt_tokens"))  # zero where the call failed
            yield ImportedRun(
                file,
                row,
                record.get("prompt") or record.get("origin_query"),
                model,
                record["score"],
                "score",
                prompt_id=f"{dataset}:{split}:{record.get('index', row)}",
                task=dataset,
                prompt_tokens=record.get("prompt_tokens") if counted else None,
                completion_tokens=record.get("completion_tokens") if counted else None,
                cost_usd=record.get("cost"),
            )


def _stamp(path: Path) -> tuple[str, str]:
    match = _STAMP.search(path.name)
    return ("".join(match.groups()) if match else "", str(path))
