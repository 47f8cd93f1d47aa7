"""Noticing that a client went away, so that nobody answers to nobody."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Receive

__all__ = ["ClientWatch"]

# most calls that end sooner do not pay for a task of their own
_BEGIN_AFTER_S = 0.05


class ClientWatch:
    """Cancels the running task when the client closes its connection.

    An asynchronous context manager that wraps what is done for the client, once its request has
    been read. The task's cancellation ends at it.

    Parameters
    ----------
    receive : callable
        The ASGI channel.

    Attributes
    ----------
    gone : bool
        Whether the client went away.
    """

    def __init__(self, receive: Receive) -> None:
        self.gone: bool = False
        self._receive = receive
        self._caller: asyncio.Task[object] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> ClientWatch:
        self._caller = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(_BEGIN_AFTER_S, self._begin)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self.stop()
        if not self.gone or self._caller is None:
            return False
        return self._caller.uncancel() == 0 and kind is asyncio.CancelledError

    def stop(self) -> None:
        """Look no longer: the end of the answer looks like the end of the connection."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    def _begin(self) -> None:
        self._watcher = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._caller is not None:
            self.gone = True
            self._caller.cancel()
