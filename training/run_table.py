"""Joining chunks of evaluation runs into one checked table."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from router.training.run_cells import ABSENT, Chunk, Fault, TextCells, numbers, vectors
from router.training.schema import COLUMNS, Problem

__all__ = ["CheckedRuns", "RunTable"]

_TEXTS = tuple(name for name, c in COLUMNS.items() if c.kind in ("text", "prompt"))
_NUMBERS = tuple(name for name, c in COLUMNS.items() if c.kind == "number")

_Index = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CheckedRuns:
    """What the checks leave of evaluation runs.

    Attributes
    ----------
    frame : DataFrame
        The good rows, each (prompt id, model) once, sorted by prompt id and model. Texts
        are categorical with sorted categories, numbers float64; columns without any value
        are left out.
    embeddings : ndarray of shape (n_prompts, n_dimensions), optional
        Embeddings of the prompts, in the order of their ids.
    problems : list of Problem
        All that is wrong, in the order of the files and rows.
    n_read : int
        Rows read, good or bad.
    n_repeated : int
        Rows left out because another row gives the same answer.
    """

    frame: pd.DataFrame
    embeddings: npt.NDArray[np.float32] | None
    problems: list[Problem]
    n_read: int
    n_repeated: int


class RunTable:
    """Collects chunks of evaluation runs, checks them and joins them.

    Single cells are checked as chunks come, rows against each other at the end. A prompt is
    known by its id; a row without an id takes the one that other rows give the same prompt,
    else the hash of the prompt.
    """

    def __init__(self) -> None:
        self._n_rows = 0
        self._n_unread = 0
        self._numbering: list[tuple[str, _Index]] = []
        self._starts: list[int] = []
        self._cells = {name: TextCells(COLUMNS[name]) for name in _TEXTS}
        self._parts: dict[str, list[npt.NDArray[Any]]] = {n: [] for n in (*_TEXTS, *_NUMBERS)}
        self._embeddings: dict[int, npt.NDArray[np.float32]] = {}
        self._n_dimensions: int | None = None
        self._file_problems: list[Problem] = []
        self._faults: list[tuple[int, str, str, str]] = []

    def add(self, file: str, chunk: Chunk) -> None:
        """Take over the rows of one chunk and check its cells.

        Parameters
        ----------
        file : str
            The file it comes from. Chunks of one file come one after the other.
        chunk : Chunk
            The rows.
        """
        n = len(chunk.rows)
        self._file_problems.extend(chunk.problems)
        self._n_unread += sum(problem.row is not None for problem in chunk.problems)
        self._numbering.append((file, chunk.rows))
        self._starts.append(self._n_rows)
        for name in _TEXTS:
            part: npt.NDArray[Any] = np.full(n, ABSENT, np.int32)
            if name in chunk.columns:
                part, faults = self._cells[name].add(chunk.columns[name])
                self._note(name, faults)
            self._parts[name].append(part)
        for name in _NUMBERS:
            part = np.full(n, np.nan)
            if name in chunk.columns:
                part, faults = numbers(chunk.columns[name], COLUMNS[name])
                self._note(name, faults)
            self._parts[name].append(part)
        if "embedding" in chunk.columns:
            found, faults = vectors(chunk.columns["embedding"])
            self._note("embedding", faults)
            self._note("embedding", self._embed(found, self._parts["prompt"][-1]))
        self._n_rows += n

    def finish(self) -> CheckedRuns:
        """Check the rows against each other and join them.

        Returns
        -------
        CheckedRuns
            The good rows and every problem.
        """
        columns: dict[str, npt.NDArray[Any]] = {
            name: np.concatenate(parts or [np.empty(0, np.int32)])
            for name, parts in self._parts.items()
        }
        self._parts.clear()
        texts, embeddings = self._sort_texts(columns)
        self._check_embedded(columns, embeddings)
        self._check_ids(columns, texts)
        _fill_ids(columns, texts, self._good(columns))
        kept = self._without_repeats(columns, texts)
        matrix = None
        if embeddings and len(kept):
            _, first = np.unique(columns["prompt_id"][kept], return_index=True)
            matrix = np.stack(
                [embeddings[code] for code in columns["prompt"][kept[first]].tolist()]
            )
        return CheckedRuns(
            frame=_frame(columns, texts, kept),
            embeddings=matrix,
            problems=self._problems(),
            n_read=self._n_rows + self._n_unread,
            n_repeated=int(self._good(columns).sum()) - len(kept),
        )

    def _note(self, name: str, faults: Iterable[Fault]) -> None:
        """Record what is wrong in the chunk that is being added."""
        self._faults.extend((self._n_rows + i, name, kind, why) for i, kind, why in faults)

    def _good(self, columns: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
        # Rows of a file that lacks a column have no fault of their own, but cannot be compared.
        good: npt.NDArray[np.bool_] = columns["prompt"] != ABSENT
        good &= columns["model"] != ABSENT
        good[[row for row, *_ in self._faults]] = False
        return good

    def _embed(
        self, found: list[npt.NDArray[np.float32] | None], prompts: npt.NDArray[Any]
    ) -> Iterator[Fault]:
        """Keep the first embedding of each prompt and yield those that differ from it."""
        for i, (vector, prompt) in enumerate(zip(found, prompts.tolist(), strict=True)):
            if vector is None or prompt == ABSENT:
                continue
            if self._n_dimensions is None:
                self._n_dimensions = len(vector)
            known = self._embeddings.get(prompt)
            if len(vector) != self._n_dimensions:
                reason = f"has {len(vector)} dimensions, others {self._n_dimensions}"
                yield i, "of another length", reason
            elif known is None:
                self._embeddings[prompt] = vector.copy()
            elif not np.array_equal(known, vector):
                yield i, "two embeddings", "differs from an earlier one of the same prompt"

    def _sort_texts(
        self, columns: dict[str, npt.NDArray[Any]]
    ) -> tuple[dict[str, list[str]], dict[int, npt.NDArray[np.float32]]]:
        """Check the distinct texts, and number them and the embeddings in sorted order."""
        texts = {}
        embeddings = {}
        for name in _TEXTS:
            texts[name], place, reasons = self._cells[name].distinct()
            for row in np.flatnonzero(np.isin(columns[name], list(reasons))).tolist():
                reason = reasons[int(columns[name][row])]
                kind = reason if reason == "is empty" else "not valid"
                self._faults.append((row, name, kind, reason))
            columns[name] = place[columns[name]]
            if name == "prompt":
                embeddings = {int(place[code]): e for code, e in self._embeddings.items()}
        self._cells.clear()
        return texts, embeddings

    def _check_embedded(
        self,
        columns: Mapping[str, npt.NDArray[Any]],
        embeddings: dict[int, npt.NDArray[np.float32]],
    ) -> None:
        """Note prompts without an embedding if others have one."""
        if embeddings:
            bare = self._good(columns) & ~np.isin(columns["prompt"], list(embeddings))
            reason = "is missing, while other prompts have one"
            rows = np.flatnonzero(bare).tolist()
            self._faults.extend((row, "embedding", "missing", reason) for row in rows)

    def _check_ids(self, columns: dict[str, npt.NDArray[Any]], texts: dict[str, list[str]]) -> None:
        """Note ids that stand for more than one prompt."""
        ids, prompts = columns["prompt_id"], columns["prompt"]
        rows = np.flatnonzero(self._good(columns) & (ids != ABSENT))
        n_prompts = len(texts["prompt"])
        pairs = np.unique(ids[rows].astype(np.int64) * n_prompts + prompts[rows])
        used = pairs // max(n_prompts, 1)
        rows = rows[np.isin(ids[rows], used[1:][used[1:] == used[:-1]])]
        rows = rows[np.argsort(ids[rows], kind="stable")]
        starts = np.flatnonzero(np.diff(ids[rows], prepend=ABSENT))
        for same in np.split(rows, starts[1:]) if len(rows) else ():
            first = same[0]
            other = same[prompts[same] != prompts[first]][0]
            for row in same.tolist():
                file, number = self._where(other if prompts[row] == prompts[first] else first)
                reason = (
                    f"{texts['prompt_id'][ids[row]]!r} is also the id of another prompt, "
                    f"in {file}, row {number}"
                )
                self._faults.append((row, "prompt_id", "the id of two prompts", reason))

    def _without_repeats(
        self, columns: dict[str, npt.NDArray[Any]], texts: dict[str, list[str]]
    ) -> _Index:
        """Return the rows to keep, by prompt id and model; a pair must have one quality.

        Of equal answers the fullest is kept, whichever file comes first.
        """
        rows = np.flatnonzero(self._good(columns))
        key = columns["prompt_id"].astype(np.int64) * len(texts["model"]) + columns["model"]
        rows = rows[np.argsort(key[rows], kind="stable")]
        again = np.flatnonzero(key[rows[1:]] == key[rows[:-1]])
        repeated = np.zeros(len(rows), bool)
        repeated[again] = repeated[again + 1] = True
        if not repeated.any():
            return rows
        some = rows[repeated]
        filled = np.sum([~np.isnan(columns[name][some]) for name in _NUMBERS], axis=0)
        order = [columns[name][some] for name in (*_TEXTS, *_NUMBERS)]
        some = some[np.lexsort([*order, -filled, key[some]])]
        starts = np.flatnonzero(np.r_[True, key[some[1:]] != key[some[:-1]]])
        quality = columns["quality"].astype(np.float32)
        least = np.minimum.reduceat(quality[some], starts)
        conflict = least < np.maximum.reduceat(quality[some], starts)
        ends = np.append(starts[1:], len(some))
        for start, end in zip(starts[conflict], ends[conflict], strict=True):
            self._note_conflict(np.sort(some[start:end]), quality)
        kept = np.concatenate([rows[~repeated], some[starts[~conflict]]])
        return np.asarray(kept[np.argsort(key[kept])])

    def _note_conflict(self, rows: _Index, quality: npt.NDArray[np.float32]) -> None:
        first = rows[0]
        other = rows[quality[rows] != quality[first]][0]
        for row in rows.tolist():
            match = other if quality[row] == quality[first] else first
            file, number = self._where(match)
            reason = (
                f"is {quality[row]:g} here and {quality[match]:g} for the same prompt and model "
                f"in {file}, row {number}"
            )
            self._faults.append((row, "quality", "two grades of one answer", reason))

    def _where(self, row: int) -> tuple[str, int]:
        """Return the file of a row and its number there."""
        part = bisect_right(self._starts, row) - 1
        file, numbering = self._numbering[part]
        return file, int(numbering[row - self._starts[part]])

    def _problems(self) -> list[Problem]:
        problems = list(self._file_problems)
        lost = {(p.file, p.field) for p in problems if p.kind == "missing column"}
        for row, field, kind, reason in self._faults:
            file, number = self._where(row)
            if kind != "missing" or (file, field) not in lost:
                problems.append(Problem(kind, reason, file, number, field))
        order = {file: i for i, file in enumerate(dict.fromkeys(f for f, _ in self._numbering))}
        return sorted(problems, key=lambda problem: (order[problem.file], problem.row or 0))


def _fill_ids(
    columns: dict[str, npt.NDArray[Any]],
    texts: dict[str, list[str]],
    good: npt.NDArray[np.bool_],
) -> None:
    """Give rows without an id that of the same prompt elsewhere, else the prompt's hash."""
    ids, prompts = columns["prompt_id"], columns["prompt"]
    without = good & (ids == ABSENT)
    if not without.any():
        return
    known = texts["prompt_id"]
    id_of = np.full(len(texts["prompt"]), len(known), np.int64)
    have = good & ~without
    np.minimum.at(id_of, prompts[have], ids[have])
    hashed = [code for code in np.unique(prompts[without]).tolist() if id_of[code] == len(known)]
    names = [hashlib.sha256(texts["prompt"][code].encode()).hexdigest()[:16] for code in hashed]
    texts["prompt_id"] = sorted({*known, *names})
    rank = {name: i for i, name in enumerate(texts["prompt_id"])}
    new = np.array([*(rank[name] for name in known), ABSENT], np.int32)
    new_id_of = new[id_of]
    new_id_of[hashed] = [rank[name] for name in names]
    columns["prompt_id"] = np.where(without, new_id_of[prompts], new[ids])


def _frame(
    columns: dict[str, npt.NDArray[Any]], texts: dict[str, list[str]], rows: _Index
) -> pd.DataFrame:
    series: dict[str, Any] = {}
    for name in COLUMNS:
        required = COLUMNS[name].required
        if name in _NUMBERS:
            values = columns[name][rows]
            if required or not np.isnan(values).all():
                series[name] = values
        elif name in _TEXTS:
            used, codes = np.unique(columns[name][rows], return_inverse=True)
            if len(used) and used[0] == ABSENT:
                used, codes = used[1:], codes - 1
            if required or len(used):
                categories = [texts[name][code] for code in used.tolist()]
                series[name] = pd.Categorical.from_codes(codes.astype(np.int32), categories)
    return pd.DataFrame(series, copy=False)
