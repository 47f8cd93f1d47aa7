"""The processes that serve.

The router is loaded once, then the workers are forked: they share its memory, the listening
socket, the metrics and the conversations. The parent only watches them.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn

from router.dispatch import Conversations, ConversationStore, Routes, load_router
from router.dispatch.names import AUTO
from router.errors import ConfigError, WattRouteError
from router.serve.app import Proxy
from router.serve.live_router import Signature, signature_of
from router.serve.service import Service
from router.serve.settings import Settings
from router.serve.shared_conversations import SharedConversations
from router.serve.shared_values import SharedValues

__all__ = ["serve"]

_BACKLOG = 2_048
_KEEP_ALIVE_S = 75
_STOP_GRACE_S = 5.0
_QUICK_DEATH_S = 1.0
_MAX_QUICK_DEATHS = 5
_LAST_REQUESTS_S = 0.1


def serve(settings: Settings, announce: Callable[[str, Routes | None], None]) -> int:
    """Serve until a signal says to stop.

    Parameters
    ----------
    settings : Settings
        What the operator decided.
    announce : callable
        Called with the URL and the router once requests are taken.

    Returns
    -------
    int
        Exit code: 0 after SIGTERM or SIGINT, 1 if the workers keep dying.

    Raises
    ------
    ConfigError
        If the address is taken, a setting does not fit, or the router cannot be loaded and there
        is no default model.
    """
    log = logging.getLogger(__name__)
    # before it is loaded: a worker that is forked later finds out what has changed since
    loaded = signature_of(settings.router)
    try:
        router: Routes | None = load_router(settings.router)
    except WattRouteError as error:
        if settings.default_model is None:
            raise
        log.error("every request goes to %s: %s", settings.default_model, error)
        router = None
    _try_out(settings, router)
    # what is there now stays: nothing looks through it again, or copies it after a fork
    gc.collect()
    gc.freeze()
    listening = _listen(settings.host, settings.port)
    values = SharedValues(settings.workers)
    conversations = _conversations(settings, router)

    def work(worker: int) -> None:
        _work(settings, router, values, conversations, worker, listening, loaded)

    if settings.workers == 1:
        announce(_url(listening), router)
        work(0)
        return 0
    if not hasattr(os, "fork"):
        raise ConfigError("several workers need fork, which this system lacks: use --workers 1")
    return _Supervisor(settings, work, listening).run(lambda: announce(_url(listening), router))


def _try_out(settings: Settings, router: Routes | None) -> None:
    """Find what a worker would find wrong, and fill the caches that all of them inherit."""
    service = Service(settings, router)
    service.dispatcher.plan({"model": AUTO, "messages": [{"role": "user", "content": "Hi"}]})
    service.log.close()


def _conversations(settings: Settings, router: Routes | None) -> ConversationStore:
    if settings.workers == 1:
        return Conversations()
    shared = SharedConversations()
    shared.know(*(() if router is None else (model.id for model in router.models)))
    if settings.default_model is not None:
        shared.know(settings.default_model)
    return shared


def _work(
    settings: Settings,
    router: Routes | None,
    values: SharedValues,
    conversations: ConversationStore,
    worker: int,
    listening: socket.socket,
    loaded: Signature | None,
) -> None:
    """Serve in this process until it is told to stop."""
    service = Service(settings, router, values=values, conversations=conversations, worker=worker)
    service.parent = os.getppid() if settings.workers > 1 else None
    config = uvicorn.Config(
        Proxy(service, loaded),
        access_log=False,
        backlog=_BACKLOG,
        date_header=True,
        lifespan="on",
        log_config=None,
        log_level="critical",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=math.ceil(settings.drain_s),
        timeout_keep_alive=_KEEP_ALIVE_S,
        ws="none",
    )
    with _orderly_signals(), contextlib.suppress(SystemExit):
        _Server(config).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Answers requests on connections that were taken just before the signal to stop."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        # uvicorn closes connections without a request at once, even if one is on its way
        await asyncio.sleep(_LAST_REQUESTS_S)
        await super().shutdown(sockets)


@contextlib.contextmanager
def _orderly_signals() -> Iterator[None]:
    """Have signals end the process in order where uvicorn does not see to it.

    That is before it has started, and when it raises once more what it was stopped with.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(0)

    handlers: dict[int, Any] = {signal.SIGINT: leave, signal.SIGTERM: leave}
    if hasattr(signal, "SIGHUP"):
        handlers[signal.SIGHUP] = signal.SIG_IGN  # until the loop takes it
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port} ({error.strerror or error}): choose another --host "
            "or --port"
        ) from error
    listening.setblocking(False)
    return listening


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Supervisor:
    """Forks the workers, replaces those that die, and passes signals on."""

    def __init__(
        self, settings: Settings, work: Callable[[int], None], listening: socket.socket
    ) -> None:
        self._settings = settings
        self._work = work
        self._listening = listening
        self._workers: dict[int, tuple[int, float]] = {}
        self._quick_deaths = 0
        self._stopping = False

    def run(self, ready: Callable[[], None]) -> int:
        """Run the workers until they are told to stop; return the exit code."""
        signals = {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: self._reload,
        }
        before = {number: signal.signal(number, handler) for number, handler in signals.items()}
        try:
            for worker in range(self._settings.workers):
                self._fork(worker)
            ready()
            self._watch()
        finally:
            self._signal(signal.SIGKILL)
            for number, handler in before.items():
                signal.signal(number, handler)
        return 0 if self._quick_deaths <= _MAX_QUICK_DEATHS else 1

    def _fork(self, worker: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        process = os.fork()
        if process:
            self._workers[process] = worker, time.monotonic()
            return
        code = 1
        try:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            self._work(worker)
            code = 0
        except SystemExit:
            code = 0
        except BaseException:
            logging.getLogger(__name__).exception("worker %d failed", worker)
        finally:
            # not the parent's way out: its cleaning up is not the worker's
            os._exit(code)

    def _watch(self) -> None:
        deadline = math.inf
        while self._workers:
            if self._stopping and deadline == math.inf:
                self._signal(signal.SIGTERM)  # one may have been forked at that moment
                self._listening.close()
                deadline = time.monotonic() + self._settings.drain_s + _STOP_GRACE_S
            if time.monotonic() > deadline:
                return
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if process == 0:
                time.sleep(0.05)
                continue
            worker, since = self._workers.pop(process, (-1, 0.0))
            if worker < 0 or self._stopping:
                continue
            self._quick_deaths += 1
            if time.monotonic() - since > _QUICK_DEATH_S:
                self._quick_deaths = 0
            log = logging.getLogger(__name__)
            if self._quick_deaths > _MAX_QUICK_DEATHS:
                log.error("the workers die as soon as they start: giving up")
                self._stop()
                continue
            log.error(
                "worker %d ended with %d: another one takes its place",
                worker,
                os.waitstatus_to_exitcode(status),
            )
            self._fork(worker)

    def _signal(self, number: int) -> None:
        for process in self._workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

    def _stop(self, number: int = 0, frame: FrameType | None = None) -> None:
        self._stopping = True
        self._signal(signal.SIGTERM)

    def _reload(self, number: int = 0, frame: FrameType | None = None) -> None:
        self._signal(signal.SIGHUP)
