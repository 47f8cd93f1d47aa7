"""What a grader sees, what it says, and the interface of graders."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from router.messages import Prompt

__all__ = ["Grade", "Grader", "GradingItem"]


@dataclass(frozen=True, slots=True)
class GradingItem:
    """One answer to grade.

    Attributes
    ----------
    prompt : Prompt
        What was asked.
    answer : str
        The model's whole answer.
    reference : object
        What the grader compares with: a text, a list of accepted ones, a number, an object, a
        schema or tests; None where it needs nothing.
    metadata : mapping
        Whatever else the prompt's row holds.
    """

    prompt: Prompt
    answer: str
    reference: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grade:
    """A graded answer.

    Attributes
    ----------
    quality : float
        From 0 to 1.
    reason : str
        Why, in a few words.

    Raises
    ------
    ValueError
        If `quality` is not in [0, 1].
    """

    quality: float
    reason: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.quality) and 0.0 <= self.quality <= 1.0):
            raise ValueError(f"quality is {self.quality!r}: a grade lies in [0, 1]")


class Grader(Protocol):
    """Turns an answer into a quality."""

    @property
    def name(self) -> str:
        """Short name with its settings, stored with every grade."""

    def grade(self, item: GradingItem) -> Grade:
        """Grade one answer; a reference that cannot be used is a DataError."""
