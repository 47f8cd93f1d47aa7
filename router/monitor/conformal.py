"""Conformal p-values: the rank of an observation among those that it should be like."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bag", "tie_breaker"]


class Bag:
    """Levels of what was observed so far, reference and stream together, with their counts.

    If all observations are exchangeable, the p-values that the stream gets one after the other
    are independent and uniform on [0, 1]: exactly, for a reference of any size, because every
    observation joins the bag before its rank is taken. With one bag for each model and band of
    predicted probability, only observations within a bag need to be exchangeable (Mondrian
    conformal prediction), so another mixture of prompts or of models is no alarm.

    Parameters
    ----------
    levels : iterable of float
        Levels of the reference observations, in any order.

    References
    ----------
    V. Vovk, A. Gammerman and G. Shafer, "Algorithmic learning in a random world", 2nd edition
    (2022), chapters 4 (Mondrian predictors) and 8 (testing exchangeability).

    Examples
    --------
    >>> bag = Bag([0, 0, 100])
    >>> bag.p_value(0, 0.5)  # three of four are at 0: the middle of [0, 0.75]
    0.375
    >>> bag.p_value(100, 1.0)
    1.0
    """

    def __init__(self, levels: Iterable[float] = ()) -> None:
        found, counts = np.unique(np.fromiter(levels, np.float64), return_counts=True)
        self._levels: list[float] = found.tolist()
        self._counts: NDArray[np.int64] = counts.astype(np.int64)
        self._n = int(counts.sum())

    def __len__(self) -> int:
        return self._n

    def p_value(self, level: float, tie: float) -> float:
        """Add an observation and return the share of the bag below it, ties split at random.

        Parameters
        ----------
        level : float
            Level of the observation; low levels are the ones to worry about.
        tie : float
            A random number, uniform on [0, 1].

        Returns
        -------
        float
            In [0, 1]: small where the observation is among the lowest.
        """
        i = bisect_left(self._levels, level)
        if i == len(self._levels) or self._levels[i] != level:
            self._levels.insert(i, level)
            self._counts = np.insert(self._counts, i, 0)
        self._counts[i] += 1
        self._n += 1
        return float(self._counts[:i].sum() + tie * self._counts[i]) / self._n

    def to_text(self) -> str:
        """Return levels and counts as ``level:count`` with blanks between them."""
        pairs = zip(self._levels, self._counts.tolist(), strict=True)
        return " ".join(f"{level:.10g}:{count}" for level, count in pairs)

    @classmethod
    def from_text(cls, text: str) -> Bag:
        """Build the bag from :meth:`to_text`.

        Raises
        ------
        ValueError
            If the text is not one of levels and counts.
        """
        bag = cls()
        pairs = [pair.split(":") for pair in text.split()]
        bag._levels = [float(level) for level, _ in pairs]
        bag._counts = np.array([int(count) for _, count in pairs], np.int64)
        bag._n = int(bag._counts.sum())
        rising = all(a < b for a, b in zip(bag._levels, bag._levels[1:], strict=False))
        if not rising or (bag._counts < 1).any():
            raise ValueError(f"not levels and counts: {text[:40]!r}")
        return bag


def tie_breaker(seed: int, stream: str, n: int) -> float:
    """Return the random number of one observation, uniform on [0, 1), without any state.

    Parameters
    ----------
    seed : int
        Seed of the monitor.
    stream : str
        Name of the stream.
    n : int
        Position of the observation in it.
    """
    digest = hashlib.blake2b(f"{seed}/{stream}/{n}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64
