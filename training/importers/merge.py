"""From what importers yield to rows of evaluation runs: checked, each answer once."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from router.training.importers.grades import Scale, is_number
from router.training.importers.model_names import ModelNames
from router.training.importers.records import ImportedRun, Item, LeftOut, Note
from router.training.prompts import encode_prompt
from router.training.schema import Problem

__all__ = ["Merged", "Repeats", "RunMerger", "count_reasons"]

Repeats = Literal["error", "mean", "first"]
"""What becomes of several grades of one model on one prompt."""

_NUMBERS = ("prompt_tokens", "completion_tokens", "energy_j", "cost_usd", "latency_s")
_MAX_AMOUNT = 1e30  # fits single precision
_TEXTS = ("prompt_id", "task", "split", "source")


@dataclass(slots=True)
class Merged:
    """What came of all sources.

    Attributes
    ----------
    rows : list of dict
        Evaluation runs, in the order in which they were found.
    problems : list of Problem
        What is wrong with rows or files.
    left_out : list of LeftOut
        Rows without a graded answer.
    notes : list of str
        What importers had to say, each once.
    n_read : int
        Rows that importers yielded, graded or not.
    n_repeated : int
        Rows that say the same as an earlier one.
    n_averaged : int
        Runs that are the mean of several grades.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    n_read: int = 0
    n_repeated: int = 0
    n_averaged: int = 0


@dataclass(slots=True)
class _Answer:
    """The grades of one model on one prompt, with where the first was found."""

    row: dict[str, Any]
    file: str
    number: int | None
    qualities: list[float]
    rows: list[dict[str, Any]] = field(default_factory=list)
    clash: bool = False


class RunMerger:
    """Collects what importers yield.

    Parameters
    ----------
    scale : Scale
        The range of the grades.
    names : ModelNames
        What models are to be called.
    source : str
        The format, for the column ``source``.
    repeats : {"error", "mean", "first"}
        What becomes of different grades of one model on one prompt.
    limit : int, optional
        Take only so many prompts, the first.
    """

    def __init__(
        self,
        scale: Scale,
        names: ModelNames,
        source: str,
        *,
        repeats: Repeats = "error",
        limit: int | None = None,
    ) -> None:
        self._scale = scale
        self._names = names
        self._source = source
        self._repeats = repeats
        self._limit = limit
        self._merged = Merged()
        self._answers: dict[tuple[str, str], _Answer] = {}
        self._texts: dict[str, str] = {}
        self._prompt_of: dict[str, tuple[str, str, int | None]] = {}
        self._found_models: set[str] = set()

    def add(self, items: Iterable[Item]) -> None:
        """Take what one importer yields."""
        merged = self._merged
        for item in items:
            if isinstance(item, ImportedRun):
                merged.n_read += 1
                self._add_run(item)
            elif isinstance(item, LeftOut):
                merged.n_read += item.n_rows
                merged.left_out.append(item)
            elif isinstance(item, Note):
                if item.text not in merged.notes:
                    merged.notes.append(item.text)
            else:
                merged.n_read += 1
                merged.problems.append(item)

    def finish(self) -> Merged:
        """Return what came of all.

        Raises
        ------
        DataError, ConfigError
            If the names given for models do not fit those found.
        """
        self._names.check(self._found_models)
        merged = self._merged
        for answer in self._answers.values():
            if answer.clash:
                continue
            if len(answer.rows) > 1:
                merged.n_averaged += 1
                _average(answer)
            merged.rows.append(answer.row)
        return merged

    def _add_run(self, run: ImportedRun) -> None:
        self._found_models.add(run.model)
        row = self._checked(run)
        if row is None:
            return
        text = row["prompt"]
        # told apart, so that an id may read like another prompt
        name = f"id {row['prompt_id']}" if row["prompt_id"] else f"text {text}"
        full = self._limit is not None and len(self._prompt_of) >= self._limit
        if full and name not in self._prompt_of:
            reason = f"beyond the first {self._limit:,} prompts (--limit)"
            self._merged.left_out.append(LeftOut(reason, run.file, run.row))
            return
        known_text, file, number = self._prompt_of.setdefault(name, (text, run.file, run.row))
        if known_text != text:
            reason = (
                f"{row['prompt_id']!r} is also the id of another prompt, in {_place(file, number)}"
            )
            if run.advice:
                reason = f"{reason}. {run.advice}"
            self._problem(run, "the id of two prompts", reason, "prompt_id")
            return
        self._add_answer(run, row, (name, row["model"]))

    def _add_answer(self, run: ImportedRun, row: dict[str, Any], key: tuple[str, str]) -> None:
        known = self._answers.get(key)
        if known is None:
            self._answers[key] = _Answer(row, run.file, run.row, [row["quality"]], [row])
            return
        if self._repeats == "mean":
            known.qualities.append(row["quality"])
            known.rows.append(row)
            return
        if row["quality"] == known.row["quality"]:
            self._merged.n_repeated += 1
            if sum(v is not None for v in row.values()) > sum(
                v is not None for v in known.row.values()
            ):
                known.row = row
            return
        if self._repeats == "first":
            reason = "another grade of the same model and prompt came first (--repeats first)"
            self._merged.left_out.append(LeftOut(reason, run.file, run.row))
            return
        advice = "average them with --repeats mean, or keep one with --repeats first"
        if not known.clash:
            known.clash = True
            there = f"{row['quality']:g} in {_place(run.file, run.row)}"
            reason = f"is {known.row['quality']:g} here and {there}, of one model and prompt"
            kind = "two grades of one answer"
            self._merged.problems.append(
                Problem(kind, f"{reason}: {advice}", known.file, known.number, run.grade_field)
            )
        there = f"{known.row['quality']:g} in {_place(known.file, known.number)}"
        reason = f"is {row['quality']:g} here and {there}, of one model and prompt: {advice}"
        self._problem(run, "two grades of one answer", reason, run.grade_field)

    def _checked(self, run: ImportedRun) -> dict[str, Any] | None:
        """Return a row of evaluation runs, or note what is wrong with it."""
        row: dict[str, Any] = {}
        try:
            row["prompt"] = self._encoded(run.prompt)
        except ValueError as error:
            kind = "is empty" if str(error) == "is empty" else "not valid"
            self._problem(run, kind, str(error), "prompt")
            return None
        model = self._names.of(run.model).strip()
        if not model:
            reason = "is missing: say which model answered with --model NAME"
            self._problem(run, "missing", reason, "model")
            return None
        row["model"] = model
        try:
            row["quality"] = self._scale.quality(run.grade)
        except ValueError as error:
            self._problem(run, "not a grade", str(error), run.grade_field)
            return None
        for name in _NUMBERS:
            value = getattr(run, name)
            if value is None:
                continue
            try:
                row[name] = _amount(value)
            except ValueError as error:
                self._problem(run, "not valid", str(error), name)
                return None
        for name in _TEXTS:
            value = getattr(run, name)
            row[name] = value.strip() or None if isinstance(value, str) else None
        row["source"] = row["source"] or self._source
        for name in ("model", *_TEXTS):
            if row[name] is not None and not _is_unicode(row[name]):
                reason = "is not valid Unicode: it has half a surrogate pair"
                self._problem(run, "not valid", reason, name)
                return None
        return row

    def _encoded(self, prompt: Any) -> str:
        """Return the text form of a prompt, the same object for equal prompts."""
        known = self._texts.get(prompt) if isinstance(prompt, str) else None
        if known is None:
            known = encode_prompt(prompt)
            self._texts[prompt if isinstance(prompt, str) else known] = known
        return known

    def _problem(self, run: ImportedRun, kind: str, reason: str, field: str) -> None:
        self._merged.problems.append(Problem(kind, reason, run.file, run.row, field))


def _average(answer: _Answer) -> None:
    """Make one run of several grades: the mean of the grades and of what is known of each."""
    row = dict(answer.row)
    row["quality"] = math.fsum(answer.qualities) / len(answer.qualities)
    for name in _NUMBERS:
        known = [r[name] for r in answer.rows if r.get(name) is not None]
        if known:
            row[name] = math.fsum(known) / len(known)
    answer.row = row


def _amount(value: Any) -> float | None:
    """Return a number that counts something, None for the not-a-number of tables."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            raise ValueError(f"is {value[:40]!r}; must be a number") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"is of type {type(value).__name__}; must be a number")
    if value != value:
        return None
    if not is_number(value) or not 0 <= value <= _MAX_AMOUNT:
        shown = str(value).removesuffix(".0")[:40]
        raise ValueError(f"is {shown}; must be from 0 to {_MAX_AMOUNT:g}")
    return float(value)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _place(file: str, row: int | None) -> str:
    return file if row is None else f"{file}, row {row}"


def count_reasons(left_out: Iterable[LeftOut]) -> Counter[str]:
    """Return how many rows each reason left out."""
    counts: Counter[str] = Counter()
    for item in left_out:
        counts[item.reason] += item.n_rows
    return counts
