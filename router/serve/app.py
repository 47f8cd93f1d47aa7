"""The proxy as an ASGI application.

Chat calls and what is passed through are answered without a framework in between, which would
take as long as they do; everything else goes through Starlette.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from router.serve.chat import answer_chat
from router.serve.control import ControlEndpoints
from router.serve.forwarding import check_origin
from router.serve.json_body import ClientDisconnected
from router.serve.live_router import LiveRouter, Signature
from router.serve.passthrough import pass_through
from router.serve.problems import Problem, send_problem
from router.serve.service import Service

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

__all__ = ["Proxy"]

_CHAT = "/v1/chat/completions"
_LOOK_EVERY_S = 1.0


class Proxy:
    """The ASGI application of one worker.

    Parameters
    ----------
    service : Service
        The worker's state.
    loaded : Signature, optional
        Of the files that its router was loaded from, as for :class:`LiveRouter`.

    Attributes
    ----------
    service : Service
        The same.
    """

    def __init__(self, service: Service, loaded: Signature | None = None) -> None:
        self.service = service
        self._live = LiveRouter(service, service.settings.router, loaded)
        control = ControlEndpoints(service).routes()
        self._own_paths = frozenset(route.path for route in control)
        self._starlette = Starlette(
            routes=control,
            exception_handlers={HTTPException: _not_found, Problem: _problem},
            lifespan=self._lifespan,
        )
        self._starlette.router.redirect_slashes = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._starlette(scope, receive, send)
            return
        service = self.service
        path = scope["path"]
        endpoint, answer = self._endpoint(path, scope["method"])
        status, started = 500, False

        async def sending(message: Message) -> None:
            nonlocal started, status
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
            await send(message)

        service.in_flight += 1
        try:
            if service.in_flight > service.settings.max_in_flight and path not in _PROBES:
                raise Problem(
                    503,
                    "the proxy has as many requests as it takes: try again",
                    code="overloaded",
                    headers=[(b"retry-after", b"1")],
                )
            check_origin(service.settings, scope["headers"])
            await answer(scope, receive, sending)
            if not started:
                status = 0  # the client went away
        except Problem as problem:
            await send_problem(sending, problem)
        except ClientDisconnected:
            status = 0
        except Exception:
            # a client learns nothing about the inside
            logging.getLogger(__name__).exception("%s %s failed", scope["method"], endpoint)
            if not started:
                await send_problem(sending, Problem(500, "the proxy failed", code="internal_error"))
        finally:
            service.in_flight -= 1
            service.metrics.count("wattroute_requests_total", endpoint=endpoint, status=str(status))

    def _endpoint(
        self, path: str, method: str
    ) -> tuple[str, Callable[[Scope, Receive, Send], Awaitable[object]]]:
        """Return the name of an endpoint in the metrics, and what answers it."""
        if path == _CHAT and method == "POST":
            return path, self._chat
        if path in self._own_paths:
            return path, self._starlette
        if path.startswith("/v1/"):
            return "passed through", self._pass_through
        return "none", self._starlette

    async def _chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        await answer_chat(self.service, scope, receive, send)

    async def _pass_through(self, scope: Scope, receive: Receive, send: Send) -> None:
        await pass_through(self.service, scope, receive, send)

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        service = self.service
        service.metrics.set("wattroute_workers", 1.0)
        service.start(self._look_around())
        if hasattr(signal, "SIGHUP"):
            # not in the main thread: the files are watched all the same
            with suppress(RuntimeError, ValueError):
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._live.ask)
        if service.settings.key is not None:
            service.refresh_models(service.settings.key, [(b"accept", b"application/json")])
        try:
            yield
        finally:
            service.stopping = True
            service.metrics.set("wattroute_workers", 0.0)
            await service.close()

    async def _look_around(self) -> None:
        """Once a second: the process's size, the log's file, the parent, the router's files."""
        service = self.service
        while True:
            memory = _resident_bytes()
            if memory is not None:
                service.metrics.set(
                    "process_resident_memory_bytes", memory, worker=str(service.worker)
                )
            service.metrics.set("wattroute_requests_in_flight", service.in_flight)
            service.log.follow()
            if service.parent is not None and os.getppid() != service.parent:
                # nobody would stop or replace this worker any more
                signal.raise_signal(signal.SIGTERM)
            try:
                await self._live.look()
            except Exception:
                logging.getLogger(__name__).exception("the router could not be looked after")
            await asyncio.sleep(_LOOK_EVERY_S)


_PROBES = frozenset({"/health", "/metrics", "/ready"})


def _resident_bytes() -> int | None:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


async def _not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        text = f"there is no endpoint {request.url.path[:200]!r}: the API begins with /v1/"
        problem = Problem(404, text, code="not_found")
    elif error.status_code == 405:
        text = f"{request.method} is not a method of {request.url.path[:200]}"
        problem = Problem(405, text, code="method_not_allowed")
    else:
        problem = Problem(error.status_code, str(error.detail), code="http_error")
    return JSONResponse(problem.to_dict(), problem.status, headers=error.headers)


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    headers = {name.decode(): value.decode() for name, value in error.headers}
    return JSONResponse(error.to_dict(), error.status, headers=headers)
