"""Grading stored answers, and keeping the grades apart from them."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from router.errors import ConfigError, DataError, UpstreamError
from router.eval.collect.answers import Answer
from router.eval.collect.log_file import LogFile, TornTail
from router.eval.grading import Grade, Grader, GradingItem
from router.eval.grading.judge import NoVerdictError, PairwiseJudge, ReferenceFreeJudge
from router.eval.grading.program import ProgramTests
from router.eval.suites import SuitePrompt

__all__ = ["GradeStore", "Graders", "GradingOutcome", "check_references", "grade_answers"]

_SUITE_GRADERS = ("reasoning_gym",)
_WAITING = (ReferenceFreeJudge, PairwiseJudge, ProgramTests)
_CHUNK = 200


class Graders:
    """The grader of each prompt.

    Parameters
    ----------
    make : callable
        Makes a grader from its text.
    default : str, optional
        For prompts that name none, and for those of suites in place of the suite's own.
    """

    def __init__(self, make: Callable[[str], Grader], default: str | None = None) -> None:
        self._make = make
        self._default = default
        self._made: dict[str, Grader] = {}

    def of(self, prompt: SuitePrompt) -> Grader:
        """Return the grader of a prompt.

        Raises
        ------
        ConfigError
            If there is none.
        """
        name = prompt.grader
        if name is None or (self._default is not None and name in _SUITE_GRADERS):
            name = self._default
        if name is None:
            raise ConfigError(
                f"{_where(prompt)} names no grader: give one with --grader, or in its row"
            )
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def close(self) -> None:
        """End what graders keep running."""
        for grader in self._made.values():
            close = getattr(grader, "close", None)
            if close is not None:
                close()


@dataclass(frozen=True, slots=True)
class _Check:
    """Asks a grader whether it can grade, where that is less work than to grade."""

    name: str
    check: Callable[[GradingItem], None]

    def grade(self, item: GradingItem) -> Grade:
        self.check(item)
        return Grade(0.0, "can be graded")


@dataclass(slots=True)
class GradingOutcome:
    """Grades of a collection.

    Attributes
    ----------
    grades : dict of (str, str) to Grade
        By model and prompt key.
    answers : dict of (str, str) to Answer
        The graded answers, without their texts.
    n_new : int
        Grades that were made now.
    n_truncated : Counter of str
        By model, answers that were cut off and have no grade.
    ungraded : list of str
        Why other answers have no grade.
    """

    grades: dict[tuple[str, str], Grade] = field(default_factory=dict)
    answers: dict[tuple[str, str], Answer] = field(default_factory=dict)
    n_new: int = 0
    n_truncated: Counter[str] = field(default_factory=Counter)
    ungraded: list[str] = field(default_factory=list)


class GradeStore:
    """Grades in a file that is only added to; the last grade of an answer counts.

    Parameters
    ----------
    path : Path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self._log = LogFile(path)
        self.torn: TornTail | None = self._log.torn
        self._known: dict[str, Grade] = {}
        for record in LogFile.records(path):
            self._known[record["of"]] = Grade(record["quality"], record["reason"])

    def find(self, of: str) -> Grade | None:
        """Return the grade of what `_identity` names."""
        return self._known.get(of)

    def add(self, of: str, answer: Answer, grader: str, grade: Grade) -> None:
        """Store a grade."""
        self._known[of] = grade
        self._log.add(
            {
                "model": answer.model,
                "prompt_id": answer.prompt_id,
                "grader": grader,
                "quality": grade.quality,
                "reason": grade.reason,
                "of": of,
            }
        )

    def close(self) -> None:
        """Bring everything to the disk."""
        self._log.close()


def check_references(prompts: Sequence[SuitePrompt], graders: Graders) -> None:
    """Find prompts whose answers could not be graded, before anything is asked.

    Parameters
    ----------
    prompts : sequence of SuitePrompt
        What is to be asked.
    graders : Graders
        What grades the answers.

    Raises
    ------
    DataError
        With file, row and field, if a reference cannot be used.
    """
    for prompt in prompts:
        grader = graders.of(prompt)
        if isinstance(grader, (ReferenceFreeJudge, PairwiseJudge)):
            continue
        if isinstance(grader, ProgramTests) and prompt.reference:
            continue  # found wrong by running it alone, which takes as long as grading
        check = getattr(grader, "check", None)
        _grade(grader if check is None else _Check(grader.name, check), prompt, "")


def grade_answers(
    answers: Iterable[Answer],
    prompts: Mapping[str, SuitePrompt],
    graders: Graders,
    store: GradeStore,
    *,
    again: bool = False,
    grade_truncated: bool = False,
    baseline_answers: Mapping[str, str] | None = None,
    n_threads: int = 4,
    progress: Callable[[str], None] | None = None,
) -> GradingOutcome:
    """Grade answers, those only that have no grade yet.

    Parameters
    ----------
    answers : iterable of Answer
        With their texts.
    prompts : mapping of str to SuitePrompt
        By key; answers to other prompts are left out.
    graders : Graders
        What grades them.
    store : GradeStore
        Where grades are kept.
    again : bool
        Whether to grade those again that have a grade.
    grade_truncated : bool
        Whether to grade answers that the limit on tokens cut off.
    baseline_answers : mapping of str to str, optional
        By prompt key, the answers that a pairwise judge compares with.
    n_threads : int
        Answers that judges and code tests work on at a time.
    progress : callable, optional
        Told how far it is.

    Returns
    -------
    GradingOutcome
        All grades, old and new.

    Raises
    ------
    DataError
        If a grader cannot use a reference. Grades up to there are stored.
    """
    outcome = GradingOutcome()
    with ThreadPoolExecutor(n_threads) as pool:
        chunk: list[tuple[str, Answer, Grader, SuitePrompt]] = []

        def finish() -> None:
            waiting = [job for job in chunk if isinstance(job[2], _WAITING)]
            at_once = [job for job in chunk if not isinstance(job[2], _WAITING)]
            found = [
                (job, pool.submit(_try_grade, job[2], job[3], job[1].text, baseline_answers))
                for job in waiting
            ]
            for job in at_once:
                _keep(job, _try_grade(job[2], job[3], job[1].text, None))
            for job, future in found:
                _keep(job, future.result())
            chunk.clear()

        def _keep(job: tuple[str, Answer, Grader, SuitePrompt], grade: Grade | str) -> None:
            of, answer, grader, _ = job
            if isinstance(grade, str):
                outcome.ungraded.append(f"{answer.model}, {answer.prompt_id}: {grade}")
                return
            store.add(of, answer, grader.name, grade)
            outcome.grades[answer.model, answer.key] = grade
            outcome.n_new += 1
            if progress is not None and outcome.n_new % 1000 == 0:
                progress(f"graded {outcome.n_new:,} answers")

        for answer in answers:
            prompt = prompts.get(answer.key)
            if prompt is None:
                continue
            outcome.answers[answer.model, answer.key] = answer
            if answer.truncated and not grade_truncated:
                outcome.n_truncated[answer.model] += 1
                continue
            grader = graders.of(prompt)
            against = (baseline_answers or {}).get(answer.key, "")
            of = _identity(answer, prompt, grader, against)
            known = None if again else store.find(of)
            if known is not None:
                outcome.grades[answer.model, answer.key] = known
                continue
            chunk.append((of, answer, grader, prompt))
            if len(chunk) >= _CHUNK:
                finish()
        finish()
    return outcome


def _try_grade(
    grader: Grader, prompt: SuitePrompt, text: str, baselines: Mapping[str, str] | None
) -> Grade | str:
    """Return the grade, or why there is none."""
    try:
        extra = {}
        if baselines is not None and prompt.key in baselines:
            extra["baseline_answer"] = baselines[prompt.key]
        return _grade(grader, prompt, text, extra)
    except (NoVerdictError, UpstreamError) as error:
        return str(error)


def _grade(
    grader: Grader, prompt: SuitePrompt, text: str, extra: Mapping[str, Any] | None = None
) -> Grade:
    metadata = {**prompt.metadata, **(extra or {})}
    try:
        return grader.grade(GradingItem(prompt.prompt, text, prompt.reference, metadata))
    except DataError as error:
        if error.file is not None:
            raise
        raise DataError(
            f"grader {grader.name}: {error}", file=prompt.file or None, row=prompt.row
        ) from error


def _identity(answer: Answer, prompt: SuitePrompt, grader: Grader, against: str) -> str:
    """Return the digest of all that a grade depends on."""
    if not isinstance(grader, PairwiseJudge):
        against = ""
    parts = (answer.model, answer.key, answer.text, prompt.grading_key, grader.name, against)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def _where(prompt: SuitePrompt) -> str:
    row = "" if prompt.row is None else f", row {prompt.row}"
    return f"{prompt.file}{row}" if prompt.file else f"prompt {prompt.prompt_id!r}"
