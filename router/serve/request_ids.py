"""Ids of requests."""

from __future__ import annotations

import secrets

__all__ = ["RequestIds"]

_DIGITS = 24
_AT_A_TIME = 256


class RequestIds:
    """Draws ids that nobody can guess, many at a time: asking the system for each one is slow.

    Each worker has its own, made after the fork; two that share one draw the same ids.

    Examples
    --------
    >>> ids = RequestIds()
    >>> first = ids.draw()
    >>> len(first), first != ids.draw()
    (27, True)
    """

    def __init__(self) -> None:
        self._left: list[str] = []

    def draw(self) -> str:
        """Return an id that was not returned before."""
        if not self._left:
            digits = secrets.token_hex(_DIGITS // 2 * _AT_A_TIME)
            starts = range(0, len(digits), _DIGITS)
            self._left = [f"wr-{digits[i : i + _DIGITS]}" for i in starts]
        return self._left.pop()
