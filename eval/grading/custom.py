"""Graders of other packages: a Python function behind an entry point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from router.errors import ConfigError, DataError
from router.eval.grading.records import Grade, GradingItem

__all__ = ["GRADER_GROUP", "FunctionGrader", "installed_grader"]

GRADER_GROUP = "wattroute.graders"


@dataclass(frozen=True, slots=True)
class FunctionGrader:
    """Grades with a function from a :class:`GradingItem` to a number, a bool or a :class:`Grade`.

    Attributes
    ----------
    name : str
        Its name.
    function : callable
        The function.
    """

    name: str
    function: Callable[[GradingItem], Any]

    def grade(self, item: GradingItem) -> Grade:
        """Call the function; whatever it raises is a DataError that names it."""
        try:
            found = self.function(item)
            return found if isinstance(found, Grade) else Grade(float(found), self.name)
        except DataError:
            raise
        except Exception as error:
            raise DataError(f"grader {self.name!r} failed: {error!r}") from error


def installed_grader(name: str) -> FunctionGrader:
    """Return the grader that an installed package registers under a name.

    Parameters
    ----------
    name : str
        Name in the entry-point group ``wattroute.graders``.

    Returns
    -------
    FunctionGrader
        Around what the entry point names.

    Raises
    ------
    ConfigError
        If no package registers it, or it is not callable. A path to a file is never imported.
    """
    found = tuple(entry_points(group=GRADER_GROUP, name=name))
    if not found:
        known = sorted(entry_points(group=GRADER_GROUP).names)
        raise ConfigError(
            f"no grader {name!r}: installed packages register "
            f"{', '.join(known) if known else 'none'} in {GRADER_GROUP!r}"
        )
    function = found[0].load()
    if not callable(function):
        raise ConfigError(f"grader {name!r} is a {type(function).__name__}: register a function")
    return FunctionGrader(name, function)
