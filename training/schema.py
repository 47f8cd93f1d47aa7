"""The columns of evaluation runs, and how problems in them are reported."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from router.errors import DataError

__all__ = ["COLUMNS", "Column", "Problem", "RunsError", "check_columns"]

_SHOWN = 10

# beyond any request, and small enough that sums over all rows stay exact enough
_MOST_TOKENS = 1e9
_MOST_JOULES = 1e12


@dataclass(frozen=True, slots=True)
class Column:
    """One column of evaluation runs.

    Attributes
    ----------
    name : str
        Its name; the unit is part of it.
    kind : {"text", "prompt", "number", "vector"}
        What its cells hold.
    meaning : str
        What it says, in one line.
    required : bool
        Whether every row must have it.
    high : float, optional
        The largest number allowed. The least is 0 for every number.
    """

    name: str
    kind: Literal["text", "prompt", "number", "vector"]
    meaning: str
    required: bool = False
    high: float | None = None


COLUMNS: dict[str, Column] = {
    column.name: column
    for column in (
        Column("prompt", "prompt", "text, or chat messages in OpenAI's shape", required=True),
        Column("model", "text", "name of the model that answered", required=True),
        Column("quality", "number", "grade of the answer in [0, 1]", required=True, high=1.0),
        Column("prompt_id", "text", "stable id of the prompt; its hash where absent"),
        Column("prompt_tokens", "number", "tokens of the prompt", high=_MOST_TOKENS),
        Column("completion_tokens", "number", "tokens of the answer", high=_MOST_TOKENS),
        Column("energy_j", "number", "measured energy of the request in joules", high=_MOST_JOULES),
        Column("task", "text", "label of the kind of prompt"),
        Column("source", "text", "where the run comes from"),
        Column("split", "text", "split that the source assigned"),
        Column("cost_usd", "number", "price paid for the request in US dollars"),
        Column("latency_s", "number", "time until the answer was complete in seconds"),
        Column("embedding", "vector", "embedding of the prompt"),
    )
}
"""Every column that evaluation runs may have, by name."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with evaluation runs.

    Attributes
    ----------
    kind : str
        The class of problem that the summary counts it under.
    reason : str
        What is wrong here.
    file : str
        The file it is in.
    row : int, optional
        The row, counted from 1 without a header; the line number in JSONL. None if the
        whole file is concerned, which no skipping of rows mends.
    field : str, optional
        The column.
    """

    kind: str
    reason: str
    file: str
    row: int | None = None
    field: str | None = None

    def __str__(self) -> str:
        row = "" if self.row is None else f", row {self.row}"
        field = "" if self.field is None else f", field {self.field!r}"
        return f"{self.file}{row}{field}: {self.reason}"


class RunsError(DataError):
    """Evaluation runs do not follow the schema; holds all problems found.

    ``file``, ``row`` and ``field`` are those of the first problem.

    Parameters
    ----------
    problems : sequence of Problem
        All of them, at least one, in the order of the files and rows.

    Attributes
    ----------
    problems : tuple of Problem
        The same.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        first = self.problems[0]
        super().__init__(
            f"{first.reason}\n{_summary(self.problems)}",
            file=first.file,
            row=first.row,
            field=first.field,
        )

    def __reduce__(self) -> tuple[type[RunsError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


def check_columns(names: Sequence[str], file: str) -> list[Problem]:
    """Return what is wrong with the column names of one file.

    Parameters
    ----------
    names : sequence of str
        The names that the file has.
    file : str
        The file, for the messages.

    Returns
    -------
    list of Problem
        One for each unknown, repeated or missing column.

    Examples
    --------
    >>> [problem.reason for problem in check_columns(["prompt", "model", "qualty"], "a.csv")]
    ["unknown column 'qualty': did you mean 'quality'?", "there is no column 'quality'"]
    """
    problems = []
    for name, count in Counter(names).items():
        if name not in COLUMNS:
            reason = f"unknown column {name!r}: {_advice(name, names)}"
            problems.append(Problem("unknown column", reason, file, field=name))
        elif count > 1:
            reason = f"{count} columns are called {name!r}"
            problems.append(Problem("repeated column", reason, file, field=name))
    for name, column in COLUMNS.items():
        if column.required and name not in names:
            reason = f"there is no column {name!r}"
            problems.append(Problem("missing column", reason, file, field=name))
    return problems


def _advice(name: str, names: Sequence[str]) -> str:
    if not name.strip():
        return "a column without a name, as pandas writes its index; write with index=False"
    if len(names) == 1 and any(mark in name for mark in ";\t|"):
        return "columns must be separated by commas"
    wanted = [column for column in COLUMNS if column not in names]
    close = difflib.get_close_matches(name.strip().lower(), wanted, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"remove it; known columns are {', '.join(COLUMNS)}"


def _summary(problems: Sequence[Problem]) -> str:
    """Count the problems of each kind and show the first few."""
    kinds = Counter((problem.field, problem.kind) for problem in problems)
    files = {problem.file for problem in problems}
    rows = {(problem.file, problem.row) for problem in problems if problem.row is not None}
    lines = [f"{_count(len(problems), 'problem')} in {_count(len(files), 'file')}:"]
    for (field, kind), count in kinds.most_common(_SHOWN):
        lines.append(f"  {count:,} x {kind if field is None else f'{field}: {kind}'}")
    if len(kinds) > _SHOWN:
        lines.append(f"  and {_count(len(kinds) - _SHOWN, 'other kind')}")
    if len(problems) > 1:
        lines.append("The first:")
        lines.extend(_indented(problems[:_SHOWN]))
    if len(rows) and all(problem.row is not None for problem in problems):
        lines.append(
            f"Correct {_count(len(rows), 'row')}, or set such rows aside with on_bad='skip' "
            "(--on-bad skip)."
        )
    return "\n".join(lines)


def _indented(problems: Iterable[Problem]) -> list[str]:
    return [f"  {problem}" for problem in problems]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
