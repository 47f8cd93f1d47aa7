"""What MLflow keeps of evaluations: tables of graded rows, and traces with assessments.

References
----------
https://mlflow.org/docs/latest: ``mlflow.models.evaluate`` logs ``eval_results_table.json``;
``mlflow.genai.evaluate`` (MLflow 3) attaches assessments to the traces of its run.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from router.errors import DataError
from router.training.importers.column_tables import IMPORTED_COLUMNS, long_rows
from router.training.importers.grades import is_number
from router.training.importers.json_files import find_files
from router.training.importers.records import ImportedRun, ImportOptions, Item, LeftOut, Note
from router.training.importers.tables import Table, missing_column, open_table
from router.training.schema import Problem

__all__ = ["RUN", "TABLE", "import_mlflow"]

TABLE = "*eval_results_table.json"
"""Names of the tables that ``mlflow.models.evaluate`` logs."""

RUN = "run:"
"""How the source begins that names a run in a tracking store."""

_PROMPTS = ("inputs", "prompt", "question", "input", "request", "messages", "query")
_SCORE = "/score"
_WORDS = {"yes": True, "no": False, "true": True, "false": False}
_ALSO = {"completion_tokens": "token_count", "latency_s": "latency"}


def import_mlflow(source: Path, options: ImportOptions) -> Iterator[Item]:
    """Yield the graded answers of MLflow evaluations.

    Parameters
    ----------
    source : Path
        An ``eval_results_table.json``, a folder with such files, or ``run:RUN_ID`` for a run
        in `options.tracking_uri`.
    options : ImportOptions
        `metric` names the grade: ``exact_match`` or ``exact_match/v1`` stands for the column
        ``exact_match/v1/score``; of traces, the assessment. `columns` names the others.

    Yields
    ------
    Item
        One answer a row or trace.

    Raises
    ------
    DataError
        If there is no such run or table, or the grade is not there or not told.
    """
    text = str(source)
    if text.startswith(RUN):
        yield from _of_run(text.removeprefix(RUN), options)
        return
    for path in find_files(source, TABLE):
        yield from _table(open_table(path), options, "")


def _table(table: Table, options: ImportOptions, model: str) -> Iterator[Item]:
    columns = {name: _ALSO.get(name, name) for name in IMPORTED_COLUMNS} | dict(options.columns)
    if "source" not in options.columns:
        del columns["source"]  # here it is a document that was retrieved, if it is there
    if "prompt" not in options.columns:
        found = [name for name in _PROMPTS if name in table.columns]
        if not found:
            raise missing_column("inputs", table, "say which it is with --column prompt=NAME")
        columns["prompt"] = found[0]
    if "quality" not in options.columns:
        columns["quality"] = _score_column(table, options.metric.of(None))
    yield Note(f"the grade is {columns['quality']}")
    given = {**options.columns, "prompt": columns["prompt"], "quality": columns["quality"]}
    has_model = columns["model"] in table.columns
    known = options.model_given or bool(model)
    for item in long_rows(table, columns, given, model_given=known and not has_model):
        if isinstance(item, ImportedRun):
            item = replace(item, prompt=_prompt(item.prompt), model=item.model or model)
        yield item


def _score_column(table: Table, wanted: str | None) -> str:
    scores = [name for name in table.columns if name.endswith(_SCORE)]
    if wanted is None:
        if len(scores) == 1:
            return scores[0]
        problem = "say which grade to take with --metric NAME"
    else:
        matching = [n for n in scores if n == wanted or n.startswith(f"{wanted}/")]
        if wanted in table.columns:
            return wanted
        if len(matching) == 1:
            return matching[0]
        problem = f"there is no grade {wanted!r}" if not matching else f"{wanted!r} is ambiguous"
    shown = ", ".join(scores) or f"none; the columns are {', '.join(table.columns)}"
    raise DataError(f"{problem}; there are {shown}", file=table.file)


def _of_run(run_id: str, options: ImportOptions) -> Iterator[Item]:
    """Yield what a run in a tracking store holds: its tables, else its traces."""
    import mlflow
    from mlflow.exceptions import MlflowException

    where = f"{RUN}{run_id}"
    try:
        client = mlflow.MlflowClient(options.tracking_uri)
        run = client.get_run(run_id)
        names = [item.path for item in client.list_artifacts(run_id)]
        tables = [name for name in names if name.endswith(TABLE.removeprefix("*"))]
        model = _run_model(run.data.params)
        for name in tables:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(client.download_artifacts(run_id, name, folder))
                table = open_table(path)
                named = Table(f"{where}/{name}", table.columns, table.rows)
                yield from _table(named, options, model)
        if tables:
            return
        traces = _traces(client, run.info.experiment_id, run_id)
    except MlflowException as error:
        detail = " ".join(str(error).split())[:300]
        raise DataError(f"MLflow cannot give the run: {detail}", file=where) from error
    if not traces:
        raise DataError(
            f"the run has neither a table {TABLE} nor traces with assessments", file=where
        )
    yield from _graded_traces(traces, where, model, options)


def _run_model(params: Mapping[str, str]) -> str:
    """Return the model that a run's parameters name."""
    return next((params[name] for name in ("model", "model_name") if params.get(name)), "")


def _traces(client: Any, experiment_id: str, run_id: str) -> list[Any]:
    found: list[Any] = []
    token = None
    # earlier releases call it experiment_ids
    known = inspect.signature(client.search_traces).parameters
    where = {"locations" if "locations" in known else "experiment_ids": [experiment_id]}
    while True:
        page = client.search_traces(run_id=run_id, page_token=token, include_spans=True, **where)
        found.extend(page)
        token = page.token
        if not token:
            return sorted(found, key=lambda trace: (trace.info.request_time, trace.info.trace_id))


def _graded_traces(
    traces: list[Any], where: str, model: str, options: ImportOptions
) -> Iterator[Item]:
    graded = [(trace, _feedback(trace)) for trace in traces]
    names = sorted({name for _, grades in graded for name in grades})
    wanted = options.metric.of(None)
    if wanted is None and len(names) == 1:
        wanted = names[0]
    if wanted is None or wanted not in names:
        problem = (
            "say which grade to take with --metric NAME"
            if wanted is None
            else f"there is no grade {wanted!r}"
        )
        raise DataError(f"{problem}; there are {', '.join(names) or 'none'}", file=where)
    yield Note(f"the grade is {wanted}")
    for row, (trace, grades) in enumerate(graded, 1):
        if wanted not in grades:
            yield LeftOut(f"the trace has no {wanted}", where, row)
            continue
        try:
            prompt = _prompt(_inputs(trace), options.columns.get("prompt"))
        except ValueError as error:
            yield Problem("not valid", str(error), where, row, "inputs")
            continue
        usage = getattr(trace.info, "token_usage", None) or {}
        duration_ms = trace.info.execution_duration
        yield ImportedRun(
            where,
            row,
            prompt,
            model,
            grades[wanted],
            wanted,
            prompt_tokens=usage.get("input_tokens"),
            completion_tokens=usage.get("output_tokens"),
            latency_s=duration_ms / 1_000 if usage and duration_ms else None,
        )


def _feedback(trace: Any) -> dict[str, Any]:
    """Return the grades among a trace's assessments; of several the newest."""
    found: dict[str, Any] = {}
    assessments = [a for a in trace.info.assessments or () if getattr(a, "feedback", None)]
    for assessment in sorted(assessments, key=lambda a: a.last_update_time_ms or 0):
        value = assessment.feedback.value
        if isinstance(value, str):
            value = _WORDS.get(value.strip().lower())
        if is_number(value) and assessment.valid is not False:
            found[str(assessment.name)] = value
    return found


def _inputs(trace: Any) -> Any:
    """Return the inputs of the first call of a trace."""
    roots = [span for span in trace.data.spans if span.parent_id is None]
    if not roots:
        raise ValueError("the trace has no spans with its inputs")
    return roots[0].inputs


def _prompt(value: Any, field: str | None = None) -> Any:
    """Return the prompt in the inputs: text, messages, or an object that holds one of them."""
    if not isinstance(value, dict):
        return value
    if field is not None:
        if value.get(field) is None:
            raise ValueError(f"have no {field!r}; they have {', '.join(value)}")
        return value[field]
    for name in ("messages", *_PROMPTS):
        if name in value:
            return value[name]
    if len(value) == 1:
        return next(iter(value.values()))
    raise ValueError(
        f"have several fields: say which is the prompt with --column prompt=NAME; they have "
        f"{', '.join(value)}"
    )
