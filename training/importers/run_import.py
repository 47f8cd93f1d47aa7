"""Importing: from sources of one format to a file of evaluation runs."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from router.errors import ConfigError, DataError
from router.training.importers.formats import FORMATS, Format, detect
from router.training.importers.hub import PREFIX, fetch
from router.training.importers.merge import Merged, Repeats, RunMerger, count_reasons
from router.training.importers.model_names import ModelNames
from router.training.importers.records import ImportOptions, Item
from router.training.importers.write import check_out, write_rows
from router.training.schema import RunsError

__all__ = ["AUTO", "HUB", "ImportJob", "ImportResult", "run_import"]

AUTO = "auto"
"""The format that stands for finding it out."""

HUB = "hf"
"""The format that stands for a data set of the hub, to find out as well."""

_PROGRESS_ROWS = 100_000
_LEFT_OUT = Path(".wattroute", "left_out.jsonl")


@dataclass(frozen=True, slots=True)
class ImportJob:
    """What to import, and where to.

    Attributes
    ----------
    format : str
        One of `FORMATS`, or `AUTO`, or `HUB`.
    sources : sequence of str
        Files, folders, ``hf:owner/name`` or, for MLflow, ``run:RUN_ID``.
    out : Path
        File of runs: .parquet, .jsonl or .csv.
    options : ImportOptions
        What the user says about the data.
    names : ModelNames
        What models are to be called.
    repeats : {"error", "mean", "first"}
        What becomes of different grades of one model on one prompt.
    on_bad : {"error", "skip"}
        Whether bad rows end the import or are left out.
    limit : int, optional
        Take only so many prompts.
    overwrite : bool
        Whether `out` may exist.
    """

    format: str
    sources: Sequence[str]
    out: Path
    options: ImportOptions = field(default_factory=ImportOptions)
    names: ModelNames = field(default_factory=ModelNames)
    repeats: Repeats = "error"
    on_bad: Literal["error", "skip"] = "error"
    limit: int | None = None
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What was imported, and what was not.

    Attributes
    ----------
    out : Path
        The file of runs.
    format : str
        The format that was read.
    n_read : int
        Rows that the sources have, of whatever kind.
    n_runs, n_prompts : int
        Runs in the file, and their prompts.
    models : dict of str to dict
        By model ``n_runs``, ``quality`` (the mean) and ``n_with_tokens`` (runs whose
        completion tokens are known).
    n_repeated, n_averaged : int
        Rows that said the same as an earlier one, and runs that are means of grades.
    left_out : dict of str to int
        Rows without a graded answer, by reason.
    bad : dict of str to int
        Rows that were wrong and left out, by what was wrong.
    left_out_file : Path, optional
        Where these rows are listed.
    notes : tuple of str
        What else there is to know.
    """

    out: Path
    format: str
    n_read: int
    n_runs: int
    n_prompts: int
    models: dict[str, dict[str, Any]]
    n_repeated: int = 0
    n_averaged: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    bad: dict[str, int] = field(default_factory=dict)
    left_out_file: Path | None = None
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON can hold it."""
        return {
            "out": str(self.out),
            "format": self.format,
            "n_read": self.n_read,
            "n_runs": self.n_runs,
            "n_prompts": self.n_prompts,
            "models": self.models,
            "n_repeated": self.n_repeated,
            "n_averaged": self.n_averaged,
            "left_out": self.left_out,
            "bad": self.bad,
            "left_out_file": None if self.left_out_file is None else str(self.left_out_file),
            "notes": list(self.notes),
        }


def run_import(job: ImportJob, say: Callable[[str], None] = lambda line: None) -> ImportResult:
    """Import graded answers and write them as evaluation runs.

    Parameters
    ----------
    job : ImportJob
        What to do.
    say : callable
        Told about progress.

    Returns
    -------
    ImportResult
        The counts; the file is complete, and `router.training.ingest.load_runs` reads it.

    Raises
    ------
    RunsError
        With all problems, if rows are bad and `job.on_bad` does not leave them out.
    DataError
        If a source cannot be read as the format, or nothing is left.
    ConfigError
        If an option does not fit the format or the file to write.
    UpstreamError
        If the hub cannot give a data set.
    """
    if not job.sources:
        raise ConfigError("give at least one file or folder to import")
    check_out(job.out, job.sources, overwrite=job.overwrite)
    paths = [_local(source, job.format, say) for source in job.sources]
    form = _format(job, paths)
    say(f"format: {form.what} ({form.name})")
    merger = RunMerger(
        job.options.scale, job.names, form.name, repeats=job.repeats, limit=job.limit
    )
    for path in paths:
        merger.add(_watched(form.read(path, job.options), say))
        say(f"read {path}")
    merged = merger.finish()
    if merged.problems and job.on_bad == "error":
        raise RunsError(merged.problems)
    if not merged.rows:
        if merged.problems:
            raise RunsError(merged.problems)
        raise DataError(_nothing(merged), file=", ".join(job.sources)[:200])
    listed = _list_left_out(merged) if merged.left_out or merged.problems else None
    write_rows(job.out, merged.rows)
    return _result(job.out, form.name, merged, listed)


def _watched(items: Iterator[Item], say: Callable[[str], None]) -> Iterator[Item]:
    for number, item in enumerate(items, 1):
        if number % _PROGRESS_ROWS == 0:
            say(f"{number:,} rows")
        yield item


def _local(source: str, form: str, say: Callable[[str], None]) -> Path:
    """Return where a source lies, after fetching it where it is one of the hub."""
    if form == HUB and not source.startswith(PREFIX):
        source = f"{PREFIX}{source}"
    if not source.startswith(PREFIX):
        return Path(source)
    say(f"fetching {source}")
    return fetch(source)


def _format(job: ImportJob, paths: Sequence[Path]) -> Format:
    """Return the format, found out where it was not named, and check the options for it."""
    name = job.format
    if name in (AUTO, HUB):
        if job.options.columns or job.options.wide:
            name = "csv"
        else:
            names = sorted({detect(path) for path in paths})
            if len(names) > 1:
                raise DataError(f"the sources are of several formats: {', '.join(names)}")
            name = names[0]
    form = FORMATS[name]
    given = {
        "metric": bool(job.options.metric.default or job.options.metric.by_task),
        "column": bool(job.options.columns),
        "wide": bool(job.options.wide),
        "tracking_uri": job.options.tracking_uri is not None,
    }
    for option, used in given.items():
        if used and option not in form.takes:
            takers = ", ".join(n for n, other in FORMATS.items() if option in other.takes)
            flag = option.replace("_", "-")
            raise ConfigError(f"--{flag} does not go with {name}; it is for {takers}")
    if name in ("lm-eval", "inspect") and set(job.options.columns) - {"prompt"}:
        raise ConfigError(f"with {name}, --column takes the prompt alone: --column prompt=NAME")
    return form


def _nothing(merged: Merged) -> str:
    reasons = count_reasons(merged.left_out).most_common(5)
    shown = "; ".join(f"{count:,} x {reason}" for reason, count in reasons)
    return f"there is no graded answer to import. Left out: {shown or 'nothing, it is empty'}"


def _list_left_out(merged: Merged) -> Path:
    """Write what was left out, one JSON object each."""
    _LEFT_OUT.parent.mkdir(parents=True, exist_ok=True)
    part = _LEFT_OUT.with_name(f"{_LEFT_OUT.name}.part")
    with part.open("w", encoding="utf-8") as file:
        for out in merged.left_out:
            line = {"file": out.file, "row": out.row, "n_rows": out.n_rows, "reason": out.reason}
            file.write(json.dumps(line) + "\n")
        for bad in merged.problems:
            line = {"file": bad.file, "row": bad.row, "field": bad.field, "reason": bad.reason}
            file.write(json.dumps(line) + "\n")
    os.replace(part, _LEFT_OUT)
    return _LEFT_OUT


def _result(out: Path, form: str, merged: Merged, listed: Path | None) -> ImportResult:
    models: dict[str, dict[str, Any]] = {}
    for row in merged.rows:
        found = models.setdefault(row["model"], {"n_runs": 0, "quality": 0.0, "n_with_tokens": 0})
        found["n_runs"] += 1
        found["quality"] += row["quality"]
        found["n_with_tokens"] += row.get("completion_tokens") is not None
    for found in models.values():
        found["quality"] /= found["n_runs"]
    bad = Counter(p.kind if p.field is None else f"{p.field}: {p.kind}" for p in merged.problems)
    return ImportResult(
        out=out,
        format=form,
        n_read=merged.n_read,
        n_runs=len(merged.rows),
        n_prompts=len({row["prompt_id"] or row["prompt"] for row in merged.rows}),
        models=dict(sorted(models.items())),
        n_repeated=merged.n_repeated,
        n_averaged=merged.n_averaged,
        left_out=dict(count_reasons(merged.left_out).most_common()),
        bad=dict(bad.most_common()),
        left_out_file=listed,
        notes=tuple(merged.notes),
    )
