"""Grader of numbers: the last one, within a tolerance."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction

from router.errors import ConfigError, DataError
from router.eval.grading.final_answer import final_answer
from router.eval.grading.records import Grade, GradingItem

__all__ = ["NumberMatch", "read_number"]

_LATEX_FRACTION = re.compile(r"(-?)\\[dt]?frac\{([^{}]+)\}\{([^{}]+)\}")
_NUMBER = re.compile(
    r"(?<![\w.])-?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+|(?<=\d))(?:[eE][+-]?\d+)?"
    r"(?:\s*/\s*\d+(?:\.\d+)?)?"
)
_MAX_DIGITS = 400


@dataclass(frozen=True, slots=True)
class NumberMatch:
    """1 where the last number of the final answer is the reference within a tolerance.

    Thousands separators, fractions, LaTeX fractions and scientific notation are read; a per cent
    sign or a unit after the number is left out.

    Attributes
    ----------
    relative, absolute : float
        Tolerances; the larger of the two applies.

    Raises
    ------
    ConfigError
        If a tolerance is negative.
    """

    relative: float = 1e-6
    absolute: float = 1e-9

    def __post_init__(self) -> None:
        if not (self.relative >= 0 and self.absolute >= 0):
            raise ConfigError("a tolerance is negative: use 0 or more")

    @property
    def name(self) -> str:
        """Name with the tolerances."""
        return f"number:relative={self.relative:g},absolute={self.absolute:g}"

    def grade(self, item: GradingItem) -> Grade:
        """Compare with a number, or a text that has one."""
        wanted = read_number(str(item.reference)) if _is_number(item.reference) else None
        if wanted is None:
            raise DataError(f"reference is {item.reference!r}: give a number", field="reference")
        found = read_number(final_answer(item.answer))
        if found is None:
            return Grade(0.0, "no number found")
        right = math.isclose(found, wanted, rel_tol=self.relative, abs_tol=self.absolute)
        return Grade(float(right), f"{found:g}, the key is {wanted:g}")


def read_number(text: str) -> float | None:
    """Return the last number in a text.

    Parameters
    ----------
    text : str
        Such as ``"$1,234.50"``, ``"3/4"`` or ``"6.02e23 per mole"``.

    Returns
    -------
    float or None
        None where there is none, or it is not finite.

    Examples
    --------
    >>> read_number("about 1,234.5 km")
    1234.5
    >>> read_number("-3/4")
    -0.75
    """
    plain = text.replace("\u2212", "-").replace("\\,", "").replace("\\!", "").replace("{,}", ",")
    plain = _LATEX_FRACTION.sub(r"\1\2/\3", plain)
    found = [match for match in _NUMBER.findall(plain) if any(c.isdigit() for c in match)]
    if not found:
        return None
    return _value(found[-1].replace(",", "").replace(" ", ""))


def _value(text: str) -> float | None:
    if len(text) > _MAX_DIGITS:
        return None
    above, _, below = text.partition("/")
    try:
        value = float(Fraction(above) / Fraction(below)) if below else float(above)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    return value if math.isfinite(value) else None


def _is_number(reference: object) -> bool:
    return isinstance(reference, (int, float, str)) and not isinstance(reference, bool)
