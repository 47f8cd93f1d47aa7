"""Models of conversations in memory that all worker processes share.

The next turn of a conversation may come in at another worker. The table has a fixed size and no
locks: an entry that two workers write at once fails its checksum and counts as forgotten.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
import time
import zlib
from collections.abc import Callable

__all__ = ["SharedConversations"]

_ENTRY = struct.Struct("<12s12sdI4x")
_FIELDS = struct.Struct("<12s12sd")
_WAYS = 8


class SharedConversations:
    """Remembers the model of each conversation for all processes forked after it was made.

    Parameters
    ----------
    n_entries : int
        Conversations that are remembered; where their places collide, the one unused for
        longest goes first.
    ttl_s : float
        Seconds after its last turn that a conversation is remembered.
    clock : callable
        Seconds, the same in all processes.

    Examples
    --------
    >>> conversations = SharedConversations(64)
    >>> conversations.put("a", "gemma-3-27b")
    >>> conversations.get("a"), conversations.get("b")
    ('gemma-3-27b', None)
    """

    def __init__(
        self,
        n_entries: int = 65_536,
        ttl_s: float = 3_600.0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._n_sets = max(1, n_entries // _WAYS)
        self._ttl_s = ttl_s
        self._clock = clock
        self._memory = mmap.mmap(-1, self._n_sets * _WAYS * _ENTRY.size)
        self._names: dict[bytes, str] = {}

    def know(self, *models: str) -> None:
        """Name the models that other processes may have put in.

        Parameters
        ----------
        *models : str
            Ids. A model of another process is None until it was named here.
        """
        for model in models:
            self._names[_digest(model)] = model

    def get(self, key: str) -> str | None:
        """Return the model of a conversation, or None if it is not remembered."""
        name = _digest(key)
        oldest = self._clock() - self._ttl_s
        for place in self._places(name):
            stored, model, at = self._read(place)
            if stored == name:
                return self._names.get(model) if at >= oldest else None
        return None

    def put(self, key: str, model: str) -> None:
        """Remember the model of a conversation, from now on for `ttl_s`."""
        self.know(model)
        name = _digest(key)
        entries = [(self._read(place), place) for place in self._places(name)]
        own = [place for (stored, _, _), place in entries if stored == name]
        place = own[0] if own else min(entries, key=lambda entry: entry[0][2])[1]
        entry = name, _digest(model), self._clock()
        self._memory[place : place + _ENTRY.size] = _ENTRY.pack(
            *entry, zlib.crc32(_FIELDS.pack(*entry))
        )

    def _places(self, name: bytes) -> range:
        start = int.from_bytes(name[:6]) % self._n_sets * _WAYS * _ENTRY.size
        return range(start, start + _WAYS * _ENTRY.size, _ENTRY.size)

    def _read(self, place: int) -> tuple[bytes, bytes, float]:
        name, model, at, check = _ENTRY.unpack(self._memory[place : place + _ENTRY.size])
        if check != zlib.crc32(_FIELDS.pack(name, model, at)):
            return b"", b"", 0.0
        return name, model, at


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:12]
