"""Changing the router while serving: on a signal, or when its files change."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from router.dispatch import Routes
from router.errors import WattRouteError
from router.serve.service import Service

__all__ = ["LiveRouter", "load_router"]

_FILES = ("manifest.json", "model.npz")

_Signature = tuple[tuple[int, int, int], ...]


def load_router(path: Path | None, uncertified: str | None = None) -> Routes:
    """Load a router.

    Parameters
    ----------
    path : Path, optional
        Folder of a trained one, or a TOML file of task rules; the bundled router where absent.
    uncertified : {"reference", "estimate"}, optional
        What serves a quality bar that a trained one does not promise.

    Returns
    -------
    Routes
        Ready to route.

    Raises
    ------
    ArtifactError, ConfigError
        If it cannot be loaded.
    """
    if path is not None and path.suffix.lower() == ".toml":
        from router.rules import TaskRules

        return TaskRules.load(path)
    from router.router import Router

    return Router.load(path, uncertified=uncertified)


class LiveRouter:
    """Keeps the router of a service up to date.

    Parameters
    ----------
    service : Service
        Whose router it is.
    path : Path, optional
        Where it was loaded from; the bundled router where absent, which never changes.
    """

    def __init__(self, service: Service, path: Path | None) -> None:
        self._service = service
        self._path = path
        self._asked = False
        self._loaded = self._seen = self._signature()

    def ask(self) -> None:
        """Have the router loaded again at the next look, changed or not."""
        self._asked = True

    async def look(self) -> None:
        """Load the router again if its files changed and then stayed as they are for a look."""
        seen, self._seen = self._seen, self._signature()
        settled = self._seen is not None and seen == self._seen and self._seen != self._loaded
        if not (settled or self._asked):
            return
        self._asked = False
        self._loaded = self._seen
        log = logging.getLogger(__name__)
        metrics = self._service.metrics
        try:
            # calls go on meanwhile with the router that there is
            router = await asyncio.to_thread(
                load_router, self._path, self._service.settings.uncertified
            )
        except (WattRouteError, OSError) as error:
            metrics.count("wattroute_reloads_total", result="failed")
            log.error("the router was not reloaded, the old one stays: %s", error)
            return
        self._service.reload(router)
        metrics.count("wattroute_reloads_total", result="loaded")
        log.warning("routing with the router reloaded from %s", self._path or "this installation")

    def _signature(self) -> _Signature | None:
        """Return what tells one state of the files from another; None if one is missing."""
        if self._path is None:
            return None
        files = [self._path / name for name in _FILES] if self._path.is_dir() else [self._path]
        try:
            stats = [file.stat() for file in files]
        except OSError:
            return None
        return tuple((stat.st_mtime_ns, stat.st_size, stat.st_ino) for stat in stats)
