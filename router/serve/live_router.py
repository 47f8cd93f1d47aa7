"""Changing the router while serving: on a signal, or when its files change."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import TypeAlias

from router.dispatch import load_router
from router.errors import WattRouteError
from router.registry import find_router, is_router_uri
from router.serve.service import Service

__all__ = ["LiveRouter", "Signature", "signature_of"]

_FILES = ("manifest.json", "model.npz")

# a store is asked less often than files are looked at: it may be a server far away
_ASK_STORE_EVERY_S = 30.0

Signature: TypeAlias = tuple[tuple[int, int, int], ...] | str
"""What tells one state of a router's files, or of what its URI means, from another."""


class LiveRouter:
    """Keeps the router of a service up to date.

    Parameters
    ----------
    service : Service
        Whose router it is.
    path : str or Path, optional
        Where it was loaded from: files, or a URI in an MLflow store, whose alias may move; the
        bundled router where absent, which never changes.
    loaded : Signature, optional
        Of what the service routes with; where absent, that counts as what is there now.
    """

    def __init__(
        self, service: Service, path: str | Path | None, loaded: Signature | None = None
    ) -> None:
        self._service = service
        self._path = path
        self._asked = False
        self._ask_store_at = 0.0
        # not from the store, which is asked outside the event loop
        self._seen = loaded if is_router_uri(path) else signature_of(path)
        self._loaded = loaded
        if loaded is None and service.dispatcher.router is not None:
            self._loaded = self._seen

    def ask(self) -> None:
        """Have the router loaded again at the next look, changed or not."""
        self._asked = True

    async def look(self) -> None:
        """Load the router again if its files changed and then stayed as they are for a look."""
        if is_router_uri(self._path):
            changed = await self._moved()
        else:
            seen, self._seen = self._seen, signature_of(self._path)
            changed = self._seen is not None and seen == self._seen and self._seen != self._loaded
        if not (changed or self._asked):
            return
        self._asked = False
        self._loaded = self._seen
        log = logging.getLogger(__name__)
        metrics = self._service.metrics
        try:
            # calls go on meanwhile with the router that there is
            router = await asyncio.to_thread(load_router, self._path)
        except (WattRouteError, OSError) as error:
            metrics.count("wattroute_reloads_total", result="failed")
            log.error("the router was not reloaded, the old one stays: %s", error)
            return
        self._service.reload(router)
        metrics.count("wattroute_reloads_total", result="loaded")
        log.warning("routing with the router reloaded from %s", self._path or "this installation")

    async def _moved(self) -> bool:
        """Return whether the URI now means another router than at the last look."""
        now = time.monotonic()
        if now < self._ask_store_at and not self._asked:
            return False
        self._ask_store_at = now + _ASK_STORE_EVERY_S
        found = await asyncio.to_thread(signature_of, self._path)
        if found is None:
            return False  # the store is away: what is loaded stays
        self._seen = found
        if self._loaded is None and self._service.dispatcher.router is not None:
            self._loaded = found
        return self._seen != self._loaded


def signature_of(path: str | Path | None) -> Signature | None:
    """Return what tells one state of a router from another.

    Parameters
    ----------
    path : str or Path, optional
        As for :class:`LiveRouter`; what a URI means is looked up in its store.

    Returns
    -------
    Signature or None
        None for the bundled router, and where a file or the store is away.
    """
    if path is None:
        return None
    try:
        if is_router_uri(path):
            return find_router(path).location
        path = Path(path)
        files = [path / name for name in _FILES] if path.is_dir() else [path]
        stats = [file.stat() for file in files]
    except (WattRouteError, OSError):
        return None
    return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)
