"""Regenerating the prompts of reasoning-gym tasks in parallel, and keeping them on disk."""

from __future__ import annotations

import contextlib
import gzip
import importlib
import importlib.util
import io
import json
import os
import sys
import types
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from joblib import Parallel, delayed

from router.errors import MissingExtraError

__all__ = ["NEEDS_PYCOSAT", "Prompts", "read_cache", "regenerate", "write_cache"]

Prompts: TypeAlias = dict[int, str]
"""The prompts of one task, by index."""

NEEDS_PYCOSAT = "needs pycosat, which needs a C compiler"
"""Why a task is left out where pycosat is not installed."""

# More than a second for fifty prompts: first, so that no worker is left with one at the end.
_SLOW_DATASETS = ("puzzle24", "sokoban", "jugs", "intermediate_integration")


class _PycosatMissingError(Exception):
    """pycosat was used and is not installed."""


def regenerate(
    jobs: Sequence[tuple[Mapping[str, Any], Sequence[int]]],
    *,
    n_jobs: int = 2,
    progress: bool = True,
) -> tuple[dict[str, Prompts], dict[str, str]]:
    """Regenerate prompts of several tasks.

    Parameters
    ----------
    jobs : sequence of (mapping, sequence of int)
        Each task with its name, dataset and config, and the indices wanted.
    n_jobs : int
        Processes to use.
    progress : bool
        Whether to say on standard error how far it is.

    Returns
    -------
    prompts : dict of str to dict of int to str
        The prompts of each task that worked.
    failures : dict of str to str
        Why the others did not.

    Raises
    ------
    MissingExtraError
        If reasoning-gym is not installed.
    """
    if importlib.util.find_spec("reasoning_gym") is None:
        raise MissingExtraError("reasoning_gym", "train")
    jobs = sorted(jobs, key=lambda job: job[0]["dataset"] not in _SLOW_DATASETS)
    prompts: dict[str, Prompts] = {}
    failures: dict[str, str] = {}
    parallel = Parallel(n_jobs=n_jobs, return_as="generator", batch_size=1)
    results = parallel(delayed(_regenerate_task)(*job) for job in jobs)
    for n_done, ((task, _), result) in enumerate(zip(jobs, results, strict=True), 1):
        if isinstance(result, str):
            failures[task["task"]] = result
        else:
            prompts[task["task"]] = result
        if progress and (n_done % 25 == 0 or n_done == len(jobs)):
            print(f"regenerated {n_done} of {len(jobs)} tasks", file=sys.stderr, flush=True)
    return prompts, failures


def read_cache(path: Path) -> dict[str, Prompts]:
    """Return the prompts kept in a file, none if there is no such file or it is broken.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict of str to dict of int to str
        The prompts of each task.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as text:
            tasks = json.load(text)
        return {
            str(task): {int(index): _text(prompt) for index, prompt in prompts.items()}
            for task, prompts in tasks.items()
        }
    except (OSError, EOFError, zlib.error, ValueError, AttributeError, TypeError):
        return {}


def write_cache(path: Path, tasks: Mapping[str, Prompts]) -> None:
    """Keep prompts in a compressed file, which is complete or not there.

    Parameters
    ----------
    path : Path
        The file; its folder is made if it does not exist.
    tasks : mapping of str to dict of int to str
        The prompts of each task.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with gzip.open(part, "wt", encoding="utf-8", compresslevel=6) as text:
        json.dump(tasks, text)
    part.replace(path)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("a prompt must be text")
    return value


def _regenerate_task(task: Mapping[str, Any], indices: Sequence[int]) -> Prompts | str:
    """Return the prompts of one task, or why there are none."""
    try:
        # Some generators print and some warn.
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = _import_reasoning_gym().create_dataset(task["dataset"], **task["config"])
            return {index: dataset[index]["question"] for index in indices}
    except _PycosatMissingError:
        return NEEDS_PYCOSAT
    except Exception as error:  # whatever somebody else's generator raises: it is reported
        return f"the generator failed: {type(error).__name__}: {error}"


def _import_reasoning_gym() -> Any:
    with _pycosat_or_stand_in():
        return importlib.import_module("reasoning_gym")


@contextlib.contextmanager
def _pycosat_or_stand_in() -> Iterator[None]:
    """Let reasoning-gym, which imports pycosat for one dataset, import without it."""
    try:
        importlib.import_module("pycosat")
    except ImportError:
        before = {"pycosat": sys.modules["pycosat"]} if "pycosat" in sys.modules else {}
        stand_in = types.ModuleType("pycosat")
        stand_in.__getattr__ = _missing  # type: ignore[method-assign]
        sys.modules["pycosat"] = stand_in
        try:
            yield
        finally:
            del sys.modules["pycosat"]
            sys.modules.update(before)
    else:
        yield


def _missing(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    raise _PycosatMissingError(name)
