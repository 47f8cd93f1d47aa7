"""What the endpoints of one worker share."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

from router.dispatch import ConversationStore, Dispatcher, Routes
from router.serve.decision_log import DecisionLog
from router.serve.forwarding import upstream_headers
from router.serve.metrics import Metrics
from router.serve.request_ids import RequestIds
from router.serve.settings import Settings
from router.serve.shared_conversations import SharedConversations
from router.serve.shared_values import SharedValues
from router.serve.tracing import CallTracer, call_tracer
from router.serve.upstream import Upstream, UpstreamFailure

__all__ = ["Service", "model_row"]

_MAX_LIST_BYTES = 4 * 2**20
_ASK_EVERY_S = 0.2


class Service:
    """The state of one worker.

    Parameters
    ----------
    settings : Settings
        What the operator decided.
    router : Routes, optional
        The router; the default model answers where absent.
    values : SharedValues, optional
        Where all workers count.
    conversations : ConversationStore, optional
        Where all workers keep the models of conversations.
    worker : int
        Which worker this is.

    Attributes
    ----------
    dispatcher : Dispatcher
        Chooses models and says what to try next.
    upstream : Upstream
        The server that most requests go to.
    metrics : Metrics
        What this worker counts.
    log : DecisionLog
        Where decisions and grades go.
    tracer : CallTracer
        Where spans go.
    request_ids : RequestIds
        Names the requests.
    parent : int or None
        The process without which this one is to stop; None if it stands alone.
    in_flight : int
        Requests being answered.
    stopping : bool
        Whether the worker was told to stop.
    """

    def __init__(
        self,
        settings: Settings,
        router: Routes | None,
        *,
        values: SharedValues | None = None,
        conversations: ConversationStore | None = None,
        worker: int = 0,
    ) -> None:
        self.settings = settings
        self.dispatcher: Dispatcher = Dispatcher(
            router,
            quality=settings.quality,
            min_probability=settings.min_probability,
            confidence=settings.confidence,
            group=settings.group,
            uncertified=settings.uncertified,
            default_model=settings.default_model,
            plan=settings.plan,
            retry=settings.retry,
            conversations=conversations,
        )
        self.worker = worker
        self.upstream: Upstream = Upstream(settings.upstream, settings.timeouts)
        self._upstreams = {
            model: Upstream(url, settings.timeouts)
            for model, url in settings.model_upstreams.items()
        }
        self.metrics: Metrics = Metrics(SharedValues(1) if values is None else values, worker)
        self.log: DecisionLog = DecisionLog(settings.log)
        self.tracer: CallTracer = call_tracer()
        self.request_ids: RequestIds = RequestIds()
        self.parent: int | None = None
        self.in_flight = 0
        self.stopping = False
        self._shown_error = False
        self._asked_key: str | None = None
        self._ask_again = 0.0
        self._later: list[Callable[[], None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._run_names: tuple[object, dict[str, str]] = (None, {})

    def upstream_of(self, model: str) -> tuple[Upstream, bool]:
        """Return the server of a model, and whether the keys are for it.

        Parameters
        ----------
        model : str
            Id of the model.
        """
        own = self._upstreams.get(model)
        return (self.upstream, True) if own is None else (own, False)

    def run_name(self, model: str) -> str | None:
        """Return the name of a model in the runs that the router was trained on, or None.

        Parameters
        ----------
        model : str
            Its id in the API.
        """
        router = self.dispatcher.router
        if self._run_names[0] is not router:
            models = () if router is None else router.models
            self._run_names = router, {known.id: known.run_name for known in models}
        return self._run_names[1].get(model)

    def start(self, task: Coroutine[Any, Any, None]) -> None:
        """Run something beside the requests.

        Parameters
        ----------
        task : coroutine
            What to run.
        """
        started = asyncio.get_running_loop().create_task(task)
        self._tasks.add(started)
        started.add_done_callback(self._tasks.discard)

    def refresh_models(self, key: str | None, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Fetch the upstream's list of models in the background, if that is due.

        Parameters
        ----------
        key : str or None
            The key whose models they are.
        headers : sequence of tuple of bytes
            Headers of a client's request with that key.
        """
        now = time.monotonic()
        if key == self._asked_key and now < self._ask_again:
            return
        self._asked_key, self._ask_again = key, now + _ASK_EVERY_S
        if self.dispatcher.live.claim(key):
            self.start(self._refresh_models(key, upstream_headers(self.settings, headers)))

    async def _refresh_models(
        self, key: str | None, headers: Sequence[tuple[bytes, bytes]]
    ) -> None:
        status, body = await self.fetch_models(headers)
        if status == 200:
            self.dispatcher.live.update(key, self.with_own_models(body))
        else:
            self.dispatcher.live.failed(key)

    async def fetch_models(self, headers: Sequence[tuple[bytes, bytes]]) -> tuple[int | None, Any]:
        """Ask the upstream for its models.

        Parameters
        ----------
        headers : sequence of tuple of bytes
            Headers of the request to make.

        Returns
        -------
        status : int or None
            HTTP status; None where there was no answer.
        body : object
            Its JSON; None where it is none.
        """
        try:
            response = await self.upstream.request(
                b"GET", b"/models", [h for h in headers if h[0] != b"content-type"]
            )
            try:
                body = await response.read(_MAX_LIST_BYTES)
            finally:
                response.close()
            return response.status, json.loads(body)
        except UpstreamFailure:
            return None, None
        except (ValueError, RecursionError):
            return response.status, None

    def with_own_models(self, listed: Any) -> Any:
        """Add to a list of models those that have a server of their own."""
        data = listed.get("data") if isinstance(listed, dict) else None
        if not isinstance(data, list):
            return listed
        ids = {row.get("id") for row in data if isinstance(row, dict)}
        own = [model_row(model) for model in self._upstreams if model not in ids]
        return {**listed, "data": [*data, *own]}

    def later(self, task: Callable[[], None]) -> None:
        """Do something when answers that wait have gone out.

        Parameters
        ----------
        task : callable
            What to do; it must not raise.
        """
        self._later.append(task)
        if len(self._later) == 1:
            loop = asyncio.get_running_loop()
            # the turn after the next: uvloop writes what was sent at the end of a turn
            loop.call_soon(loop.call_soon, self._catch_up)

    def _catch_up(self) -> None:
        tasks, self._later = self._later, []
        for task in tasks:
            task()

    def keep(self, line: Mapping[str, Any]) -> None:
        """Append a line to the decision log.

        Parameters
        ----------
        line : mapping
            JSON types.
        """
        if not self.log.append(line):
            self.metrics.count("wattroute_log_errors_total")

    def not_recorded(self) -> None:
        """Count a call whose recording just raised an error, and show the first such error."""
        self.metrics.count("wattroute_log_errors_total")
        if not self._shown_error:
            self._shown_error = True
            logging.getLogger(__name__).exception("calls are answered, but not recorded")

    def reload(self, router: Routes) -> None:
        """Route with another router from now on; calls under way keep theirs.

        Parameters
        ----------
        router : Routes
            The new one.
        """
        if isinstance(self.dispatcher.conversations, SharedConversations):
            self.dispatcher.conversations.know(*(model.id for model in router.models))
        self.dispatcher.replace_router(router)

    async def close(self) -> None:
        """Stop what runs beside the requests and close all connections."""
        self._catch_up()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for upstream in (self.upstream, *self._upstreams.values()):
            upstream.close()
        self.log.close()
        with contextlib.suppress(Exception):  # whoever takes the spans may be away
            await asyncio.to_thread(self.tracer.flush)


def model_row(model: str) -> dict[str, Any]:
    """Return one model as OpenAI's list of models has it.

    Parameters
    ----------
    model : str
        Its id.
    """
    return {"id": model, "object": "model", "created": 0, "owned_by": "wattroute"}
