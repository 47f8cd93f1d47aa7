"""The description of evaluation runs: all its parts, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from router.eval.json_types import json_types
from router.eval.runs_description.answers import Coverage, ModelAnswers
from router.eval.runs_description.headroom import Headroom
from router.eval.runs_description.label_noise import MIN_PROMPTS, LabelNoise
from router.eval.runs_description.ladder import Ladder
from router.eval.runs_description.prompt_repeats import Leak, PromptRepeats

__all__ = ["Grading", "RunsDescription"]

_OPPOSED = 0.9


@dataclass(frozen=True, slots=True)
class Grading:
    """What reading the runs showed beside their answers.

    Attributes
    ----------
    files : tuple of str
        The files.
    n_rows : int
        Rows read, good or bad.
    n_repeated : int
        Rows that give an answer another row gives too.
    n_bad : int
        Rows that do not follow the schema, those of contradictory grades apart.
    n_contradictory : int
        Rows whose answer has another grade in another row.
    examples : tuple of str
        A few of the bad and the contradictory rows, with file, row and reason.
    truncated : mapping of str to int or None
        Answers of each model that are marked as cut off and so not graded; None where nothing
        marks them.
    """

    files: tuple[str, ...] = ()
    n_rows: int = 0
    n_repeated: int = 0
    n_bad: int = 0
    n_contradictory: int = 0
    examples: tuple[str, ...] = ()
    truncated: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class RunsDescription:
    """What evaluation runs look like.

    Attributes
    ----------
    n_prompts, n_models, n_answers : int
        Prompts, models and graded answers.
    n_complete : int
        Prompts that every model was graded on.
    grading : Grading
        What reading showed.
    models : tuple of str
        The columns of the coverage, in their order.
    by_task, by_source : tuple of Coverage
        Share of prompts that each model was graded on; by source only where sources are known.
    answers : tuple of ModelAnswers
        Qualities and lengths of each model.
    repeats : PromptRepeats
        Prompts that are there more than once.
    leaks : tuple of Leak
        Prompts on both sides of a split.
    noise : LabelNoise
        How far grades go with chance.
    pool : tuple of str
        Models whose energy is known, which the ladder and the headroom are for.
    ladder : Ladder or None
        Which model is the smallest right one.
    headroom : Headroom or None
        What the zero router and the oracle save.
    without_energy : str
        Why the last two are missing, if they are.
    """

    n_prompts: int
    n_models: int
    n_answers: int
    n_complete: int
    grading: Grading
    models: tuple[str, ...]
    by_task: tuple[Coverage, ...]
    by_source: tuple[Coverage, ...]
    answers: tuple[ModelAnswers, ...]
    repeats: PromptRepeats
    leaks: tuple[Leak, ...]
    noise: LabelNoise
    pool: tuple[str, ...] = ()
    ladder: Ladder | None = None
    headroom: Headroom | None = None
    without_energy: str = ""

    def findings(self) -> tuple[str, ...]:
        """Return what makes figures from these runs wrong, a sentence each.

        Returns
        -------
        tuple of str
            Bad rows, contradictory grades, prompts on both sides of a split; empty where all is
            well.
        """
        found = []
        if self.grading.n_bad:
            found.append(f"{_count(self.grading.n_bad, 'row')} cannot be used")
        if self.grading.n_contradictory:
            found.append(
                f"{_count(self.grading.n_contradictory, 'row')} contradict another grade of the "
                "same answer"
            )
        for leak in self.leaks:
            if leak.found:
                near = f" and {leak.n_near:,} nearly so" if leak.n_near else ""
                found.append(
                    f"{leak.n_same:,} of {leak.n_second:,} prompts of {leak.second} are in "
                    f"{leak.first} too{near}"
                )
        return tuple(found)

    def notes(self) -> tuple[str, ...]:
        """Return what to keep in mind about these runs, a sentence each."""
        notes = []
        for model in self.answers:
            if model.kind == "constant" and model.n:
                notes.append(f"every grade of {model.model} is {model.quality.mean:g}")
            if model.at_longest:
                notes.append(
                    f"{model.at_longest:,} answers of {model.model} have exactly "
                    f"{model.longest:,.0f} tokens, its greatest length: cut off, it seems"
                )
        if self.n_complete < self.n_prompts:
            notes.append(
                f"{_count(self.n_prompts - self.n_complete, 'prompt')} of {self.n_prompts:,} "
                "lack a grade of some model"
            )
        if self.noise.near is not None and self.noise.near.unexplained > _OPPOSED:
            notes.append(
                "nearly equal prompts have grades as different as any two prompts: they are other "
                "questions, and say nothing of the noise"
            )
        if self.noise.repeated is None and self.noise.near is None:
            notes.append(
                "label noise cannot be estimated: "
                f"{_count(self.noise.n_prompts, 'prompt')} with repeated grades, "
                f"{MIN_PROMPTS} are needed"
            )
        return tuple(notes)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON types; NaN becomes None."""
        plain: dict[str, Any] = json_types(
            {"findings": self.findings(), "notes": self.notes(), **asdict(self)}
        )
        return plain


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
