"""The correctness tables of the RouteLLM release: a strong and a weak model on each prompt.

References
----------
Ong et al., RouteLLM: Learning to Route LLMs with Preference Data, 2024, arXiv:2406.18665;
tables in ``routellm/evals/mmlu/responses`` and ``routellm/evals/gsm8k`` of its repository.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from router.errors import DataError
from router.training.importers.column_tables import IMPORTED_COLUMNS, wide_rows
from router.training.importers.json_files import find_files
from router.training.importers.records import ImportedRun, ImportOptions, Item
from router.training.importers.tables import Table, missing_column, open_table

__all__ = ["import_routellm", "model_columns"]

_ANSWER = "_response"


def model_columns(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the columns of grades: all but the prompt and the answers."""
    return tuple(n for n in names if n and n != "prompt" and not n.endswith(_ANSWER))


def import_routellm(source: Path, options: ImportOptions) -> Iterator[Item]:
    """Yield the graded answers of RouteLLM's tables.

    Parameters
    ----------
    source : Path
        A CSV file such as ``mmlu_anatomy.csv`` or ``gsm8k_responses.csv``, or a folder of
        them.
    options : ImportOptions
        None of them concerns this format.

    Yields
    ------
    Item
        One answer for each model of a row. The task is the name of the file.

    Raises
    ------
    DataError
        If a file is not of this layout.
    """
    columns = {name: name for name in IMPORTED_COLUMNS}
    for path in find_files(source, "*.csv"):
        table = open_table(path)
        models = model_columns(table.columns)
        if "prompt" not in table.columns:
            raise missing_column("prompt", table, "a table of RouteLLM has it")
        if len(models) != 2:
            raise DataError(
                f"a table of RouteLLM has prompt and the correctness of two models, this one has "
                f"{len(models)} such columns; for other tables use 'csv' with --wide",
                file=str(path),
            )
        task = path.stem.removesuffix("_responses")
        answers = tuple(f"{model}{_ANSWER}" for model in models)
        yield from _with_task(table, columns, models, answers, task)


def _with_task(
    table: Table,
    columns: dict[str, str],
    models: tuple[str, ...],
    answers: tuple[str, ...],
    task: str,
) -> Iterator[Item]:
    for item in wide_rows(table, columns, {}, dict.fromkeys(models), answers):
        yield replace(item, task=task) if isinstance(item, ImportedRun) else item
