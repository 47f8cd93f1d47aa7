"""The default evaluation runs: shipped figures, prompts regenerated and matched by hash.

The figures are public evaluation runs on the procedural tasks of reasoning-gym. Their
prompts are not shipped: the package regenerates them from task, configuration and seed, and
a prompt counts only if its SHA-256 is that of the prompt the models answered.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from router.errors import ConfigError, DataError
from router.training.ingest import runs_from_frame
from router.training.regenerate import read_cache, regenerate, write_cache
from router.training.runs import Runs

__all__ = [
    "DATA_DIR",
    "DEFAULT_DATA",
    "DEFAULT_POOL_FILE",
    "RUNS_FILE",
    "TASKS_FILE",
    "DefaultRuns",
    "LeftOut",
    "load_default_runs",
]

DATA_DIR = Path(__file__).parent / "data" / "reasoning_gym"
"""The folder with the shipped figures."""

RUNS_FILE = "runs.parquet"
TASKS_FILE = "tasks.json"

DEFAULT_POOL_FILE = DATA_DIR / "pool.toml"
"""The default pool: models of the default runs that Oxlo serves."""

DEFAULT_DATA = (
    "Public evaluation runs of reasoning-gym-eval (github.com/open-thought/reasoning-gym-eval, "
    "Apache-2.0); prompts regenerated with reasoning-gym 0.1.25 and matched by SHA-256."
)
"""Where the default runs come from, for reports and model cards."""


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
        parts = []
        for reason, found in by_reason.items():
            tasks = ", ".join(part.task for part in found[:5])
            others = f" and {len(found) - 5} other tasks" if len(found) > 5 else ""
            parts.append(f"{sum(p.n_prompts for p in found):,} of {tasks}{others} ({reason})")
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
    ConfigError
        If `limit_tasks` is below 1.
    MissingExtraError
        If reasoning-gym is not installed and prompts are not in the cache.
    DataError
        If the figures cannot be read, or no prompt matches.

    Notes
    -----
    reasoning-gym needs pycosat, which must be compiled. Where it is missing, tasks that use
    it are left out and the others work.
    """
    if limit_tasks is not None and limit_tasks < 1:
        raise ConfigError(f"limit_tasks must be at least 1, not {limit_tasks}")
    figures, tasks, made_with = _read_figures(Path(data_dir), limit_tasks)
    wanted = {
        name: dict(zip(rows["index"].tolist(), rows["sha256"], strict=True))
        for name, rows in figures.groupby("task", sort=False)
    }
    version = _installed_version() or made_with
    cache = Path(cache_dir) / f"reasoning_gym_{version}_{_digest(tasks)}.json.gz"
    prompts = {
        name: cached
        for name, cached in read_cache(cache).items()
        if name in wanted and wanted[name].keys() <= cached.keys()
    }
    n_cached = sum(map(len, prompts.values()))
    jobs = [(task, sorted(wanted[task["task"]])) for task in tasks if task["task"] not in prompts]
    failures: dict[str, str] = {}
    if jobs:
        made, failures = regenerate(jobs, n_jobs=n_jobs, progress=progress)
        prompts |= made
        write_cache(cache, prompts)
    mismatch = f"reasoning-gym {version} makes another text than {made_with}, which was graded"
    matched: dict[tuple[str, int], str] = {}
    left_out = []
    n_mismatched = 0
    for name, hashes in wanted.items():
        if name in failures:
            left_out.append(LeftOut(name, len(hashes), failures[name]))
            continue
        texts = {i: prompts[name][i] for i, sha in hashes.items() if _sha(prompts[name][i]) == sha}
        matched |= {(name, i): text for i, text in texts.items()}
        if len(texts) < len(hashes):
            left_out.append(LeftOut(name, len(hashes) - len(texts), mismatch))
            n_mismatched += len(hashes) - len(texts)
    if not matched:
        reasons = "; ".join(sorted({part.reason for part in left_out}))
        raise DataError(f"no prompt of the default runs could be regenerated: {reasons}")
    return DefaultRuns(
        runs=runs_from_frame(_long_frame(figures, matched), name="the default runs"),
        n_prompts=len(figures),
        n_cached=n_cached,
        n_regenerated=sum(map(len, prompts.values())) - n_cached,
        n_mismatched=n_mismatched,
        left_out=tuple(left_out),
        package=f"reasoning-gym {version}",
    )


def _read_figures(
    folder: Path, limit_tasks: int | None
) -> tuple[pd.DataFrame, list[dict[str, Any]], str]:
    """Return the table, the description of its tasks and the package version behind it."""
    try:
        described = json.loads((folder / TASKS_FILE).read_text(encoding="utf-8"))
        figures = pq.read_table(folder / RUNS_FILE).to_pandas()
        tasks = described["tasks"][:limit_tasks]
        figures["task"] = figures["task"].astype(object)
        names = [task["task"] for task in tasks]
        return figures[figures["task"].isin(names)], tasks, described["version"]
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise DataError(f"the figures of the default runs cannot be read: {error}") from error


def _long_frame(figures: pd.DataFrame, matched: Mapping[tuple[str, int], str]) -> pd.DataFrame:
    """Return one row for each run of a prompt that matched."""
    keys = list(zip(figures["task"], figures["index"].tolist(), strict=True))
    found = np.array([key in matched for key in keys])
    figures = figures[found]
    keys = [key for key in keys if key in matched]
    prompts = pd.DataFrame(
        {
            "prompt_id": [f"reasoning-gym/{task}/{index}" for task, index in keys],
            "prompt": [matched[key] for key in keys],
            "task": [task for task, _ in keys],
        }
    )
    parts = []
    for column in figures.columns:
        if column.startswith("quality:"):
            model = column.removeprefix("quality:")
            part = prompts.assign(
                model=model,
                quality=figures[column].to_numpy(dtype=float),
                completion_tokens=figures[f"completion_tokens:{model}"].to_numpy(dtype=float),
            )
            parts.append(part[part["quality"].notna()])
    return pd.concat(parts, ignore_index=True).assign(source="reasoning-gym-eval")


def _sha(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def _digest(tasks: Sequence[Mapping[str, Any]]) -> str:
    return hashlib.sha256(json.dumps(tasks, sort_keys=True).encode()).hexdigest()[:16]


def _installed_version() -> str | None:
    try:
        return metadata.version("reasoning-gym")
    except metadata.PackageNotFoundError:
        return None
