"""Checked evaluation runs, and their answer matrix."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from router.errors import ConfigError
from router.eval.matrix import AnswerMatrix
from router.training.prompts import decode_prompt, normalised_text
from router.training.schema import COLUMNS, Problem

__all__ = ["Runs", "runs_digest", "to_matrix"]


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Checked, de-duplicated evaluation runs.

    Attributes
    ----------
    frame : DataFrame
        One row for each (prompt id, model), sorted by them, so that it does not depend on
        the order of rows and files. Columns are those of `COLUMNS` that have values, and
        always ``prompt_id``: texts categorical, numbers float64 with NaN where unknown.
        Chat messages are JSON text.
    digest : str
        SHA-256 of the rows, the same for any order of rows and any file format; numbers
        count at single precision.
    files : tuple of str
        The files read.
    n_read : int
        Rows read, good or bad.
    n_repeated : int
        Rows left out because another row gives the same answer.
    problems : tuple of Problem
        What was wrong with the rows that were set aside.
    n_set_aside : int
        How many rows were set aside.
    set_aside : Path, optional
        The file they were written to.
    embeddings : ndarray of shape (n_prompts, n_dimensions), optional
        Embeddings that came with the runs, in the order of the prompt ids.
    """

    frame: pd.DataFrame
    digest: str
    files: tuple[str, ...]
    n_read: int
    n_repeated: int = 0
    problems: tuple[Problem, ...] = field(default=(), repr=False)
    n_set_aside: int = 0
    set_aside: Path | None = None
    embeddings: npt.NDArray[np.float32] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of all models, sorted."""
        return tuple(self.frame["model"].cat.categories)

    def to_matrix(self, models: Sequence[str] | None = None) -> AnswerMatrix:
        """Return the answer matrix; see `to_matrix`."""
        return to_matrix(self, models)

    def summary(self) -> str:
        """Return counts of what was read, kept and left out, in one line."""
        n_prompts = len(self.frame["prompt_id"].cat.categories)
        parts = [
            f"{len(self):,} runs of {n_prompts:,} prompts and {len(self.models)} models "
            f"from {len(self.files)} file{'' if len(self.files) == 1 else 's'}"
        ]
        if self.n_repeated:
            parts.append(f"{self.n_repeated:,} repeated rows counted once")
        if self.n_set_aside:
            parts.append(
                f"{self.n_set_aside:,} of {self.n_read:,} rows set aside in {self.set_aside}"
            )
        return "; ".join(parts)


def to_matrix(runs: Runs, models: Sequence[str] | None = None) -> AnswerMatrix:
    """Return what every model did on every prompt.

    Parameters
    ----------
    runs : Runs
        Checked evaluation runs.
    models : sequence of str, optional
        The columns, in the order wanted; all models in sorted order by default. Prompts
        that none of them ran are left out.

    Returns
    -------
    AnswerMatrix
        Prompts in the order of their ids. Prompts share a group if their texts are equal
        in lower case with white space collapsed.

    Raises
    ------
    ConfigError
        If a model is not in the runs, or named twice.
    """
    frame = runs.frame
    names = runs.models if models is None else tuple(models)
    _check_models(names, runs.models)
    column = np.full(len(runs.models) + 1, -1)
    column[[runs.models.index(name) for name in names]] = np.arange(len(names))
    j = column[frame["model"].cat.codes.to_numpy()]
    rows = np.flatnonzero(j >= 0)
    j = j[rows]
    ids, first, i = np.unique(
        frame["prompt_id"].cat.codes.to_numpy()[rows], return_index=True, return_inverse=True
    )

    def cells(name: str) -> npt.NDArray[np.float64]:
        values = np.full((len(ids), len(names)), np.nan)
        if name in frame:
            values[i, j] = frame[name].to_numpy(dtype=float)[rows]
        return values

    prompts = frame["prompt"].cat
    codes = prompts.codes.to_numpy()[rows[first]]
    texts = prompts.categories.to_numpy(dtype=object)[codes].tolist()
    return AnswerMatrix(
        prompts=tuple(map(decode_prompt, texts)),
        prompt_ids=tuple(frame["prompt_id"].cat.categories.to_numpy(dtype=object)[ids]),
        models=names,
        quality=cells("quality"),
        prompt_tokens=cells("prompt_tokens"),
        completion_tokens=cells("completion_tokens"),
        energy_j=cells("energy_j"),
        tasks=_tasks(frame, rows, i, len(ids)),
        groups=pd.factorize(np.array(list(map(normalised_text, texts)), dtype=object))[0].astype(
            np.int64
        ),
        embeddings=None if runs.embeddings is None else runs.embeddings[ids],
    )


def _check_models(names: Sequence[str], known: Sequence[str]) -> None:
    if not names:
        raise ConfigError("no models were asked for: name at least one")
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}?" if close else f"they have {', '.join(known)}"
            raise ConfigError(f"the runs have no model {name!r}: {hint}")
    if len(set(names)) < len(names):
        raise ConfigError(f"a model is named twice: {', '.join(names)}")


def _tasks(
    frame: pd.DataFrame, rows: npt.NDArray[np.int64], prompt: npt.NDArray[np.int64], n: int
) -> tuple[str, ...]:
    """Return the task of each prompt, the first in sorted order if its rows differ."""
    if "task" not in frame:
        return ("",) * n
    task = frame["task"].cat
    codes = task.codes.to_numpy()[rows]
    labels = np.append(task.categories.to_numpy(dtype=object), "")
    least = np.full(n, len(labels) - 1)
    np.minimum.at(least, prompt[codes >= 0], codes[codes >= 0])
    return tuple(labels[least])


def runs_digest(frame: pd.DataFrame, embeddings: npt.NDArray[np.float32] | None = None) -> str:
    """Return the SHA-256 of runs that are sorted as in `Runs`.

    Parameters
    ----------
    frame : DataFrame
        As in `Runs`.
    embeddings : ndarray of shape (n_prompts, n_dimensions), optional
        As in `Runs`.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    sha = hashlib.sha256()

    def update(what: str, values: npt.NDArray[Any], dtype: str) -> None:
        array = np.ascontiguousarray(values, dtype=dtype)
        sha.update(f"{what} {array.shape}\n".encode())
        sha.update(array.tobytes())

    for name in COLUMNS:
        if name not in frame:
            continue
        if COLUMNS[name].kind == "number":
            # Files keep numbers in different precisions; zero has two signs, NaN many bits.
            values = frame[name].to_numpy(dtype=np.float32) + np.float32(0)
            update(name, np.where(np.isnan(values), np.float32(np.nan), values), "<f4")
        else:
            texts = frame[name].cat.categories.tolist()
            sha.update(json.dumps(texts, ensure_ascii=False).encode())
            update(name, frame[name].cat.codes.to_numpy(), "<i4")
    if embeddings is not None:
        update("embedding", embeddings, "<f4")
    return sha.hexdigest()
