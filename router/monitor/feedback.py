"""Reading feedback: graded answers, prompts, and the proxy's decision log.

A file has one JSON object a line. A line says what was decided, how it was graded, or both:

``request_id``
    joins a grade to its decision, and makes a request count once
``model``, ``probability``
    what answered, and the probability that the router gave it; computed from ``prompt`` or
    ``messages`` where absent
``novelty``
    of the prompt; computed from it where absent
``quality``
    the grade, in [0, 1]
``quality_bar``, ``time``
    the bar that was asked for, and when; both optional

A grade without a model belongs to the decision with its ``request_id``, in any of the files. Of
several grades of one request the last counts. Other fields are ignored, and so are lines whose
``kind`` is neither ``decision`` nor ``feedback``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from router.errors import ConfigError, DataError
from router.messages import Prompt, prompt_text

__all__ = ["Feedback", "FeedbackLog", "read_feedback"]

_KINDS = ("decision", "feedback")


@dataclass(frozen=True, slots=True)
class Feedback:
    """What is known about one request.

    Attributes
    ----------
    file : str
        The file it was found in.
    row : int
        The line, from 1; the grade's where there is one.
    request_id : str or None
        Id of the request.
    model : str or None
        Id of the model that answered.
    probability : float or None
        What the router predicted for that model.
    novelty : float or None
        Novelty of the prompt.
    quality : float or None
        The grade.
    bar : float or None
        The quality bar that was asked for.
    time : float, str or None
        When it was graded, else when it was decided.
    prompt : Prompt or None
        The prompt; only kept where something has to be computed from it.
    logged : bool
        Whether it is a line of a decision log, which has models outside the pool too.
    """

    file: str
    row: int
    request_id: str | None = None
    model: str | None = None
    probability: float | None = None
    novelty: float | None = None
    quality: float | None = None
    bar: float | None = None
    time: float | str | None = None
    prompt: Prompt | None = None
    logged: bool = False

    @property
    def unpredicted(self) -> bool:
        """Whether there is neither a probability nor a prompt to compute it from."""
        return self.probability is None and self.prompt is None


@dataclass(frozen=True, slots=True)
class FeedbackLog:
    """What was read.

    Attributes
    ----------
    prompts : tuple of Feedback
        Every line with a novelty or with a prompt to compute it from, in order.
    graded : tuple of Feedback
        Every graded answer with what was decided, in the order of the first grades.
    n_rows : int
        Lines read, without blank ones and those of other kinds.
    problems : tuple of DataError
        What is wrong, with file, row and field; these lines are not in the rest.
    """

    prompts: tuple[Feedback, ...]
    graded: tuple[Feedback, ...]
    n_rows: int
    problems: tuple[DataError, ...]


def read_feedback(paths: Iterable[str | Path]) -> FeedbackLog:
    """Read feedback files.

    Parameters
    ----------
    paths : iterable of path
        JSONL files, in the order in which they were written.

    Returns
    -------
    FeedbackLog
        Prompts and graded answers, and all that is wrong.

    Raises
    ------
    ConfigError
        If a file cannot be read.
    """
    rows: list[Feedback] = []
    problems: list[DataError] = []
    n_rows = 0
    for path in paths:
        for number, line in _lines(path):
            try:
                row = _parsed(line, str(path), number)
            except DataError as error:
                problems.append(error)
                n_rows += 1
                continue
            if row is not None:
                rows.append(row)
                n_rows += 1
    graded, unjoined = _joined(rows)
    prompts = tuple(r for r in rows if r.novelty is not None or r.prompt is not None)
    return FeedbackLog(prompts, graded, n_rows, (*problems, *unjoined))


def _lines(path: str | Path) -> Iterator[tuple[int, bytes]]:
    try:
        with Path(path).open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _parsed(line: bytes, file: str, number: int) -> Feedback | None:
    """Return one line, or None if it is of another kind or is still being written."""
    try:
        found = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except (ValueError, RecursionError) as error:
        if not line.endswith(b"\n"):
            return None
        raise DataError(f"not a line of JSON: {error}", file=file, row=number) from error
    if not isinstance(found, dict):
        raise DataError("not a JSON object", file=file, row=number)
    if "kind" in found and found["kind"] not in _KINDS:
        return None
    fields = _Fields(found, file, number)
    row = Feedback(
        file=file,
        row=number,
        request_id=fields.request_id(),
        model=fields.text("model"),
        probability=fields.share("probability"),
        novelty=fields.number("novelty"),
        quality=fields.share("quality"),
        bar=fields.share("quality_bar"),
        time=fields.time(),
        logged="kind" in found,
    )
    if row.probability is None or row.novelty is None:
        row = replace(row, prompt=fields.prompt())
    # the proxy logs requests that no model was chosen for as well
    empty = all(value is None for value in (row.model, row.novelty, row.quality, row.prompt))
    if empty and found.get("kind") != "decision":
        raise DataError(
            "it says neither what was decided nor how good the answer was", file=file, row=number
        )
    return row


class _Fields:
    """The fields of one line; what is wrong with one is raised with its place."""

    def __init__(self, found: Mapping[str, Any], file: str, number: int) -> None:
        self._found = found
        self._file = file
        self._number = number

    def request_id(self) -> str | None:
        value = self._found.get("request_id")
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        return self.text("request_id")

    def text(self, name: str) -> str | None:
        value = self._found.get(name)
        if value is None or (isinstance(value, str) and value.strip()):
            return value
        raise self._wrong(name, f"{_shown(value)} is not a text")

    def number(self, name: str) -> float | None:
        value = self._found.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, f"{_shown(value)} is not a number")
        # an integer may be too large for a float
        if not -1e300 < value < 1e300:
            raise self._wrong(name, f"{_shown(value)} is not a finite number")
        return float(value)

    def share(self, name: str) -> float | None:
        value = self.number(name)
        if value is not None and not 0.0 <= value <= 1.0:
            raise self._wrong(name, f"{value!r} is not in [0, 1]")
        return value

    def time(self) -> float | str | None:
        value = self._found.get("time")
        return value if isinstance(value, str) else self.number("time")

    def prompt(self) -> Prompt | None:
        names = [name for name in ("prompt", "messages") if self._found.get(name) is not None]
        if not names:
            return None
        if len(names) > 1:
            raise self._wrong("messages", "give either 'prompt' or 'messages'")
        value = self._found[names[0]]
        if not isinstance(value, str | list):
            raise self._wrong(names[0], f"{_shown(value)} is neither a text nor chat messages")
        try:
            prompt_text(value)
        except ConfigError as error:
            if self._found.get("kind") == "decision":
                return None  # the proxy sends what the router cannot read to the default model
            raise self._wrong(names[0], str(error)) from error
        return value

    def _wrong(self, field: str, reason: str) -> DataError:
        return DataError(reason, file=self._file, row=self._number, field=field)


def _joined(rows: Sequence[Feedback]) -> tuple[tuple[Feedback, ...], list[DataError]]:
    """Return graded answers with what was decided, and grades that nothing was decided for."""
    decided: dict[str, Feedback] = {}
    for row in rows:
        if row.request_id is not None and row.model is not None:
            decided.setdefault(row.request_id, row)
    graded: dict[object, Feedback] = {}
    problems = []
    for row in rows:
        if row.quality is None:
            continue
        answer = row
        decision = None if row.request_id is None else decided.get(row.request_id)
        if decision is not None and (row.model is None or row.unpredicted):
            time = decision.time if row.time is None else row.time
            answer = replace(decision, file=row.file, row=row.row, quality=row.quality, time=time)
        if answer.model is None or (answer.unpredicted and not answer.logged):
            problems.append(_unjoined(answer))
            continue
        key = (row.file, row.row) if row.request_id is None else row.request_id
        graded[key] = answer
    return tuple(graded.values()), problems


def _unjoined(row: Feedback) -> DataError:
    if row.model is not None:
        return DataError(
            "a grade needs the probability that the router gave, or the prompt",
            file=row.file,
            row=row.row,
            field="probability",
        )
    if row.request_id is None:
        return DataError(
            "a grade needs the model that answered, or the request_id of a decision",
            file=row.file,
            row=row.row,
            field="model",
        )
    return DataError(
        f"no decision has request_id {row.request_id!r}: give the file of the decisions as well",
        file=row.file,
        row=row.row,
        field="request_id",
    )


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
