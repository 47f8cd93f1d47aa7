"""How far outcomes fall short of what was expected, and since when."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Shortfall", "ShortfallTracker"]

_Z95 = 1.959964
# Half of the four points that are worth finding: the usual choice for Page's sum.
_ALLOWED = 0.02
_NUMBERS = ("n", "total", "squares", "since", "n_since", "total_since", "squares_since", "page")


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Mean of expectation minus outcome over a part of a stream.

    Attributes
    ----------
    mean, low, high : float
        Estimate and approximate 95 % interval.
    n : int
        Observations that it rests on.
    since : int
        Position in the stream of the first of them, from 1.
    """

    mean: float
    low: float
    high: float
    n: int
    since: int


class ShortfallTracker:
    """Sums over a whole stream and over the part since the last likely change.

    The likely change is where Page's cumulative sum last was at zero; it is kept from an alarm
    on. (E. S. Page, "Continuous inspection schemes", Biometrika 41, 1954.) What begins at the
    point that looks worst looks a little worse than it is: the estimate is for orientation, the
    alarm does not rest on it.
    """

    def __init__(self) -> None:
        self.n: int = 0
        self.since: int = 0
        self.n_since: int = 0
        self.total: float = 0.0
        self.squares: float = 0.0
        self.total_since: float = 0.0
        self.squares_since: float = 0.0
        self.page: float = 0.0

    def update(self, shortfall: float, *, hold: bool) -> None:
        """Take one more observation.

        Parameters
        ----------
        shortfall : float
            Expectation minus outcome.
        hold : bool
            Whether to keep the point of change.
        """
        self.page = max(0.0, self.page + shortfall - _ALLOWED)
        self.n += 1
        self.total += shortfall
        self.squares += shortfall * shortfall
        if self.page == 0.0 and not hold:
            self.since, self.n_since = self.n, 0
            self.total_since = self.squares_since = 0.0
            return
        self.n_since += 1
        self.total_since += shortfall
        self.squares_since += shortfall * shortfall

    def estimate(self, n_reference: int, *, changed: bool) -> Shortfall | None:
        """Return the mean shortfall, or None without observations.

        Parameters
        ----------
        n_reference : int
            Reference answers that the expectations rest on; their error widens the interval.
        changed : bool
            Whether to look only at the part since the likely change.
        """
        n, total, squares, since = self.n, self.total, self.squares, 0
        if changed and self.n_since:
            n, total, squares = self.n_since, self.total_since, self.squares_since
            since = self.since
        if not n:
            return None
        mean = total / n
        # one unit of variance more, so that a handful of equal outcomes is no certainty
        variance = (max(squares - n * mean * mean, 0.0) + 0.25) / n
        half = _Z95 * math.sqrt(variance / n + variance / max(n_reference, 1))
        return Shortfall(mean, mean - half, mean + half, n, since + 1)

    def to_dict(self) -> dict[str, Any]:
        """Return the sums as JSON types."""
        return {name: getattr(self, name) for name in _NUMBERS}

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Take up the sums of :meth:`to_dict`.

        Raises
        ------
        KeyError, TypeError, ValueError
            If something is missing or not a number.
        """
        numbers = {name: float(stored[name]) for name in _NUMBERS}
        if not all(map(math.isfinite, numbers.values())):
            raise ValueError("a sum is not finite")
        for name, number in numbers.items():
            setattr(self, name, int(number) if name.startswith(("n", "since")) else number)
