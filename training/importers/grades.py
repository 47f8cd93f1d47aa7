"""Grades of other tools as qualities in [0, 1]."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from router.errors import ConfigError

__all__ = ["Scale", "is_number"]

_WORDS = {"true": 1.0, "yes": 1.0, "pass": 1.0, "false": 0.0, "no": 0.0, "fail": 0.0}
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Scale:
    """The range that grades have.

    Attributes
    ----------
    low : float
        The grade of an answer that is worth nothing. May be above `high`, for grades of
        which less is better.
    high : float
        The grade of a perfect answer.
    """

    low: float = 0.0
    high: float = 1.0

    @classmethod
    def parse(cls, text: str) -> Scale:
        """Return the scale that ``LOW:HIGH`` says.

        Raises
        ------
        ConfigError
            If the text does not say two different numbers.

        Examples
        --------
        >>> Scale.parse("1:10").quality(10)
        1.0
        """
        low, colon, high = text.partition(":")
        try:
            scale = cls(float(low), float(high))
        except ValueError:
            colon = ""
        if not colon or not math.isfinite(scale.high - scale.low) or scale.low == scale.high:
            raise ConfigError(f"--scale {text!r}: must be LOW:HIGH, two different numbers")
        return scale

    def quality(self, grade: Any) -> float:
        """Return the quality of a grade.

        Parameters
        ----------
        grade : object
            A number, a truth value (1 and 0 on any scale), or a text that says one.

        Returns
        -------
        float
            In [0, 1].

        Raises
        ------
        ValueError
            Says why `grade` is none, without its place.

        Examples
        --------
        >>> Scale().quality(True), Scale(0, 10).quality("7.5"), Scale().quality("no")
        (1.0, 0.75, 0.0)
        """
        if isinstance(grade, str):
            word = grade.strip().lower()
            if word in _WORDS:
                return _WORDS[word]
            try:
                grade = float(word)
            except ValueError:
                raise ValueError(f"is {_shown(grade)}, which is no grade") from None
        if isinstance(grade, bool):
            return float(grade)
        if grade is None:
            raise ValueError("is missing")
        if not isinstance(grade, int | float):
            raise ValueError(f"is {_shown(grade)}, which is no grade")
        if not is_number(grade):
            raise ValueError(f"is {_shown(grade)}, which is no grade")
        quality = (grade - self.low) / (self.high - self.low)
        if not -_ROUNDING <= quality <= 1 + _ROUNDING:
            raise ValueError(
                f"is {grade:g}, outside {self.low:g} to {self.high:g}: say the range of the "
                "grades with --scale LOW:HIGH"
            )
        return min(max(quality, 0.0), 1.0)


def is_number(value: Any) -> bool:
    """Whether a value of JSON is a truth value or a finite number.

    Examples
    --------
    >>> is_number(True), is_number(0.5), is_number("1"), is_number(float("nan"))
    (True, True, False, False)
    """
    if not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond any float
        return False


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
