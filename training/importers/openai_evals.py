"""Event logs of OpenAI evals: one JSON event a line.

References
----------
https://github.com/openai/evals; the layout is that of its ``evals/record.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from router.errors import DataError
from router.training.importers.grades import is_number
from router.training.importers.json_files import find_files, json_lines, member
from router.training.importers.records import ImportedRun, ImportOptions, Item, LeftOut, Note
from router.training.schema import Problem

__all__ = ["import_openai_evals"]

_MATCH = "match"


@dataclass(slots=True)
class _Sample:
    """The events of one sample."""

    row: int
    prompt: Any = None
    usage: Any = None
    sampled: bool = False
    failed: bool = False
    grades: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)

    def add(self, row: int, kind: Any, data: Any) -> None:
        if kind == "sampling" and not self.sampled:
            # The first is the model's; a grader that is a model is asked afterwards.
            self.sampled, self.row = True, row
            self.prompt, self.usage = member(data, "prompt"), member(data, "usage")
        elif kind == "error":
            self.failed = True
        elif kind == _MATCH:
            self.grades.setdefault(_MATCH, []).append((row, member(data, "correct")))
        elif kind == "metrics" and isinstance(data, dict):
            for name, value in data.items():
                if is_number(value):
                    self.grades.setdefault(str(name), []).append((row, value))


def import_openai_evals(source: Path, options: ImportOptions) -> Iterator[Item]:
    """Yield the graded answers of event logs.

    Parameters
    ----------
    source : Path
        A log, or a folder of them.
    options : ImportOptions
        `metric` is ``match`` for the match events, or the name of a number of the metrics
        events.

    Yields
    ------
    Item
        One answer a sample; samples that failed, or have no prompt or no grade, are left
        out.

    Raises
    ------
    DataError
        If a log is damaged, has no ``spec`` line or the grade is not told.
    """
    for path in find_files(source, "*.jsonl", "*.jsonl.gz"):
        yield from _log(path, options)


def _log(path: Path, options: ImportOptions) -> Iterator[Item]:
    file = str(path)
    spec: dict[str, Any] | None = None
    samples: dict[str, _Sample] = {}
    for item in json_lines(path):
        if isinstance(item, Problem):
            yield item
            continue
        row, event = item
        if isinstance(event.get("spec"), dict):
            if spec is not None:
                raise DataError("has a second spec: two runs in one file", file=file, row=row)
            spec = event["spec"]
        elif event.get("sample_id") is not None and "type" in event:
            name = str(event["sample_id"])
            samples.setdefault(name, _Sample(row)).add(row, event["type"], event.get("data"))
        elif "final_report" not in event:
            reason = "is no event: it needs type and sample_id"
            yield Problem("not an event", reason, file, row)
    if spec is None:
        raise DataError("has no line 'spec': not a log of OpenAI evals", file=file)
    task = str(spec.get("base_eval") or spec.get("eval_name") or "") or None
    metric = _metric(samples, file, options.metric.of(task))
    if metric is not None:
        yield Note(f"{task}: the grade is {metric}")
    model = _model(spec, file, options)
    for name, sample in samples.items():
        yield _answer(name, sample, metric, file, model, task)


def _answer(
    name: str, sample: _Sample, metric: str | None, file: str, model: str, task: str | None
) -> Item:
    grades = sample.grades.get(metric, []) if metric is not None else []
    if not grades:
        reason = "the sample ended in an error" if sample.failed else "the sample has no grade"
        return LeftOut(reason, file, sample.row)
    if not sample.sampled:
        return LeftOut("the sample has no sampling event with its prompt", file, sample.row)
    if len({repr(value) for _, value in grades}) > 1:
        reason = f"sample {name!r} has {len(grades)} different grades"
        return Problem("two grades of one answer", reason, file, grades[1][0], metric)
    return ImportedRun(
        file,
        grades[0][0],
        sample.prompt,
        model,
        grades[0][1],
        metric or "",
        prompt_id=name,
        task=task,
        prompt_tokens=member(sample.usage, "prompt_tokens"),
        completion_tokens=member(sample.usage, "completion_tokens"),
    )


def _metric(samples: dict[str, _Sample], file: str, wanted: str | None) -> str | None:
    """Return the grade to take; None if no sample has one."""
    found = list(dict.fromkeys(name for sample in samples.values() for name in sample.grades))
    if wanted is not None and wanted in found:
        return wanted
    if wanted is None and len(found) <= 1:
        return found[0] if found else None
    problem = (
        "say which grade to take with --metric NAME"
        if wanted is None
        else f"there is no grade {wanted!r}"
    )
    raise DataError(f"{problem}; there are {', '.join(found) or 'none'}", file=file, field="type")


def _model(spec: dict[str, Any], file: str, options: ImportOptions) -> str:
    named = spec.get("completion_fns")
    names = named if isinstance(named, list) else member(spec, "model_names", "completions")
    found = names if isinstance(names, list) else [spec.get("model_name")]
    if len(found) > 1 and not options.model_given:
        raise DataError(
            f"the run has {len(found)} models and does not say which answered: give --model NAME",
            file=file,
            field="completion_fns",
        )
    if isinstance(found[0] if found else None, str):
        return str(found[0])
    if options.model_given:
        return ""
    raise DataError("does not name the model: give --model NAME", file=file, field="completion_fns")
