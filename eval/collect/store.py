"""The folder of a collection: what was asked, how, and every answer.

::

    OUT/
    ├── runs.jsonl or runs.parquet   the evaluation runs, for ``wattroute train OUT``
    └── collect/
        ├── prompts.jsonl            what is asked
        ├── answers.jsonl            header, then settings of models, answers, failed tries, skips
        ├── grades.jsonl             grades
        └── lock                     held by the collector at work
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from router.errors import ConfigError, DataError
from router.eval.collect.answers import Answer, FailedTry, Skip
from router.eval.collect.log_file import LogFile
from router.eval.collect.settings import AskSettings
from router.eval.suites import SuitePrompt, read_prompts

__all__ = ["AnswerStore", "StoredState", "stored_source"]

_FORMAT = 1


@dataclass(slots=True)
class StoredState:
    """What a folder holds already; answers are kept without their text.

    Attributes
    ----------
    source : str
        Where the prompts come from.
    prompts_digest : str
        Digest of what is asked.
    models : dict of str to dict
        What decides the answers of each model.
    answers : dict of (str, str) to Answer
        By model and prompt key.
    failures : list of FailedTry
        Requests that gave no answer.
    skips : dict of (str, str) to Skip
        By model and prompt key.
    """

    source: str = ""
    prompts_digest: str = ""
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    failures: list[FailedTry] = field(default_factory=list)
    skips: dict[tuple[str, str], Skip] = field(default_factory=dict)

    @property
    def n_requests(self) -> int:
        """Requests that were sent, those without an answer included."""
        return len(self.answers) + len(self.failures)

    @property
    def asked_at(self) -> list[float]:
        """Unix times of all requests in seconds, sorted."""
        times = [answer.asked_at for answer in self.answers.values()]
        return sorted(times + [failure.asked_at for failure in self.failures])


class AnswerStore:
    """The folder of a collection, held by this process alone.

    Parameters
    ----------
    out : path
        Folder for the runs; what is collected goes to its folder ``collect``.

    Attributes
    ----------
    state : StoredState
        What is stored.
    notes : list of str
        What was repaired.

    Raises
    ------
    ConfigError
        If the folder cannot be made or another collector works on it.
    DataError
        With file and line, if a stored line is damaged.
    """

    def __init__(self, out: str | os.PathLike[str]) -> None:
        self.out: Path = Path(out)
        self.folder: Path = self.out / "collect"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{self.folder} cannot be made: {error.strerror}") from error
        self._lock = _lock(self.folder / "lock")
        self.notes: list[str] = []
        try:
            self._log = LogFile(self.answers_file)
            self.state: StoredState = _read_state(self.answers_file)
            if self._log.torn is not None:
                self.notes.append(f"{self.answers_file}: {self._log.torn}")
        except BaseException:
            self._lock.close()
            raise

    @property
    def answers_file(self) -> Path:
        """File of the answers."""
        return self.folder / "answers.jsonl"

    @property
    def prompts_file(self) -> Path:
        """File of the prompts."""
        return self.folder / "prompts.jsonl"

    def __enter__(self) -> AnswerStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Bring everything to the disk and give the folder free."""
        self._log.close()
        self._lock.close()

    def stored_prompts(self) -> tuple[SuitePrompt, ...]:
        """Return the prompts of the folder; none where it is new."""
        return read_prompts(self.prompts_file) if self.prompts_file.exists() else ()

    def begin(
        self, prompts: Sequence[SuitePrompt], source: str, *, accept_changes: bool = False
    ) -> None:
        """Store what is asked, or check that it is what was asked before.

        References, graders and metadata may change: they only concern grading.

        Parameters
        ----------
        prompts : sequence of SuitePrompt
            All prompts.
        source : str
            Where they come from.
        accept_changes : bool
            Whether prompts may differ from those stored. Answers to prompts that are gone stay
            stored and count no longer.

        Raises
        ------
        ConfigError
            If the prompts differ and that is not accepted.
        """
        digest = _digest(sorted(prompt.key for prompt in prompts))
        state = self.state
        changed = digest != state.prompts_digest and bool(state.answers)
        if changed and not accept_changes:
            raise ConfigError(self._differences(prompts, source))
        if digest != state.prompts_digest or source != state.source:
            header = {"format": _FORMAT, "source": source, "prompts_digest": digest}
            self._log.add({"kind": "header", **header})
            self._log.sync()
            state.source, state.prompts_digest = source, digest
        _write_whole(self.prompts_file, [prompt.to_dict() for prompt in prompts])

    def use_model(self, settings: AskSettings) -> None:
        """Store how a model is asked, or check that it is asked as before.

        Raises
        ------
        ConfigError
            If a setting that decides the answers differs.
        """
        now = settings.deciding()
        before = self.state.models.get(settings.model)
        if before == now:
            return
        if before is None or not any(model == settings.model for model, _ in self.state.answers):
            self._log.add({"kind": "model", "model": settings.model, "settings": now})
            self.state.models[settings.model] = now
            return
        what = ", ".join(
            f"{key} was {before.get(key)!r}, is {now[key]!r}"
            for key in now
            if now[key] != before.get(key)
        )
        raise ConfigError(
            f"{self.folder} has answers of {settings.model!r} with other settings: {what}. "
            "Use the settings as they were, another name for the model (--models "
            "NAME with --api-id NAME=ID), or another --out"
        )

    def answers(self) -> Iterator[Answer]:
        """Yield all stored answers with their texts."""
        for record in LogFile.records(self.answers_file):
            if record["kind"] == "answer":
                yield Answer.from_dict(record)

    def add(self, record: Answer | FailedTry | Skip) -> None:
        """Store a record."""
        kinds = {Answer: "answer", FailedTry: "failure", Skip: "skip"}
        self._log.add({"kind": kinds[type(record)], **record.to_dict()})
        _take(self.state, record)

    def sync(self, *, due: bool = False) -> None:
        """Bring all records to the disk; with `due` only if it is time to."""
        self._log.sync(due=due)

    def _differences(self, prompts: Sequence[SuitePrompt], source: str) -> str:
        before = {p.prompt_id: p.key for p in self.stored_prompts()}
        now = {p.prompt_id: p.key for p in prompts}
        n_changed = sum(before[name] != now[name] for name in before.keys() & now.keys())
        return (
            f"the prompts are not those of {self.folder}: {len(now.keys() - before.keys())} new, "
            f"{len(before.keys() - now.keys())} gone, {n_changed} changed (from {source}, before "
            f"from {self.state.source}). Use the prompts as they were, another --out, or "
            "--accept-changes to go on with these"
        )


def stored_source(out: Path) -> str | None:
    """Return where the prompts of a folder come from; None where it holds no collection."""
    folder = out / "collect"
    if not (folder / "prompts.jsonl").exists():
        return None
    return _read_state(folder / "answers.jsonl").source


def _read_state(path: Path) -> StoredState:
    state = StoredState()
    for row, record in enumerate(LogFile.records(path), 1):
        kind = record.get("kind")
        try:
            if kind == "header":
                if record["format"] != _FORMAT:
                    raise ConfigError(
                        f"{path}: format {record['format']!r} is of another version of WattRoute"
                    )
                state.source, state.prompts_digest = record["source"], record["prompts_digest"]
            elif kind == "model":
                state.models[record["model"]] = record["settings"]
            elif kind == "answer":
                _take(state, Answer.from_dict({**record, "text": "", "reasoning": None}))
            elif kind == "failure":
                _take(state, FailedTry.from_dict(record))
            elif kind == "skip":
                _take(state, Skip.from_dict(record))
            else:
                raise KeyError(kind)
        except (KeyError, TypeError) as error:
            raise DataError(
                f"a record of kind {kind!r} cannot be read", file=str(path), row=row
            ) from error
    return state


def _take(state: StoredState, record: Answer | FailedTry | Skip) -> None:
    if isinstance(record, Answer):
        state.answers[record.model, record.key] = replace(record, text="", reasoning=None)
        state.skips.pop((record.model, record.key), None)
    elif isinstance(record, FailedTry):
        state.failures.append(record)
    else:
        state.skips[record.model, record.key] = record


def _lock(path: Path) -> Any:
    """Hold a file until it is closed; a killed process lets go of it."""
    file = path.open("a+")
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        with contextlib.suppress(OSError):
            file.close()
        raise ConfigError(
            f"another collector is at work on {path.parent}: wait for it, or use another --out"
        ) from error
    return file


def _write_whole(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a JSONL file that is complete or not there."""
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row) + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:24]
