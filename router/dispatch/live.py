"""The models that the API serves now, from ``GET /v1/models``."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from router.dispatch.access import key_fingerprint
from router.dispatch.capabilities import spellings_of

__all__ = ["LiveModels", "parse_models"]

_NOT_READY = frozenset({"coming_soon", "deprecated", "disabled", "offline", "unavailable"})
_CHAT = frozenset({"chat", "code", "llm", "reasoning", "text", "vision"})
_LONGEST_RETRY_S = 3600.0
_MAX_KEYS = 1_000


def parse_models(payload: object) -> frozenset[str]:
    """Return the ids of chat models in the JSON body of ``GET /v1/models``.

    Models that a ``category`` other than chat, a ``status`` or ``coming_soon`` rules out are
    left away; where these fields are absent or unheard of, the model counts.

    Parameters
    ----------
    payload : object
        The parsed body: ``{"data": [{"id": ...}, ...]}``, or the list alone.

    Raises
    ------
    ValueError
        If no model can be read from it.

    Examples
    --------
    >>> sorted(parse_models({"data": [{"id": "mistral-7b"},
    ...                               {"id": "bge-large", "category": "embedding"}]}))
    ['mistral-7b']
    """
    data = payload.get("data") if isinstance(payload, Mapping) else payload
    if not isinstance(data, list):
        raise ValueError("the list of models has no 'data'")
    ids = {
        row["id"]
        for row in data
        if isinstance(row, Mapping) and isinstance(row.get("id"), str) and _serves_chat(row)
    }
    if not ids:
        raise ValueError("the list of models names no chat model")
    return frozenset(ids)


def _serves_chat(row: Mapping[str, object]) -> bool:
    category, status = row.get("category"), row.get("status")
    if row.get("coming_soon") is True:
        return False
    if isinstance(status, str) and status.casefold().replace("-", "_") in _NOT_READY:
        return False
    return not isinstance(category, str) or any(word in category.casefold() for word in _CHAT)


@dataclass(slots=True)
class _List:
    ids: frozenset[str] | None = None
    due: float = 0.0
    failures: int = 0
    claimed: float | None = None


class LiveModels:
    """The list of served models of each key, cached. Thread-safe.

    It fetches nothing itself: who gets True from :meth:`claim` fetches, then calls
    :meth:`update` or :meth:`failed`.

    Parameters
    ----------
    ttl_s : float
        Seconds that a list counts as fresh.
    retry_s : float
        Seconds until the next fetch after a failed one; doubled after each further failure, up
        to an hour.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        ttl_s: float = 3600.0,
        retry_s: float = 60.0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ttl_s = ttl_s
        self._retry_s = retry_s
        self._clock = clock
        self._lock = threading.Lock()
        self._lists: OrderedDict[str, _List] = OrderedDict()

    def claim(self, key: str | None) -> bool:
        """Return True to the one caller that should fetch the list of this key now."""
        fingerprint, now = key_fingerprint(key), self._clock()
        with self._lock:
            known = self._lists.setdefault(fingerprint, _List(due=now))
            self._lists.move_to_end(fingerprint)
            while len(self._lists) > _MAX_KEYS:
                self._lists.popitem(last=False)
            busy = known.claimed is not None and now < known.claimed + self._retry_s
            if now < known.due or busy:
                return False
            known.claimed = now
            return True

    def update(self, key: str | None, payload: object) -> None:
        """Take over a fetched list, the parsed body; one that cannot be read counts as failed."""
        try:
            ids = parse_models(payload)
        except ValueError:
            self.failed(key)
            return
        with self._lock:
            self._lists[key_fingerprint(key)] = _List(ids, self._clock() + self._ttl_s)

    def failed(self, key: str | None) -> None:
        """Note that the list could not be fetched: the old one stays until a later try."""
        with self._lock:
            known = self._lists.setdefault(key_fingerprint(key), _List())
            known.failures += 1
            wait_s = min(self._retry_s * 2.0 ** min(known.failures - 1, 30), _LONGEST_RETRY_S)
            known.due, known.claimed = self._clock() + wait_s, None

    def ids(self, key: str | None) -> frozenset[str] | None:
        """Return the ids that are served, or None while that is not known."""
        known = self._lists.get(key_fingerprint(key))
        return None if known is None else known.ids

    def resolve(self, model: str, key: str | None = None, *, fingerprint: str = "") -> str | None:
        """Return the id to send for a model, or None if the API does not serve it.

        Parameters
        ----------
        model : str
            Id of the router's pool.
        key : str, optional
            The API key.
        fingerprint : str
            Its fingerprint, which spares computing it.

        Returns
        -------
        str or None
            `model` itself where it is listed or no list is known; else another spelling of
            its id that is listed.
        """
        known = self._lists.get(fingerprint or key_fingerprint(key))
        ids = None if known is None else known.ids
        if ids is None or model in ids:
            return model
        return next((name for name in spellings_of(model) if name in ids), None)
