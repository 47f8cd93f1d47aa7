"""Keeping to the requests that a plan allows in a minute and in a day."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

__all__ = ["DayLimitError", "RateLimiter"]

_MINUTE_S = 60.0
_DAY_S = 86_400.0


class DayLimitError(Exception):
    """The requests of a day are used up, or the server says so.

    Attributes
    ----------
    wait_s : float or None
        Seconds until the next request may be sent, where that is known.
    """

    def __init__(self, wait_s: float | None) -> None:
        self.wait_s = wait_s
        super().__init__(f"wait {wait_s} s")


class RateLimiter:
    """Lets requests begin no faster than so many in any minute and any day.

    A window that slides over the last sixty seconds is safe for servers that count clock minutes,
    and likewise for days. A request counts from when it is let through, whatever becomes of it.

    Parameters
    ----------
    per_minute, per_day : int, optional
        Most requests; None where there is no limit.
    earlier : iterable of float
        Unix times of requests that were sent before, in seconds.
    max_wait_s : float
        Longest wait; where the day's limit asks for more, `take` raises.
    clock : callable
        Unix time in seconds.
    sleep : callable
        Waits for some seconds.

    Notes
    -----
    Only Unix time survives a restart. Requests that lie in the future, after the clock was set
    back, are taken as sent now.
    """

    def __init__(
        self,
        per_minute: int | None = None,
        per_day: int | None = None,
        *,
        earlier: Iterable[float] = (),
        max_wait_s: float = 900.0,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._windows = [
            (limit, seconds)
            for limit, seconds in ((per_minute, _MINUTE_S), (per_day, _DAY_S))
            if limit is not None
        ]
        self._max_wait_s = max_wait_s
        self._clock = clock
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._resume_at = 0.0
        longest = max((seconds for _, seconds in self._windows), default=0.0)
        now = clock()
        self._sent = deque(sorted(min(t, now) for t in earlier if t > now - longest))
        self._longest = longest

    def pause(self, seconds: float) -> None:
        """Let nothing through for some seconds, as a server asked for."""
        self._resume_at = max(self._resume_at, self._clock() + seconds)

    async def take(self) -> float:
        """Wait for a turn, in the order of the calls.

        Returns
        -------
        float
            Unix time of the turn in seconds.

        Raises
        ------
        DayLimitError
            If the wait would be longer than `max_wait_s`.
        """
        async with self._turn:
            while (wait_s := self._wait_s()) > 0:
                if wait_s > self._max_wait_s:
                    raise DayLimitError(wait_s)
                await self._sleep(wait_s)
            now = self._clock()
            if self._windows:
                self._sent.append(now)
            return now

    def _wait_s(self) -> float:
        now = self._clock()
        while self._sent and self._sent[0] <= now - self._longest:
            self._sent.popleft()
        wait_s = self._resume_at - now
        for limit, seconds in self._windows:
            if len(self._sent) >= limit:
                wait_s = max(wait_s, min(self._sent[-limit], now) + seconds - now)
        return wait_s
