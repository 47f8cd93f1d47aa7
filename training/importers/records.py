"""What an importer yields: graded answers, and what it left out with the reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from router.errors import ConfigError
from router.training.importers.grades import Scale
from router.training.schema import Problem

__all__ = [
    "ImportOptions",
    "ImportedRun",
    "Importer",
    "Item",
    "LeftOut",
    "MetricChoice",
    "Note",
]


@dataclass(frozen=True, slots=True)
class ImportedRun:
    """One graded answer, as the columns of evaluation runs have it.

    Attributes
    ----------
    file, row : str, int or None
        Where it was found; rows count from 1.
    prompt : object
        Text, or chat messages in OpenAI's shape.
    model : str
        The model that answered, as the source calls it.
    grade : object
        The grade as the source has it, not yet on the scale from 0 to 1.
    grade_field : str
        What the source calls the grade.
    prompt_id, task, split, source : str, optional
        Id of the prompt, label of its kind, split that the source assigned, where the run
        comes from if not from the format itself.
    prompt_tokens, completion_tokens : object, optional
        Tokens of the request.
    energy_j, cost_usd, latency_s : object, optional
        Measured joules, US dollars and seconds of the request.
    advice : str
        What to do if the same id has another prompt elsewhere.
    """

    file: str
    row: int | None
    prompt: Any
    model: str
    grade: Any
    grade_field: str = "quality"
    prompt_id: str | None = None
    task: str | None = None
    split: str | None = None
    source: str | None = None
    prompt_tokens: Any = None
    completion_tokens: Any = None
    energy_j: Any = None
    cost_usd: Any = None
    latency_s: Any = None
    advice: str = ""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Rows that are not wrong but hold no graded answer to learn from.

    Attributes
    ----------
    reason : str
        Why; equal reasons are counted together.
    file, row : str, int or None
        Where.
    n_rows : int
        How many rows it stands for.
    """

    reason: str
    file: str
    row: int | None = None
    n_rows: int = 1


@dataclass(frozen=True, slots=True)
class Note:
    """Something to tell once, such as which grade was taken."""

    text: str


Item: TypeAlias = ImportedRun | LeftOut | Note | Problem
"""What an importer yields; a `Problem` is something wrong with a row or a file."""


@dataclass(frozen=True, slots=True)
class MetricChoice:
    """The grades to take: one for all tasks, or by task.

    Attributes
    ----------
    default : str, optional
        For all tasks that `by_task` does not name.
    by_task : mapping of str to str
        By task.
    """

    default: str | None = None
    by_task: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: tuple[str, ...]) -> MetricChoice:
        """Return the choice that ``NAME`` and ``TASK=NAME`` say.

        Raises
        ------
        ConfigError
            If a text is empty or contradicts an earlier one.

        Examples
        --------
        >>> choice = MetricChoice.parse(("acc", "gsm8k=exact_match,strict-match"))
        >>> choice.of("gsm8k"), choice.of("arc_easy")
        ('exact_match,strict-match', 'acc')
        """
        default: str | None = None
        by_task: dict[str, str] = {}
        for text in texts:
            task, equals, name = text.partition("=")
            name = name if equals else task
            if not name or not task:
                raise ConfigError(f"--metric {text!r}: must be NAME or TASK=NAME")
            known = by_task.get(task) if equals else default
            if known not in (None, name):
                raise ConfigError(f"--metric names both {known!r} and {name!r} for one task")
            if equals:
                by_task[task] = name
            else:
                default = name
        return cls(default, by_task)

    def of(self, task: str | None) -> str | None:
        """Return the grade to take for `task`, None where none was named."""
        return self.default if task is None else self.by_task.get(task, self.default)


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What a user says about the data.

    Attributes
    ----------
    metric : MetricChoice
        Which of several grades to take.
    columns : mapping of str to str
        Column of evaluation runs to the name it has in the source.
    wide : tuple of str
        Columns that each hold the grades of the model they are named after.
    scale : Scale
        The range of the grades.
    model_given : bool
        Whether the user names the model, so that the source need not.
    tracking_uri : str, optional
        MLflow store.
    """

    metric: MetricChoice = field(default_factory=MetricChoice)
    columns: Mapping[str, str] = field(default_factory=dict)
    wide: tuple[str, ...] = ()
    scale: Scale = field(default_factory=Scale)
    model_given: bool = False
    tracking_uri: str | None = None


class Importer(Protocol):
    """Reads one source of one format."""

    def __call__(self, source: Path, options: ImportOptions) -> Iterator[Item]:
        """Yield what `source` holds.

        Raises
        ------
        DataError
            If the source as a whole is not of the format, or damaged.
        ConfigError
            If an option does not fit it.
        """
        ...
