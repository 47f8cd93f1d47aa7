"""What a key may not do: models that refused it, and limits that it has reached."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from router.dispatch.failure import Failure

__all__ = ["KeyAccess", "key_fingerprint"]


def key_fingerprint(key: str | None) -> str:
    """Return a short name for a key, from which it cannot be told.

    Examples
    --------
    >>> key_fingerprint("sk-secret") == key_fingerprint("sk-secret")
    True
    >>> key_fingerprint(None)
    'no-key'
    """
    if not key:
        return "no-key"
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:16]


class KeyAccess:
    """Models that a key may not use now, and keys that may send nothing now. Thread-safe.

    Parameters
    ----------
    refusal_s : float
        Seconds that a model that answered 403 or 404 stays out for the key: plans and model
        lists change.
    pause_s : float
        Seconds that a key rests after its daily limit where the server does not say when to
        come back: the hour of the day's reset is not documented, so it is tried now and then.
    max_entries : int
        Refusals that are remembered; the oldest go first.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        refusal_s: float = 3600.0,
        pause_s: float = 60.0,
        max_entries: int = 10_000,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._refusal_s = refusal_s
        self._pause_s = pause_s
        self._max_entries = max_entries
        self._clock = clock
        self._lock = threading.Lock()
        self._models: OrderedDict[tuple[str, str], tuple[float, str]] = OrderedDict()
        self._keys: OrderedDict[str, tuple[float, Failure]] = OrderedDict()

    def refuse(
        self, fingerprint: str, model: str, reason: str, seconds: float | None = None
    ) -> None:
        """Keep a key off a model.

        Parameters
        ----------
        fingerprint : str
            From :func:`key_fingerprint`.
        model : str
            Id of the model.
        reason : str
            Why, for the record.
        seconds : float, optional
            For how long; the time of a refusal where not given.
        """
        until = self._clock() + (self._refusal_s if seconds is None else seconds)
        with self._lock:
            self._models[fingerprint, model] = until, reason
            self._models.move_to_end((fingerprint, model))
            while len(self._models) > self._max_entries:
                self._models.popitem(last=False)

    def reason(self, fingerprint: str, model: str) -> str | None:
        """Return why the key may not use the model now, or None."""
        if not self._models:
            return None
        with self._lock:
            entry = self._models.get((fingerprint, model))
            if entry is None:
                return None
            if self._clock() >= entry[0]:
                del self._models[fingerprint, model]
                return None
            return entry[1]

    def pause(self, fingerprint: str, failure: Failure) -> None:
        """Let a key rest after `failure`, for its ``retry_after_s`` where that is given."""
        wait_s = self._pause_s if failure.retry_after_s is None else failure.retry_after_s
        with self._lock:
            self._keys[fingerprint] = self._clock() + wait_s, failure
            self._keys.move_to_end(fingerprint)
            while len(self._keys) > self._max_entries:
                self._keys.popitem(last=False)

    def paused(self, fingerprint: str) -> Failure | None:
        """Return the failure that a key rests after, or None if it may send."""
        if not self._keys:
            return None
        with self._lock:
            entry = self._keys.get(fingerprint)
            if entry is None:
                return None
            if self._clock() >= entry[0]:
                del self._keys[fingerprint]
                return None
            return entry[1]
