"""Reading the graded answers in a proxy's decision log as evaluation runs."""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from router.errors import DataError
from router.messages import has_text
from router.serve.decision_log import graded_runs
from router.training.run_cells import Chunk
from router.training.schema import Problem

__all__ = ["is_decision_log", "raw_log_rows", "read_log"]

_CHUNK_ROWS = 1_024
_FIELDS = (
    "prompt",
    "model",
    "quality",
    "prompt_tokens",
    "completion_tokens",
    "latency_s",
    "source",
)


def is_decision_log(path: Path) -> bool:
    """Return whether a JSONL file is a decision log of `wattroute serve`, by its first line.

    Parameters
    ----------
    path : Path
        The file.
    """
    try:
        with path.open("rb") as file:
            first = json.loads(file.readline())
    except (OSError, ValueError, RecursionError):
        return False
    kinds = ("decision", "feedback")
    return isinstance(first, dict) and first.get("kind") in kinds and "request_id" in first


def read_log(path: Path) -> Iterator[Chunk]:
    """Read the answers of one decision log that were graded and whose prompts were logged.

    Prompts that are malformed or have no text are passed over, as nothing can be learned from
    them; a warning is logged with their number.

    Parameters
    ----------
    path : Path
        The file. Grades in another file do not count: `wattroute graded-runs` reads several
        together.

    Yields
    ------
    Chunk
        The runs, numbered from 1; what is wrong with the file is a problem.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    numbered = enumerate(graded_runs([path]), 1)
    n_kept = n_passed_over = 0
    try:
        while piece := list(itertools.islice(numbered, _CHUNK_ROWS)):
            kept = [(row, run) for row, run in piece if has_text(run["prompt"])]
            n_kept += len(kept)
            n_passed_over += len(piece) - len(kept)
            rows = np.array([row for row, _ in kept], np.int64)
            yield Chunk(rows, {name: [run.get(name) for _, run in kept] for name in _FIELDS})
    except DataError as error:
        problem = Problem("broken log", str(error), str(path))
        yield Chunk(np.empty(0, np.int64), {}, [problem])
        return
    if n_passed_over:
        logging.getLogger(__name__).warning(
            "%s: %d graded runs passed over: their prompts are malformed or have no text",
            path,
            n_passed_over,
        )
    if not n_kept:
        reason = (
            "the decision log has no graded answers with their prompts: serve with --log-prompts "
            "and send grades to /v1/feedback"
        )
        yield Chunk(np.empty(0, np.int64), {}, [Problem("no grades", reason, str(path))])


def raw_log_rows(path: Path, wanted: Collection[int]) -> dict[int, Any]:
    """Return some runs of a decision log.

    Parameters
    ----------
    path : Path
        The file.
    wanted : collection of int
        Row numbers, as in :func:`read_log`.
    """
    return {row: run for row, run in enumerate(graded_runs([path]), 1) if row in wanted}
