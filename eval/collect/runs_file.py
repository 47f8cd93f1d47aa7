"""The file of evaluation runs: what training takes, made of answers and grades."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from router.errors import ConfigError
from router.eval.collect.grades import GradingOutcome
from router.eval.suites import SuitePrompt

__all__ = ["RUNS_NAMES", "check_out", "run_rows", "write_runs"]

RUNS_NAMES = {"jsonl": "runs.jsonl", "parquet": "runs.parquet"}
"""Name of the file of runs, by format."""

_SOURCE = "wattroute-collect"


def run_rows(
    outcome: GradingOutcome, prompts: Sequence[SuitePrompt], models: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Yield one row for each graded answer, prompt after prompt.

    Only measured energy goes into ``energy_j``; estimates stay with the answers.

    Parameters
    ----------
    outcome : GradingOutcome
        Answers and grades.
    prompts : sequence of SuitePrompt
        In the order of the rows.
    models : sequence of str
        In the order of the rows of one prompt.

    Yields
    ------
    dict
        Columns of :data:`router.training.schema.COLUMNS`; unknown ones are left out.
    """
    for prompt in prompts:
        for model in models:
            grade = outcome.grades.get((model, prompt.key))
            answer = outcome.answers.get((model, prompt.key))
            if grade is None or answer is None:
                continue
            measured = (answer.energy_basis or "").startswith("measured")
            split = prompt.metadata.get("split")
            row = {
                "prompt": prompt.prompt,
                "model": model,
                "quality": grade.quality,
                "prompt_id": prompt.prompt_id,
                "prompt_tokens": answer.prompt_tokens,
                "completion_tokens": answer.completion_tokens,
                "energy_j": answer.energy_j if measured else None,
                "task": prompt.task or None,
                "source": _SOURCE,
                "split": split if isinstance(split, str) and split else None,
                "latency_s": answer.latency_s,
            }
            yield {key: value for key, value in row.items() if value is not None}


def check_out(out: Path, form: Literal["jsonl", "parquet"]) -> None:
    """Refuse a folder in which the runs would overwrite a file or be read twice.

    Parameters
    ----------
    out : Path
        Folder for the runs.
    form : {"jsonl", "parquet"}
        Format of the file to write.

    Raises
    ------
    ConfigError
        If there is a file of the other format, or one of this name that no collection made.
    """
    for other, name in RUNS_NAMES.items():
        if other != form and (out / name).exists():
            raise ConfigError(
                f"{out / name} is there: training would read its runs twice. Use --format {other}, "
                "or move it away"
            )
    if (out / RUNS_NAMES[form]).exists() and not (out / "collect").exists():
        raise ConfigError(
            f"{out / RUNS_NAMES[form]} was not made by collect and would be overwritten: use "
            "another --out"
        )


def write_runs(
    out: Path, rows: Sequence[Mapping[str, Any]], form: Literal["jsonl", "parquet"]
) -> Path:
    """Write evaluation runs; the file is complete or as it was before.

    Parameters
    ----------
    out : Path
        Folder.
    rows : sequence of mapping
        As `run_rows` yields them.
    form : {"jsonl", "parquet"}
        Format.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ConfigError
        If there are no rows.
    """
    if not rows:
        raise ConfigError("no answer has a grade: there are no runs to write")
    path = out / RUNS_NAMES[form]
    part = path.with_name(f"{path.name}.part")
    if form == "jsonl":
        with part.open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())
    else:
        _write_parquet(part, rows)
    part.replace(path)
    return path


def _write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = ("prompt", "model", "prompt_id", "task", "source", "split")
    numbers = ("quality", "prompt_tokens", "completion_tokens", "energy_j", "latency_s")
    columns = {}
    for name in (*texts, *numbers):
        cells = [row.get(name) for row in rows]
        if name == "prompt":
            cells = [c if isinstance(c, str) else json.dumps(c, ensure_ascii=False) for c in cells]
        if any(cell is not None for cell in cells):
            columns[name] = pa.array(cells, pa.string() if name in texts else pa.float64())
    pq.write_table(pa.table(columns), path)
