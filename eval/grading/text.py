"""Graders that compare texts: exact, normalised, overlap of words."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from dataclasses import dataclass
from typing import Any

from router.errors import DataError
from router.eval.grading.final_answer import final_answer
from router.eval.grading.records import Grade, GradingItem

__all__ = ["ExactMatch", "NormalisedMatch", "WordOverlap", "accepted_texts", "normalised"]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, slots=True)
class ExactMatch:
    """1 where the final answer is the reference, character for character."""

    name: str = "exact"

    def grade(self, item: GradingItem) -> Grade:
        """Compare with a text or with any of a list."""
        answer = final_answer(item.answer)
        right = answer in [text.strip() for text in accepted_texts(item.reference)]
        return Grade(float(right), "equal" if right else f"{_short(answer)} is another text")


@dataclass(frozen=True, slots=True)
class NormalisedMatch:
    """1 where both are equal without case, punctuation, articles and spacing.

    The normalisation is SQuAD's (Rajpurkar et al., 2016), after Unicode's NFKC.
    """

    name: str = "text"

    def grade(self, item: GradingItem) -> Grade:
        """Compare with a text or with any of a list."""
        answer = normalised(final_answer(item.answer))
        right = answer in [normalised(text) for text in accepted_texts(item.reference)]
        return Grade(float(right), "equal" if right else f"{_short(answer)} is another text")


@dataclass(frozen=True, slots=True)
class WordOverlap:
    """F1 of the words in common, the best over the accepted references."""

    name: str = "f1"

    def grade(self, item: GradingItem) -> Grade:
        """Compare with a text or with each of a list."""
        answer = normalised(final_answer(item.answer)).split()
        best = max(_f1(answer, normalised(t).split()) for t in accepted_texts(item.reference))
        return Grade(best, f"F1 {best:.2f}")


def accepted_texts(reference: Any) -> list[str]:
    """Return the texts that a reference accepts.

    Parameters
    ----------
    reference : str, number or list of them
        What the prompt's row holds.

    Returns
    -------
    list of str
        At least one.

    Raises
    ------
    DataError
        If there is no text in it.
    """
    values = reference if isinstance(reference, list) else [reference]
    texts = [str(v) for v in values if isinstance(v, (str, int, float)) and v is not True]
    if not texts or len(texts) != len(values):
        raise DataError(
            f"reference is {reference!r}: give a text or a list of texts", field="reference"
        )
    return texts


def normalised(text: str) -> str:
    """Return a text without case, punctuation, articles and repeated white space.

    Examples
    --------
    >>> normalised("The  Eiffel-Tower!")
    'eiffeltower'
    """
    folded = unicodedata.normalize("NFKC", text).casefold().translate(_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", folded).split())


def _f1(answer: list[str], reference: list[str]) -> float:
    if not answer or not reference:
        return float(answer == reference)
    common = sum((Counter(answer) & Counter(reference)).values())
    return 2 * common / (len(answer) + len(reference))


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
