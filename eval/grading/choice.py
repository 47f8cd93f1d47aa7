"""Grader of multiple choice: the letter that the model settled on."""

from __future__ import annotations

import re
from dataclasses import dataclass

from router.errors import DataError
from router.eval.grading.final_answer import final_answer, without_reasoning
from router.eval.grading.records import Grade, GradingItem
from router.eval.grading.text import normalised

__all__ = ["MultipleChoice", "chosen_letter"]

_LETTERS = "ABCDEFGHIJ"
_ALONE = re.compile(rf"^\W*(?:option|choice)?\s*\(?([{_LETTERS}{_LETTERS.lower()}])\)?\W*$", re.I)
_LEADING = re.compile(rf"^\W*(?:option\s+|choice\s+)?\(?([{_LETTERS}])(?:[).:]|\s+[-\u2013]|$)")
_BRACKETED = re.compile(rf"\(([{_LETTERS}])\)")
_ANNOUNCED = re.compile(
    rf"(?:answer|option|choice)\W{{0,4}}(?:is|:)?\W{{0,6}}\b([{_LETTERS}])\b(?!\w|')", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class MultipleChoice:
    """1 where the letter that the model settled on is the reference.

    The reference is a letter, or a number counted from 0. Where the row's metadata has
    ``choices``, an answer that repeats one of them counts as its letter.
    """

    name: str = "choice"

    def grade(self, item: GradingItem) -> Grade:
        """Compare the letters."""
        wanted = _wanted(item.reference)
        found = chosen_letter(item.answer)
        if found is None:
            found = _by_text(item)
        if found is None:
            return Grade(0.0, "no letter found")
        return Grade(float(found == wanted), f"{found}, the key is {wanted}")


def chosen_letter(text: str) -> str | None:
    """Return the letter that an answer settles on.

    Parameters
    ----------
    text : str
        What the model wrote.

    Returns
    -------
    str or None
        An upper-case letter from A to J; None where none can be told.

    Examples
    --------
    >>> chosen_letter("The answer is (C).")
    'C'
    >>> chosen_letter("I would say a cat is best.") is None
    True
    """
    final = final_answer(text)
    for pattern in (_ALONE, _LEADING):
        match = pattern.match(final)
        if match:
            return match[1].upper()
    visible = without_reasoning(text)
    announced = _ANNOUNCED.findall(visible)
    if announced and announced[-1].isupper():
        return str(announced[-1])
    bracketed = set(_BRACKETED.findall(final))
    if len(bracketed) == 1:
        return str(bracketed.pop())
    lines = visible.splitlines()
    match = _ALONE.match(lines[-1]) if lines else None
    return match[1].upper() if match else None


def _wanted(reference: object) -> str:
    if isinstance(reference, int) and not isinstance(reference, bool) and 0 <= reference < 10:
        return _LETTERS[reference]
    if isinstance(reference, str):
        match = _ALONE.match(reference)
        if match:
            return match[1].upper()
    raise DataError(
        f"reference is {reference!r}: give a letter from A to J or a number from 0 to 9",
        field="reference",
    )


def _by_text(item: GradingItem) -> str | None:
    choices = item.metadata.get("choices")
    if not isinstance(choices, list):
        return None
    answer = normalised(final_answer(item.answer))
    same = [i for i, choice in enumerate(choices) if normalised(str(choice)) == answer]
    return _LETTERS[same[0]] if len(same) == 1 and same[0] < len(_LETTERS) else None
