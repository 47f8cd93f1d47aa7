"""A circuit breaker for each model: one that keeps failing is left alone for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from router.errors import ConfigError

__all__ = ["BreakerState", "CircuitBreaker"]

BreakerState: TypeAlias = Literal["closed", "open", "half-open"]
"""Closed lets requests through, open lets none, half-open lets one probe through."""


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    opened_at: float | None = None
    cool_down_s: float = 0.0
    probing_since: float | None = None


class CircuitBreaker:
    """Opens after consecutive failures of a model, probes it after a cool-down.

    The pattern of M. Nygard, "Release It!" (2007). Thread-safe.

    Parameters
    ----------
    threshold : int
        Consecutive failures that open a circuit, at least 1.
    cool_down_s : float
        Seconds until the first probe; doubled after each failed probe.
    max_cool_down_s : float
        Longest cool-down in seconds; a probe that is not reported within it is given up.
    clock : callable
        Monotonic seconds.

    Examples
    --------
    >>> breaker = CircuitBreaker(threshold=2)
    >>> breaker.failure("m"); breaker.failure("m")
    >>> breaker.state("m"), breaker.allow("m")
    ('open', False)
    """

    def __init__(
        self,
        threshold: int = 5,
        cool_down_s: float = 30.0,
        max_cool_down_s: float = 300.0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if threshold < 1 or not 0 < cool_down_s <= max_cool_down_s:
            raise ConfigError(
                "a circuit breaker needs threshold >= 1 and 0 < cool_down_s <= max_cool_down_s, "
                f"got {threshold}, {cool_down_s} and {max_cool_down_s}"
            )
        self._threshold = threshold
        self._cool_down_s = cool_down_s
        self._max_cool_down_s = max_cool_down_s
        self._clock = clock
        self._lock = threading.Lock()
        self._circuits: dict[str, _Circuit] = {}

    def state(self, model: str) -> BreakerState:
        """Return whether the circuit is closed, open, or due for a probe."""
        with self._lock:
            circuit = self._circuits.get(model)
            if circuit is None or circuit.opened_at is None:
                return "closed"
            ready = self._clock() >= circuit.opened_at + circuit.cool_down_s
            return "half-open" if ready else "open"

    def allow(self, model: str) -> bool:
        """Return whether a request may go to the model; takes the probe of a half-open circuit.

        Every True must be followed by :meth:`success`, :meth:`failure` or :meth:`release`.
        """
        circuit = self._circuits.get(model)
        if circuit is None:  # the common case needs no lock
            return True
        with self._lock:
            if circuit.opened_at is None:
                return True
            now = self._clock()
            if now < circuit.opened_at + circuit.cool_down_s:
                return False
            probing = circuit.probing_since
            if probing is not None and now < probing + self._max_cool_down_s:
                return False
            circuit.probing_since = now
            return True

    def success(self, model: str) -> None:
        """Close the circuit: the model answered."""
        if model in self._circuits:
            with self._lock:
                self._circuits.pop(model, None)

    def failure(self, model: str) -> None:
        """Count a failure; open the circuit at the threshold or after a failed probe."""
        with self._lock:
            circuit = self._circuits.setdefault(model, _Circuit())
            circuit.failures += 1
            if circuit.opened_at is not None:
                if circuit.probing_since is None:
                    return  # sent before the circuit opened
                circuit.cool_down_s = min(2.0 * circuit.cool_down_s, self._max_cool_down_s)
            elif circuit.failures >= self._threshold:
                circuit.cool_down_s = self._cool_down_s
            else:
                return
            circuit.opened_at = self._clock()
            circuit.probing_since = None

    def release(self, model: str) -> None:
        """Give an allowed request back that says nothing about the model's health."""
        circuit = self._circuits.get(model)
        if circuit is not None:
            with self._lock:
                circuit.probing_since = None
