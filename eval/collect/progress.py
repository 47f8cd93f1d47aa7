"""How far a collection is, and how long it will still take."""

from __future__ import annotations

import sys
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from typing import TextIO

__all__ = ["Progress", "duration_text"]

_RECENT = 50
_LINE_S = 10.0
_TERMINAL_S = 0.2


class Progress:
    """Says how far a collection is: one line that changes on a terminal, else lines.

    Parameters
    ----------
    stream : TextIO, optional
        Where to; standard error where not given.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self, stream: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._terminal = self._stream.isatty()
        self._started = clock()
        self._shown_at = self._started
        self._left: dict[str, int] = {}
        self._total = 0
        self._done = 0
        self._failed = 0
        self._recent: defaultdict[str, deque[float]] = defaultdict(lambda: deque(maxlen=_RECENT))

    def begin(self, left: Mapping[str, int]) -> None:
        """Say how many prompts each model has before it."""
        for model, number in left.items():
            self._left[model] = number
            self._recent[model].append(self._clock())
        self._total = self._done + sum(self._left.values())

    def finished(self, model: str, answered: bool) -> None:
        """Count a prompt that was answered or given up."""
        if model in self._left:
            self._left[model] -= 1
        else:
            self._total += 1  # it was dropped while this was on its way
        self._done += 1
        self._failed += not answered
        self._recent[model].append(self._clock())
        self._show()

    def dropped(self, model: str) -> None:
        """Count the rest of a model's prompts as not to come."""
        self._total -= self._left.pop(model, 0)

    def say(self, line: str) -> None:
        """Write a line of its own."""
        end = "\r\x1b[K" if self._terminal else ""
        seconds = self._clock() - self._started
        self._stream.write(f"{end}{seconds:7.1f} s  {line}\n")
        self._stream.flush()

    def close(self) -> None:
        """End the line that changes."""
        if self._terminal:
            self._stream.write("\n")
            self._stream.flush()

    def eta_s(self) -> float | None:
        """Return the seconds left at the pace of the latest answers; None where there is none."""
        left = []
        for model, number in self._left.items():
            times = self._recent[model]
            if number and len(times) < 2:
                return None
            if number:
                pace_s = (times[-1] - times[0]) / (len(times) - 1)
                left.append(number * pace_s)
        return max(left, default=0.0)

    def line(self) -> str:
        """Return where it stands as text."""
        eta = self.eta_s()
        share = 100 * self._done / self._total if self._total else 100.0
        failed = f", {self._failed:,} without an answer" if self._failed else ""
        rest = "" if eta is None else f", {duration_text(eta)} left"
        return f"{self._done:,} of {self._total:,} ({share:.0f} %){failed}{rest}"

    def _show(self) -> None:
        now = self._clock()
        if now - self._shown_at < (_TERMINAL_S if self._terminal else _LINE_S):
            return
        self._shown_at = now
        if self._terminal:
            self._stream.write(f"\r\x1b[K{self.line()}")
            self._stream.flush()
        else:
            self.say(self.line())


def duration_text(seconds: float) -> str:
    """Return a time in words.

    Examples
    --------
    >>> duration_text(42), duration_text(5400), duration_text(200_000)
    ('42 s', '1 h 30 min', '2 d 7 h')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"
