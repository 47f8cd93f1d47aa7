"""The formats that can be imported, and how to tell them apart."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from router.errors import DataError
from router.training.importers.column_tables import import_table
from router.training.importers.embedllm import EMBEDLLM_COLUMNS, import_embedllm
from router.training.importers.helm import STATE, import_helm
from router.training.importers.inspect_logs import import_inspect
from router.training.importers.json_files import json_lines, read_json
from router.training.importers.llmrouterbench import import_llmrouterbench, is_result
from router.training.importers.lm_eval import import_lm_eval, is_sample
from router.training.importers.mlflow_tables import RUN, TABLE, import_mlflow
from router.training.importers.openai_evals import import_openai_evals
from router.training.importers.records import Importer
from router.training.importers.routellm import import_routellm, model_columns
from router.training.importers.routerbench import COST, import_routerbench, is_pickle
from router.training.importers.tables import SUFFIXES, open_table
from router.training.schema import Problem

__all__ = ["FORMATS", "Format", "detect"]

_LOOKED_AT = 50


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    Attributes
    ----------
    name : str
        What the command calls it.
    what : str
        What it is, in a few words.
    read : Importer
        Reads one source.
    takes : frozenset of str
        Which of metric, column, wide and tracking_uri it takes.
    """

    name: str
    what: str
    read: Importer
    takes: frozenset[str] = frozenset()


FORMATS: dict[str, Format] = {
    found.name: found
    for found in (
        Format(
            "csv",
            "any CSV, JSONL, JSON or Parquet table",
            import_table,
            frozenset({"column", "wide"}),
        ),
        Format("embedllm", "tables of EmbedLLM", import_embedllm),
        Format("helm", "run folders of HELM", import_helm, frozenset({"metric"})),
        Format(
            "inspect",
            "logs of Inspect, .eval or .json",
            import_inspect,
            frozenset({"metric", "column"}),
        ),
        Format("llmrouterbench", "result files of LLMRouterBench", import_llmrouterbench),
        Format(
            "lm-eval",
            "samples of lm-evaluation-harness",
            import_lm_eval,
            frozenset({"metric", "column"}),
        ),
        Format(
            "mlflow",
            "evaluation tables or runs of MLflow",
            import_mlflow,
            frozenset({"metric", "column", "tracking_uri"}),
        ),
        Format(
            "openai-evals", "event logs of OpenAI evals", import_openai_evals, frozenset({"metric"})
        ),
        Format("routellm", "correctness tables of RouteLLM", import_routellm),
        Format(
            "routerbench",
            "tables of RouterBench, pickled or not",
            import_routerbench,
            frozenset({"wide"}),
        ),
    )
}
"""Every format by its name."""


def detect(source: Path) -> str:
    """Return the format of a source by its names and the beginning of its files.

    Parameters
    ----------
    source : Path
        A file or folder, or ``run:RUN_ID``.

    Raises
    ------
    DataError
        If it is none of `FORMATS`, or could be several.
    """
    if str(source).startswith(RUN):
        return "mlflow"
    if source.is_file():
        found = {_of_file(source)}
    elif source.is_dir():
        files = (p for p in sorted(source.rglob("*")) if p.is_file() and not _hidden(p, source))
        found = _of_names(source) or {_of_file(path) for path in islice(files, _LOOKED_AT)}
    else:
        raise DataError("there is no such file or folder", file=str(source))
    known = sorted(name for name in found if name is not None)
    if len(known) == 1:
        return known[0]
    problem = f"could be {' or '.join(known)}" if known else "is of no format that is known"
    raise DataError(
        f"{problem}: say which it is, as in `wattroute import {known[0] if known else 'csv'} "
        f"{source.name}`; there are {', '.join(FORMATS)}",
        file=str(source),
    )


def _of_names(folder: Path) -> set[str | None]:
    """Return the formats that have files of their own names in a folder."""
    signs = {"lm-eval": "samples_*.jsonl", "helm": STATE, "mlflow": TABLE, "inspect": "*.eval"}
    return {name for name, sign in signs.items() if next(folder.rglob(sign), None) is not None}


def _of_file(path: Path) -> str | None:
    name = path.name.lower()
    if name.endswith(".eval"):
        return "inspect"
    if path.match(TABLE):
        return "mlflow"
    if path.name == STATE:
        return "helm"
    if is_pickle(path):
        return "routerbench"
    try:
        if name.endswith((".jsonl", ".ndjson", ".jsonl.gz")):
            return _of_lines(path)
        if name.endswith(".json"):
            return _of_json(read_json(path))
        if name.endswith(SUFFIXES):
            return _of_columns(open_table(path).columns)
    except DataError:
        pass  # the importer says what is wrong, once the format is named
    return None


def _of_lines(path: Path) -> str | None:
    first = next((item for item in json_lines(path) if not isinstance(item, Problem)), None)
    if first is None:
        return None
    value = first[1]
    if isinstance(value.get("spec"), dict):
        return "openai-evals"
    if is_sample(value):
        return "lm-eval"
    return _of_columns(tuple(value))


def _of_json(value: Any) -> str | None:
    if is_result(value):
        return "llmrouterbench"
    if isinstance(value, dict) and isinstance(value.get("eval"), dict) and "version" in value:
        return "inspect"
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return _of_columns(tuple(value[0]))
    return None


def _of_columns(columns: tuple[str, ...]) -> str | None:
    names = set(columns)
    if set(EMBEDLLM_COLUMNS) <= names:
        return "embedllm"
    if {"sample_id", "prompt", "eval_name"} <= names:
        return "routerbench"
    if any(name.endswith(COST) for name in names):
        return None
    if {"prompt", "model", "quality"} <= names:
        return "csv"
    models = model_columns(columns)
    if "prompt" in names and len(models) == 2 and "gpt-4-1106-preview" in models:
        return "routellm"
    return None


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)
