"""Which requests have counted already."""

from __future__ import annotations

import base64
import hashlib

import numpy as np

__all__ = ["SeenRequests"]

_MAX_IDS = 1_000_000


class SeenRequests:
    """Remembers requests by eight bytes each; beyond a million, the oldest are forgotten.

    Examples
    --------
    >>> seen = SeenRequests()
    >>> seen.is_new("a"), seen.is_new("a"), seen.is_new(None), seen.is_new(None)
    (True, False, True, True)
    """

    def __init__(self) -> None:
        self._keys: dict[int, None] = {}

    def is_new(self, request_id: str | None) -> bool:
        """Remember a request and return whether it is new; without an id it always is."""
        if request_id is None:
            return True
        text = request_id.encode("utf-8", "surrogatepass")
        key = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
        if key in self._keys:
            return False
        self._keys[key] = None
        if len(self._keys) > _MAX_IDS:
            del self._keys[next(iter(self._keys))]
        return True

    def to_text(self) -> str:
        """Return what is remembered as text, eleven characters a request."""
        packed = np.fromiter(self._keys, "<u8", len(self._keys)).tobytes()
        return base64.b64encode(packed).decode()

    @classmethod
    def from_text(cls, text: str) -> SeenRequests:
        """Take up what :meth:`to_text` gave.

        Raises
        ------
        TypeError, ValueError
            If it is not such a text.
        """
        seen = cls()
        packed = np.frombuffer(base64.b64decode(text, validate=True), "<u8")
        seen._keys = dict.fromkeys(packed.tolist())
        return seen
