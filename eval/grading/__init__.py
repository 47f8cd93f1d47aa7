"""Grading of answers: from what a model wrote to a quality in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches

from router.errors import ConfigError
from router.eval.grading.choice import MultipleChoice
from router.eval.grading.custom import GRADER_GROUP, installed_grader
from router.eval.grading.number import NumberMatch
from router.eval.grading.pattern import PatternMatch
from router.eval.grading.program import ProgramTests
from router.eval.grading.records import Grade, Grader, GradingItem
from router.eval.grading.sandbox import SandboxLimits
from router.eval.grading.structured import FieldMatch, SchemaMatch
from router.eval.grading.text import ExactMatch, NormalisedMatch, WordOverlap

__all__ = ["GRADERS", "Grade", "Grader", "GradingItem", "make_grader"]

_SANDBOX = ("time_s", "memory_mb", "file_mb", "folder_mb")


def _program(**limits: float) -> ProgramTests:
    whole = {k: v if k == "time_s" else int(v) for k, v in limits.items()}
    return ProgramTests(SandboxLimits(**whole))  # type: ignore[arg-type]


GRADERS: dict[str, tuple[Callable[..., Grader], tuple[str, ...]]] = {
    "choice": (MultipleChoice, ()),
    "code": (_program, _SANDBOX),
    "exact": (ExactMatch, ()),
    "f1": (WordOverlap, ()),
    "json_fields": (FieldMatch, ()),
    "json_schema": (SchemaMatch, ()),
    "number": (NumberMatch, ("relative", "absolute")),
    "regex": (PatternMatch, ()),
    "text": (NormalisedMatch, ()),
}
"""Graders that need no model, by name, with the numbers that may follow."""


def make_grader(text: str) -> Grader:
    """Make a grader from its name and settings.

    Parameters
    ----------
    text : str
        Such as ``"choice"``, ``"number:relative=0.01"``, ``"code:time_s=5,memory_mb=256"`` or the
        name that an installed package registers in ``wattroute.graders``.

    Returns
    -------
    Grader
        Ready to grade.

    Raises
    ------
    ConfigError
        If there is no such grader, or a setting is unknown or no number.

    Examples
    --------
    >>> make_grader("number:relative=0.01").grade(GradingItem("6 * 7?", "42.1", 42)).quality
    1.0
    """
    name, _, rest = text.partition(":")
    if name not in GRADERS:
        try:
            return installed_grader(name)
        except ConfigError as error:
            close = get_close_matches(name, GRADERS, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"use {', '.join(GRADERS)}"
            raise ConfigError(f"no grader {name!r}: {hint} ({GRADER_GROUP}: {error})") from error
    make, known = GRADERS[name]
    settings = {}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        if key not in known:
            raise ConfigError(
                f"grader {name!r} has no setting {key!r}: "
                + (f"use {', '.join(known)}" if known else "it has none")
            )
        try:
            settings[key] = float(value)
        except ValueError as error:
            raise ConfigError(f"grader {name!r}: {key} is {value!r}, not a number") from error
    return make(**settings)
