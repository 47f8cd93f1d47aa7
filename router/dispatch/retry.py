"""How often and after what wait a request is tried again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from router.errors import ConfigError

__all__ = ["RetryPolicy"]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Limits of retries.

    Attributes
    ----------
    tries_per_model : int
        Tries on one model, the first included, at least 1.
    max_candidates : int
        Models of the ranking that are tried before the configured default, at least 1.
    base_s, cap_s : float
        The back-off before the k-th retry is ``min(cap_s, base_s * 2**(k - 1))``, times a
        random factor between a half and one.
    max_retry_after_s : float
        Longest ``Retry-After`` that is waited for; after a longer one the model rests and the
        next candidate is tried.
    max_wait_s : float
        Longest sum of all waits of one request.
    max_elapsed_s : float
        No new try begins later than this after the request's first.

    Raises
    ------
    ConfigError
        If a number is out of its range.
    """

    tries_per_model: int = 3
    max_candidates: int = 3
    base_s: float = 0.5
    cap_s: float = 8.0
    max_retry_after_s: float = 30.0
    max_wait_s: float = 60.0
    max_elapsed_s: float = 900.0

    def __post_init__(self) -> None:
        for name in ("tries_per_model", "max_candidates"):
            count = getattr(self, name)
            if isinstance(count, bool) or not isinstance(count, int) or count < 1:
                raise ConfigError(f"{name} is {count!r}: use a whole number of at least 1")
        for name in ("base_s", "cap_s", "max_retry_after_s", "max_wait_s", "max_elapsed_s"):
            seconds = getattr(self, name)
            if isinstance(seconds, bool) or not isinstance(seconds, int | float):
                raise ConfigError(f"{name} is {seconds!r}: use seconds")
            if not (math.isfinite(seconds) and seconds >= 0):
                raise ConfigError(f"{name} is {seconds!r}: use finite seconds of at least 0")

    def backoff_s(self, tries: int, rng: Random) -> float:
        """Return the wait in seconds after the given number of failed tries, at least 1."""
        longest = min(self.cap_s, self.base_s * 2.0 ** min(tries - 1, 60))
        return longest * (0.5 + 0.5 * rng.random())
