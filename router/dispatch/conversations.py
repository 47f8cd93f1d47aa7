"""Conversations keep their model, so that its cache of the prefix and its tone stay."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from router.errors import ConfigError

__all__ = ["ConversationStore", "Conversations", "session_key"]

_HASHED_CHARACTERS = 20_000


class ConversationStore(Protocol):
    """Where the models of conversations are kept; must be safe to call from any thread."""

    def get(self, key: str) -> str | None:
        """Return the model of a conversation, or None."""
        ...

    def put(self, key: str, model: str) -> None:
        """Remember the model of a conversation."""
        ...


class Conversations:
    """Models of the latest conversations, in memory. Thread-safe.

    Parameters
    ----------
    max_size : int
        Conversations that are remembered; the one unused for longest goes first. 0 remembers
        none.
    ttl_s : float
        Seconds after its last turn that a conversation is remembered.
    clock : callable
        Monotonic seconds.

    Examples
    --------
    >>> conversations = Conversations(max_size=1)
    >>> conversations.put("a", "small"); conversations.put("b", "large")
    >>> conversations.get("a"), conversations.get("b")
    (None, 'large')
    """

    def __init__(
        self,
        max_size: int = 10_000,
        ttl_s: float = 3600.0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if max_size < 0 or not ttl_s > 0:
            raise ConfigError(
                f"conversations need max_size >= 0 and ttl_s > 0, got {max_size} and {ttl_s}"
            )
        self._max_size = max_size
        self._ttl_s = ttl_s
        self._clock = clock
        self._lock = threading.Lock()
        self._models: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._models)

    def get(self, key: str) -> str | None:
        """Return the model of a conversation, or None if it is not remembered."""
        with self._lock:
            entry = self._models.get(key)
            if entry is None:
                return None
            if self._clock() >= entry[0]:
                del self._models[key]
                return None
            return entry[1]

    def put(self, key: str, model: str) -> None:
        """Remember the model of a conversation, from now on for `ttl_s`."""
        with self._lock:
            self._models[key] = self._clock() + self._ttl_s, model
            self._models.move_to_end(key)
            while len(self._models) > self._max_size:
                self._models.popitem(last=False)


def session_key(
    body: Mapping[str, Any], session: str | None = None, fingerprint: str = ""
) -> str | None:
    """Return the key of the conversation that a chat request belongs to.

    Parameters
    ----------
    body : mapping
        The request.
    session : str, optional
        The caller's own name for the conversation.
    fingerprint : str
        The API key's, so that two keys never share a conversation.

    Returns
    -------
    str or None
        A hash of `session`; else of the ``user`` field; else of the first turns, up to the
        first user message, which stay the same while a conversation grows. None where there is
        nothing to tell it by.

    Examples
    --------
    >>> first = {"messages": [{"role": "user", "content": "Hi"}]}
    >>> later = {"messages": [*first["messages"], {"role": "assistant", "content": "Hello"},
    ...                       {"role": "user", "content": "What is 2 + 2?"}]}
    >>> session_key(first) == session_key(later)
    True
    """
    user = body.get("user")
    if session:
        origin, text = "session", session
    elif isinstance(user, str) and user:
        origin, text = "user", user
    else:
        origin, text = "turns", _first_turns(body.get("messages"))
    if not text:
        return None
    named = f"{fingerprint}\n{origin}\n{text}"
    return hashlib.sha256(named.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _first_turns(messages: object) -> str:
    if not isinstance(messages, list):
        return ""
    parts: list[str] = []
    for message in messages:
        if not isinstance(message, Mapping):
            return ""
        text = _content(message.get("content"))
        parts.append(f"{message.get('role')}\n{text}")
        if message.get("role") == "user":
            return "\n".join(parts)
    return ""


def _content(content: object) -> str:
    """Return what tells one content from another, without hashing megabytes of an image."""
    if isinstance(content, str):
        return f"{len(content)}\n{content[:_HASHED_CHARACTERS]}"
    if not isinstance(content, list):
        return ""
    texts: list[str] = []
    for part in content:
        if not isinstance(part, Mapping):
            continue
        for value in part.values():
            if isinstance(value, Mapping):
                value = value.get("url")
            if isinstance(value, str):
                texts.append(f"{len(value)}\n{value[:500]}\n{value[-100:]}")
    return "\n".join(texts)
