"""Grader by regular expression."""

from __future__ import annotations

import re
from dataclasses import dataclass

from router.errors import DataError
from router.eval.grading.final_answer import without_reasoning
from router.eval.grading.records import Grade, GradingItem

__all__ = ["PatternMatch"]

_MAX_CHARS = 20_000


@dataclass(frozen=True, slots=True)
class PatternMatch:
    """1 where the reference, a regular expression of Python, is found in the answer.

    The expression comes with the prompts and is trusted: one that backtracks without end is
    not stopped. At most 20,000 characters of an answer are searched, the last ones.
    """

    name: str = "regex"

    def grade(self, item: GradingItem) -> Grade:
        """Search for the expression."""
        if not isinstance(item.reference, str) or not item.reference:
            raise DataError(
                f"reference is {item.reference!r}: give a regular expression", field="reference"
            )
        try:
            pattern = re.compile(item.reference, re.MULTILINE)
        except re.error as error:
            raise DataError(
                f"reference is not a regular expression: {error}", field="reference"
            ) from error
        found = pattern.search(without_reasoning(item.answer)[-_MAX_CHARS:])
        return Grade(float(found is not None), "found" if found else "not found")
