"""The default evaluation runs: shipped figures, prompts regenerated and matched by hash.

The figures are public evaluation runs on the procedural tasks of reasoning-gym. Their
prompts are not shipped: the package regenerates them from task, configuration and seed, and
a prompt counts only if its SHA-256 is that of the prompt the models answered.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import sys
import types
import warnings
import zlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from router.errors import DataError, MissingExtraError
from router.training.ingest import runs_from_frame
from router.training.runs import Runs

__all__ = ["DATA_DIR", "RUNS_FILE", "TASKS_FILE", "DefaultRuns", "LeftOut", "load_default_runs"]

DATA_DIR = Path(__file__).parent / "data" / "reasoning_gym"
"""The folder with the shipped figures."""

RUNS_FILE = "runs.parquet"
TASKS_FILE = "tasks.json"

# More than a second for fifty prompts: first, so that no worker is left with one at the end.
_SLOW_DATASETS = ("puzzle24", "sokoban", "jugs", "intermediate_integration")

_Prompts: TypeAlias = dict[int, str]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Prompts of one task that are not among the default runs.

    Attributes
    ----------
    task : str
        The task.
    n_prompts : int
        How many of its prompts.
    reason : str
        Why.
    """

    task: str
    n_prompts: int
    reason: str


@dataclass(frozen=True, slots=True)
class DefaultRuns:
    """The default evaluation runs, and what became of their prompts.

    Attributes
    ----------
    runs : Runs
        The runs of all prompts that matched: prompt, model, quality, completion_tokens
        (NaN where the reasoning was hidden), task, source.
    n_prompts : int
        Prompts that the figures have.
    n_cached : int
        Prompts that came from the cache.
    n_regenerated : int
        Prompts that the package made now.
    n_mismatched : int
        Prompts left out because the package makes another text than the models answered.
    left_out : tuple of LeftOut
        Every prompt that is missing, by task and reason.
    package : str
        Name and version of the package that made the prompts.
    """

    runs: Runs
    n_prompts: int
    n_cached: int
    n_regenerated: int
    n_mismatched: int
    left_out: tuple[LeftOut, ...] = field(repr=False)
    package: str

    @property
    def n_matched(self) -> int:
        """Prompts whose hash is that of the prompt the models answered."""
        return self.n_prompts - sum(part.n_prompts for part in self.left_out)

    def summary(self) -> str:
        """Return one paragraph that says what was made, matched and left out, and why."""
        text = (
            f"Default runs: {len(self.runs):,} runs of {self.n_matched:,} prompts and "
            f"{len(self.runs.models)} models. {self.package} regenerated {self.n_regenerated:,} "
            f"prompts, {self.n_cached:,} came from the cache; {self.n_matched:,} of "
            f"{self.n_prompts:,} match by SHA-256."
        )
        if not self.left_out:
            return f"{text} None is left out."
        by_reason: dict[str, list[LeftOut]] = defaultdict(list)
        for part in self.left_out:
            by_reason[part.reason].append(part)
        parts = [
            f"{sum(part.n_prompts for part in found):,} ({reason}: "
            f"{', '.join(part.task for part in found)})"
            for reason, found in by_reason.items()
        ]
        return f"{text} Left out: {'; '.join(parts)}."


def load_default_runs(
    *,
    cache_dir: str | os.PathLike[str],
    n_jobs: int = 2,
    limit_tasks: int | None = None,
    progress: bool = True,
    data_dir: str | os.PathLike[str] = DATA_DIR,
) -> DefaultRuns:
    """Load the default runs: regenerate their prompts and match them by SHA-256.

    Parameters
    ----------
    cache_dir : path
        Folder that keeps regenerated prompts; made if it does not exist.
    n_jobs : int
        Processes that regenerate prompts.
    limit_tasks : int, optional
        Take this many tasks only, the first ones.
    progress : bool
        Whether to say on standard error how far it is.
    data_dir : path
        Folder with the figures, as `router.training.prepare_default_runs` writes it.

    Returns
    -------
    DefaultRuns
        The runs, with counts of prompts matched and left out.

    Raises
    ------
    MissingExtraError
        If reasoning-gym is not installed and prompts are not in the cache.
    DataError
        If the figures cannot be read, or no prompt matches.

    Notes
    -----
    reasoning-gym needs pycosat, which must be compiled. Where it is missing, the tasks that
    use it are left out and the others work.
    """
    tasks, package, table = _read_figures(Path(data_dir), limit_tasks)
    wanted = {
        name: dict(zip(rows["index"].tolist(), rows["sha256"], strict=True))
        for name, rows in table.groupby("task", sort=False)
    }
    cache = _cache_file(Path(cache_dir), package, tasks)
    prompts = {
        name: cached
        for name, cached in _read_cache(cache).items()
        if name in wanted and wanted[name].keys() <= cached.keys()
    }
    n_cached = sum(len(wanted[name]) for name in prompts)
    missing = [task for task in tasks if task["task"] in wanted.keys() - prompts.keys()]
    failures = {}
    if missing:
        jobs = [(task, sorted(wanted[task["task"]])) for task in missing]
        made, failures = _regenerate(jobs, n_jobs, progress)
        prompts |= made
        _write_cache(cache, prompts)
    kept, left_out, n_mismatched = _match(wanted, prompts, failures)
    if not kept:
        reasons = "; ".join(sorted({part.reason for part in left_out}))
        raise DataError(f"no prompt of the default runs could be regenerated: {reasons}")
    return DefaultRuns(
        runs=runs_from_frame(_long_frame(table, kept), name="the default runs"),
        n_prompts=len(table),
        n_cached=n_cached,
        n_regenerated=sum(len(wanted[name]) for name in prompts) - n_cached,
        n_mismatched=n_mismatched,
        left_out=left_out,
        package=package,
    )
