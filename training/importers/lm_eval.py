"""Samples that lm-evaluation-harness logged: ``results_*.json`` and ``samples_*.jsonl``.

References
----------
https://github.com/EleutherAI/lm-evaluation-harness, ``--log_samples``; the layout is that of
its ``loggers/evaluation_tracker.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from router.errors import DataError
from router.training.importers.grades import is_number
from router.training.importers.json_files import find_files, json_lines, member, read_json
from router.training.importers.records import ImportedRun, ImportOptions, Item, LeftOut, Note
from router.training.schema import Problem

__all__ = ["import_lm_eval", "is_sample"]

_FIELDS = frozenset(
    {
        "arguments",
        "doc",
        "doc_hash",
        "doc_id",
        "filter",
        "filtered_resps",
        "metrics",
        "prompt_hash",
        "resps",
        "target",
        "target_hash",
    }
)
_ADVICE = (
    "The prompts of one document differ between models, as with --apply_chat_template: take a "
    "field of the document instead with --column prompt=FIELD"
)


@dataclass(frozen=True, slots=True)
class _Metric:
    """A grade by its name in the samples, and the filter that the answer went through."""

    name: str
    filter: str

    def __str__(self) -> str:
        return f"{self.name},{self.filter}"


def import_lm_eval(source: Path, options: ImportOptions) -> Iterator[Item]:
    """Yield the graded answers of logged samples.

    Parameters
    ----------
    source : Path
        A file of samples, or the output folder. Of several runs of one task in a folder the
        newest counts, by the time in the name of the file.
    options : ImportOptions
        `metric` is named as in the results: ``exact_match,strict-match``, or ``acc`` where
        there is one filter. `columns` may take the prompt from a field of the document.

    Yields
    ------
    Item
        One answer a sample.

    Raises
    ------
    DataError
        If a file is damaged, a metric is not there or not told, or the model is unknown.
    """
    newest: dict[tuple[Path, str], Path] = {}
    for path in sorted(find_files(source, "samples_*.jsonl"), key=lambda p: (_task(p)[1], str(p))):
        key = (path.parent, _task(path)[0])
        older = newest.get(key)
        newest[key] = path
        if older is not None:
            n_older = sum(1 for _ in json_lines(older))
            yield LeftOut("an older run of the same task and model", str(older), None, n_older)
    for (_, task), path in sorted(newest.items()):
        yield from _samples(path, task, options)


def is_sample(value: Mapping[str, Any]) -> bool:
    """Whether an object of JSON looks like a logged sample."""
    return {"doc_id", "doc", "arguments"} <= value.keys()


def _samples(path: Path, task: str, options: ImportOptions) -> Iterator[Item]:
    file = str(path)
    metric = _metric(path, task, options)
    model = _model(path, options)
    yield Note(f"{task}: the grade is {metric}")
    field = options.columns.get("prompt")
    for item in json_lines(path):
        if isinstance(item, Problem):
            yield item
            continue
        row, sample = item
        if not is_sample(sample):
            reason = "is no sample of lm-eval: it needs doc_id, doc and arguments"
            yield Problem("not a sample", reason, file, row)
        elif _filter(sample) != metric.filter:
            yield LeftOut(f"another filter than {metric.filter}", file, row)
        elif metric.name not in sample:
            yield Problem("missing", f"is missing: {_shown(sample)}", file, row, metric.name)
        else:
            try:
                prompt = _prompt(sample) if field is None else _doc_field(sample, field)
            except ValueError as error:
                yield Problem("not valid", str(error), file, row, field or "arguments")
                continue
            yield ImportedRun(
                file,
                row,
                prompt,
                model,
                sample[metric.name],
                str(metric),
                prompt_id=f"{task}:{sample['doc_id']}",
                task=task,
                advice=_ADVICE if field is None else "",
            )


def _task(path: Path) -> tuple[str, str]:
    """Return the task and the time in the name of a file of samples."""
    task, _, stamp = path.name.removesuffix(".jsonl").removeprefix("samples_").rpartition("_")
    return (task, stamp) if task else (stamp, "")


def _model(path: Path, options: ImportOptions) -> str:
    """Return the model that the results beside the samples name."""
    stamp = _task(path)[1]
    beside = sorted(path.parent.glob("results_*.json"))
    same = [other for other in beside if stamp and stamp in other.name]
    for other in same or beside[-1:]:
        results = read_json(other)
        name = member(results, "model_name") or member(results, "config", "model_name")
        if isinstance(name, str) and name:
            return name
        arguments = member(results, "config", "model_args")
        if isinstance(arguments, str):
            arguments = dict(part.partition("=")[::2] for part in arguments.split(","))
        for key in ("pretrained", "model", "path", "engine"):
            found = member(arguments, key)
            if isinstance(found, str) and found:
                return found
    if options.model_given:
        return ""
    raise DataError(
        "there is no results_*.json beside it that names the model: give --model NAME",
        file=str(path),
        field="model_name",
    )


def _metric(path: Path, task: str, options: ImportOptions) -> _Metric:
    """Return the grade to take, of those that the samples of a file have."""
    found: dict[tuple[str, str], None] = {}
    problem = "has no sample of lm-eval: it needs doc_id, doc and arguments"
    row: int | None = None
    n_samples = 0
    for item in json_lines(path):
        if isinstance(item, Problem):
            if row is None:
                problem, row = item.reason, item.row
            continue
        if not is_sample(item[1]):
            continue
        n_samples += 1
        sample = item[1]
        names = sample.get("metrics")
        if not isinstance(names, list):
            names = [name for name in sample if name not in _FIELDS]
        for name in names:
            if isinstance(name, str) and is_number(sample.get(name)):
                found[name, _filter(sample)] = None
    if not n_samples:
        raise DataError(problem, file=str(path), row=row)
    existing = [f"{name},{key}" for name, key in found]
    shown = ", ".join(existing) or "none that is a number"
    wanted = options.metric.of(task)
    if wanted is None:
        if len(found) == 1:
            return _Metric(*next(iter(found)))
        raise DataError(
            f"say which grade of {task!r} to take with --metric NAME; there are {shown}",
            file=str(path),
            field="metrics",
        )
    name, comma, key = wanted.partition(",")
    filters = [other for known, other in found if known == name]
    if (name, key) in found:
        return _Metric(name, key)
    if not comma and len(filters) == 1:
        return _Metric(name, filters[0])
    problem = "is there under several filters" if not comma and filters else "is not there"
    raise DataError(
        f"the grade {wanted!r} of {task!r} {problem}; there are {shown}",
        file=str(path),
        field="metrics",
    )


def _filter(sample: Mapping[str, Any]) -> str:
    return str(sample.get("filter", "none"))


def _prompt(sample: Mapping[str, Any]) -> Any:
    """Return what the model was given: the same for all requests of a sample."""
    arguments = sample["arguments"]
    requests = list(arguments.values()) if isinstance(arguments, dict) else arguments
    if not isinstance(requests, list) or not requests:
        raise ValueError("has no request")
    contexts = []
    for request in requests:
        parts = list(request.values()) if isinstance(request, dict) else request
        if not isinstance(parts, list) or not parts:
            raise ValueError("has a request without a prompt")
        contexts.append(parts[0])
    if any(context != contexts[0] for context in contexts):
        fields = ", ".join(sample["doc"]) if isinstance(sample["doc"], dict) else "none"
        raise ValueError(
            "differ between the options: take a field of the document with --column "
            f"prompt=FIELD; it has {fields}"
        )
    return _messages(contexts[0])


def _messages(context: Any) -> Any:
    """Return chat messages where an API model was given their JSON."""
    if isinstance(context, list) and len(context) == 1 and isinstance(context[0], str):
        context = context[0]
    if isinstance(context, str) and context.startswith("["):
        try:
            value = json.loads(context)
        except (ValueError, RecursionError):
            return context
        if isinstance(value, list) and all(isinstance(m, dict) and "role" in m for m in value):
            return [{k: v for k, v in m.items() if k != "type"} for m in value] or context
    return context


def _doc_field(sample: Mapping[str, Any], field: str) -> Any:
    doc = sample["doc"]
    if not isinstance(doc, dict) or doc.get(field) is None:
        fields = ", ".join(doc) if isinstance(doc, dict) else "none"
        raise ValueError(f"the document has no such field; it has {fields}")
    return doc[field]


def _shown(sample: Mapping[str, Any]) -> str:
    return f"the sample has {', '.join(name for name in sample if name not in _FIELDS) or 'none'}"
