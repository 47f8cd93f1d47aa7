"""The decision log: one JSON object a line for each decision and each grade.

``{"kind": "decision", "request_id": ..., "model": ..., "prompt_sha256": ..., ...}``
    what was decided, what it was expected to take and what it took; the prompt itself only
    where the operator asked for it
``{"kind": "feedback", "request_id": ..., "quality": ...}``
    the grade of an answer that a client sent later; the last one counts

A line is appended with one system call, so several processes may write to one file. A full disk may
cut a line off; the next one then begins with a line end. The file is never rotated here: move it
away, and within a second a new one is begun.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from router.errors import ConfigError, DataError
from router.serve.json_body import finite

__all__ = ["DecisionLog", "graded_runs", "read_log"]

# how its lines begin, be they cut off later
_BEGINNINGS = (b'{"kind":"decision",', b'{"kind":"feedback",')


class DecisionLog:
    """Appends to a decision log.

    Parameters
    ----------
    path : str or Path, optional
        The file, made with access for its owner alone; nothing is kept where absent.

    Raises
    ------
    ConfigError
        If it cannot be written.
    """

    def __init__(self, path: str | Path | None = None) -> None:
        self.path: Path | None = None if path is None else Path(path)
        self.n_lost: int = 0
        self._file = -1
        self._stump = False
        if self.path is not None:
            try:
                self._file = self._open()
            except OSError as error:
                raise ConfigError(
                    f"the decision log {path} cannot be written ({error.strerror}): "
                    "choose another file"
                ) from error

    def append(self, record: Mapping[str, Any]) -> bool:
        """Append one record.

        Parameters
        ----------
        record : mapping
            JSON types; numbers that JSON lacks become null.

        Returns
        -------
        bool
            Whether it was kept; a full disk loses lines, never requests.
        """
        if self._file < 0:
            return self.path is None
        try:
            text = json.dumps(record, separators=(",", ":"), allow_nan=False)
        except ValueError:
            text = json.dumps(finite(record), separators=(",", ":"))
        line = text.encode() + b"\n"
        if self._stump:
            line = b"\n" + line
        try:
            kept = os.write(self._file, line) == len(line)
        except OSError as error:
            kept = False
            if not self.n_lost:
                logging.getLogger(__name__).error("decision log %s: %s", self.path, error.strerror)
        self.n_lost += not kept
        self._stump = not kept
        return kept

    def follow(self) -> None:
        """Begin a new file if the one written to was moved away or removed."""
        if self.path is None:
            return
        try:
            there = os.stat(self.path)
            here = os.fstat(self._file) if self._file >= 0 else None
            if here and (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
                return
        except FileNotFoundError:
            pass
        except OSError:
            return
        try:
            moved, self._file = self._file, self._open()
        except OSError:
            return  # the old file is better than none
        if moved >= 0:
            os.close(moved)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _open(self) -> int:
        assert self.path is not None
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        opened = os.open(self.path, flags, 0o600)
        self._stump = _ends_in_a_stump(self.path)
        return opened


def _ends_in_a_stump(path: Path) -> bool:
    """Return whether the last line of a file has no end."""
    try:
        if not path.is_file() or not path.stat().st_size:
            return False
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() != b"\n"
    except OSError:  # one that may be written and not read
        return False


def read_log(paths: Iterable[str | Path]) -> Iterator[dict[str, Any]]:
    """Read decision logs.

    Parameters
    ----------
    paths : iterable of path
        The files, in the order in which they were written.

    Yields
    ------
    dict
        The records. Lines that were cut off are left out.

    Raises
    ------
    DataError
        If any other line is no JSON object; the file and the line are named.
    """
    for path in paths:
        with Path(path).open("rb") as lines:
            for row, line in enumerate(lines, 1):
                if not line.strip():
                    continue
                try:
                    record = json.loads(line.decode())
                except (ValueError, RecursionError) as error:
                    if line.startswith(_BEGINNINGS) or not line.endswith(b"\n"):
                        continue
                    raise DataError(
                        f"the line is not JSON ({error}): is this a decision log?",
                        file=str(path),
                        row=row,
                    ) from error
                if not isinstance(record, dict):
                    raise DataError("the line is not a JSON object", file=str(path), row=row)
                yield record


def graded_runs(paths: Iterable[str | Path]) -> Iterator[dict[str, Any]]:
    """Return the evaluation runs that decision logs hold.

    Parameters
    ----------
    paths : iterable of path
        The files; grades may be in another one than their decisions.

    Yields
    ------
    dict
        One run for each prompt and model with an answer, a logged prompt and a grade, under the
        columns of evaluation runs: ``prompt``, ``model`` (its name in the runs that the router
        was trained on), ``quality``, ``prompt_tokens``, ``completion_tokens``, ``latency_s``
        and ``source``. Of several answers it has the means.

    Raises
    ------
    DataError
        If a line is not one of a decision log.
    """
    files = [Path(path) for path in paths]
    grades: dict[str, float] = {}
    for record in read_log(files):
        if record.get("kind") == "feedback":
            grades[record["request_id"]] = record["quality"]
    means: dict[tuple[bytes, str], _Means] = {}
    for key, record in _graded(files, grades):
        means.setdefault(key, _Means()).add(record, grades[record["request_id"]])
    for key, record in _graded(files, grades):
        known = means.pop(key, None)
        if known is not None:
            run = {"prompt": _whole_text(record["prompt"]), "model": key[1], **known.of()}
            yield {**run, "source": "decision log"}


class _Means:
    """Means of the figures of several answers."""

    def __init__(self) -> None:
        self._figures: dict[str, list[float]] = {}

    def add(self, record: Mapping[str, Any], quality: float) -> None:
        usage = record.get("usage") or {}
        figures = {
            "quality": quality,
            "prompt_tokens": usage.get("prompt_tokens"),
            "completion_tokens": usage.get("completion_tokens"),
            "latency_s": record.get("latency_s"),
        }
        for name, figure in figures.items():
            if figure is not None:
                self._figures.setdefault(name, []).append(figure)

    def of(self) -> dict[str, float]:
        return {name: sum(found) / len(found) for name, found in self._figures.items()}


def _graded(
    files: Iterable[Path], grades: Mapping[str, float]
) -> Iterator[tuple[tuple[bytes, str], dict[str, Any]]]:
    """Yield the graded decisions with what tells one prompt and model from another."""
    for record in read_log(files):
        answered = record.get("kind") == "decision" and record.get("outcome") == "answered"
        if answered and record.get("prompt") is not None and record.get("request_id") in grades:
            prompt = json.dumps(record["prompt"], sort_keys=True).encode()
            model = record.get("run_name") or record["model"]
            yield (hashlib.sha256(prompt).digest(), model), record


def _whole_text(prompt: Any) -> Any:
    """Replace halves of surrogate pairs, which no file of runs may have."""
    text = json.dumps(prompt, ensure_ascii=False)
    return json.loads(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace"))
