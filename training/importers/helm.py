"""Run folders of HELM: run_spec.json, scenario_state.json and per_instance_stats.json.

References
----------
Liang et al., Holistic Evaluation of Language Models, 2023, arXiv:2211.09110;
https://github.com/stanford-crfm/helm, ``helm.benchmark.runner``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from router.errors import DataError
from router.training.importers.grades import is_number
from router.training.importers.json_files import find_files, member, read_json, require
from router.training.importers.records import ImportedRun, ImportOptions, Item, LeftOut, Note
from router.training.schema import Problem

__all__ = ["STATE", "import_helm"]

STATE = "scenario_state.json"
"""The file that marks a run folder."""

_STATS = "per_instance_stats.json"
_SPEC = "run_spec.json"
_NO_GRADES = ("num_", "max_", "inference_", "training_", "finish_reason_", "logprob", "batch_size")

_Key: TypeAlias = tuple[str, int]


def import_helm(source: Path, options: ImportOptions) -> Iterator[Item]:
    """Yield the graded answers of run folders.

    Parameters
    ----------
    source : Path
        A run folder, a folder of them such as ``benchmark_output/runs/SUITE``, or a
        ``scenario_state.json``.
    options : ImportOptions
        `metric` names the statistic, such as ``exact_match``.

    Yields
    ------
    Item
        One answer for each instance and trial. Perturbed copies, requests that failed and
        instances without the statistic are left out.

    Raises
    ------
    DataError
        If a file is missing or damaged, or the statistic is not there or not told.
    """
    for path in find_files(source, STATE):
        if path.name != STATE:
            raise DataError(
                f"is no run of HELM: give the folder that holds {STATE}", file=str(path)
            )
        yield from _run(path.parent, options)


def _run(folder: Path, options: ImportOptions) -> Iterator[Item]:
    file = str(folder / STATE)
    for name in (_STATS, _SPEC):
        if not (folder / name).is_file():
            raise DataError(f"the run has no {name}", file=str(folder))
    state, spec = read_json(folder / STATE), read_json(folder / _SPEC)
    task = _task(spec, str(folder / _SPEC))
    stats = _stats(folder / _STATS)
    metric = _metric(stats, options.metric.of(task), str(folder / _STATS))
    yield Note(f"{task}: the grade is {metric}")
    model = member(state, "adapter_spec", "model") or member(spec, "adapter_spec", "model")
    requests = require(member(state, "request_states"), list, "request_states", file)
    seen: set[_Key] = set()
    for row, request in enumerate(requests, 1):
        instance = member(request, "instance")
        name, trial = member(instance, "id"), member(request, "train_trial_index") or 0
        if not isinstance(name, str) or not isinstance(trial, int):
            yield Problem("not a request", "has no instance with an id", file, row)
            continue
        key = (name, trial)
        values = stats.get(key, {})
        if member(instance, "perturbation"):
            yield LeftOut("a perturbed copy of an instance", file, row)
        elif member(request, "request_mode") == "calibration":
            yield LeftOut("a request for calibration", file, row)
        elif key in seen:
            yield LeftOut("another request for the same instance", file, row)
        elif member(request, "result", "success") is False:
            yield LeftOut("the request failed", file, row)
        elif metric not in values:
            yield LeftOut(f"the instance has no {metric}", file, row)
        else:
            seen.add(key)
            yield ImportedRun(
                file,
                row,
                _prompt(request),
                str(member(request, "request", "model") or model or ""),
                values[metric],
                metric,
                prompt_id=f"{task}:{name}" + (f":{trial}" if trial else ""),
                task=task,
                split=member(instance, "split"),
                prompt_tokens=values.get("num_prompt_tokens"),
                completion_tokens=values.get(
                    "num_completion_tokens", values.get("num_output_tokens")
                ),
                latency_s=member(request, "result", "request_time"),
            )


def _task(spec: Any, file: str) -> str:
    """Return the scenario without the model."""
    name = str(require(member(spec, "name"), str, "name", file))
    scenario, colon, arguments = name.partition(":")
    kept = [
        part
        for part in arguments.split(",")
        if part and part.partition("=")[0] not in ("model", "model_deployment")
    ]
    return f"{scenario}{colon}{','.join(kept)}" if kept else scenario


def _stats(path: Path) -> dict[_Key, dict[str, float]]:
    """Return by instance and trial the means of the statistics, unperturbed."""
    file = str(path)
    found: dict[_Key, dict[str, float]] = {}
    for row, entry in enumerate(require(read_json(path), list, "(top level)", file), 1):
        name, trial = member(entry, "instance_id"), member(entry, "train_trial_index") or 0
        stats = member(entry, "stats")
        if not isinstance(name, str) or not isinstance(trial, int) or not isinstance(stats, list):
            raise DataError("is no statistic of an instance", file=file, row=row)
        if member(entry, "perturbation"):
            continue
        values = found.setdefault((name, trial), {})
        for stat in stats:
            metric, mean = member(stat, "name", "name"), member(stat, "mean")
            perturbed = member(stat, "name", "perturbation")
            if isinstance(metric, str) and is_number(mean) and not perturbed:
                values[metric] = mean
    return found


def _metric(stats: Mapping[_Key, Mapping[str, float]], wanted: str | None, file: str) -> str:
    names = dict.fromkeys(name for values in stats.values() for name in values)
    if wanted is not None and wanted in names:
        return wanted
    grades = [name for name in names if not name.startswith(_NO_GRADES)]
    if wanted is None and len(grades) == 1:
        return grades[0]
    problem = (
        "say which statistic is the grade with --metric NAME"
        if wanted is None
        else f"there is no statistic {wanted!r}"
    )
    raise DataError(f"{problem}; there are {', '.join(grades) or 'none'}", file=file, field="stats")


def _prompt(request: Any) -> Any:
    """Return what was sent; the input alone where each reference was sent with it."""
    if member(request, "reference_index") is not None:
        return member(request, "instance", "input", "text")
    return member(request, "request", "messages") or member(request, "request", "prompt")
