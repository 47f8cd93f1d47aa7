"""One routed call: the models of its plan are asked until one answers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from router.dispatch import (
    Dispatched,
    Failure,
    Plan,
    Step,
    StreamWatch,
    Usage,
    failure_from_event,
    failure_from_response,
    usage_of,
)
from router.serve.call_record import (
    CallTimes,
    answer_headers,
    count_call,
    log_record,
    mark_prompt,
    trace_call,
)
from router.serve.client_watch import ClientWatch
from router.serve.forwarding import downstream_headers, upstream_headers, without_keys
from router.serve.json_body import dump_json
from router.serve.problems import Problem, problem_of_failure, send_problem
from router.serve.service import Service
from router.serve.upstream import UpstreamFailure, UpstreamResponse, UpstreamTimeoutError

if TYPE_CHECKING:
    from starlette.types import Receive, Send

__all__ = ["RoutedCall"]

_PATH = b"/chat/completions"
_MAX_ANSWER_BYTES = 64 * 2**20
_MAX_ERROR_BYTES = 2**20
_MAX_HELD_BYTES = 2**16


class RoutedCall:
    """One routed chat call.

    Parameters
    ----------
    service : Service
        The worker's state.
    headers : sequence of tuple of bytes
        The request's headers.
    body : dict
        The request.
    plan : Plan
        Where it goes.
    times : CallTimes
        When it came.
    started : float
        The same on the monotonic clock.
    """

    def __init__(
        self,
        service: Service,
        headers: Sequence[tuple[bytes, bytes]],
        body: dict[str, Any],
        plan: Plan,
        times: CallTimes,
        started: float,
    ) -> None:
        self.request_id: str = service.request_ids.draw()
        self._service = service
        self._headers = headers
        self._body = body
        self._plan = plan
        self._times = times
        self._started = started
        self._outcome = "failed"
        self._status = 0
        self._stream: StreamWatch | None = None

    async def answer(self, receive: Receive, send: Send) -> int:
        """Ask the models of the plan until one answers, and pass its answer on.

        Parameters
        ----------
        receive, send
            The ASGI request, whose body has been read.

        Returns
        -------
        int
            HTTP status of the answer; 0 where the client went away before it.
        """
        try:
            async with ClientWatch(receive) as watch:
                self._watch = watch
                await self._exchange(send)
        finally:
            if watch.gone:
                self._outcome = "disconnected"
                if self._status and self._stream is not None and self._stream.complete:
                    # clients that saw the last event need not wait for the end of the body
                    self._finish_stream(self._stream)
            if self._outcome != "answered":
                self._plan.cancelled()
            self._times.whole_s = time.perf_counter() - self._started
            self._service.later(self._keep)
        return self._status

    async def _exchange(self, send: Send) -> None:
        plan = self._plan
        while (step := plan.next()) is not None:
            if step.wait_s > 0:
                await asyncio.sleep(step.wait_s)
            failure = await self._try(step, send)
            if failure is None:
                return
            plan.failed(failure)
        failure = plan.failure or Failure.connection("no model can take this request")
        problem = problem_of_failure(failure)
        self._status = problem.status
        self._watch.stop()
        await send_problem(send, problem, answer_headers(self.request_id, plan.record()))

    async def _try(self, step: Step, send: Send) -> Failure | None:
        """Ask one model; return why it gave no answer, None once its answer has begun."""
        upstream, with_key = self._service.upstream_of(step.model)
        headers = upstream_headers(self._service.settings, self._headers, with_key=with_key)
        try:
            response = await upstream.request(b"POST", _PATH, headers, dump_json(step.body))
        except UpstreamFailure as error:
            return _failure(error)
        first_byte_s = time.perf_counter() - self._started
        try:
            if response.status >= 300:
                settings = self._service.settings
                said = await response.read(_MAX_ERROR_BYTES)
                error_body = without_keys(settings, self._headers, said)
                return failure_from_response(
                    response.status, _text_headers(response.headers), error_body
                )
            self._times.first_byte_s = first_byte_s
            kind = response.get(b"content-type") or b""
            if kind.lower().startswith(b"text/event-stream"):
                return await self._pass_stream(response, send)
            return await self._pass_whole(response, send)
        except UpstreamFailure as error:
            return _failure(error)
        finally:
            response.close()

    async def _pass_whole(self, response: UpstreamResponse, send: Send) -> Failure | None:
        try:
            data = await response.read(_MAX_ANSWER_BYTES)
        except UpstreamFailure as error:
            return Failure.broken(str(error))  # it had begun: it is not asked for again
        try:
            answer = json.loads(data)
        except (ValueError, RecursionError):
            return Failure.invalid_response("the upstream's answer is not JSON", response.status)
        if not isinstance(answer, dict) or not isinstance(answer.get("choices"), list):
            if isinstance(answer, dict) and answer.get("error"):
                return self._said(answer["error"], response)
            return Failure.invalid_response(
                "the upstream's answer is no chat completion", response.status
            )
        self._plan.began()
        self._plan.finished(usage_of(answer), finish_reason=_finish_reason(answer["choices"]))
        self._watch.stop()
        await self._begin(send, response, len(data))
        await send({"type": "http.response.body", "body": data})
        self._outcome = "answered"
        return None

    async def _pass_stream(self, response: UpstreamResponse, send: Send) -> Failure | None:
        self._stream = watch = StreamWatch(self._plan.profile.n)
        held = b""
        try:
            while piece := await response.next_piece():
                watch.feed(piece)
                if watch.error is not None:
                    piece = without_keys(self._service.settings, self._headers, piece)
                if self._status == 0:
                    held += piece
                    if watch.error is not None and not watch.deltas:
                        break
                    if not watch.began and len(held) < _MAX_HELD_BYTES:
                        continue
                    self._plan.began()
                    await self._begin(send, response)
                    piece = held
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            watch.end()
        except UpstreamFailure as error:
            if self._status == 0:
                return _failure(error)
            if not watch.complete:
                await self._break_off(send, str(error))
                return None
        if self._status == 0:
            if watch.error is not None:
                return self._said(watch.error, response)
            return Failure.connection("the upstream's stream ended before it began")
        if not watch.complete:
            await self._break_off(send, "the upstream's stream ended before the answer did")
            return None
        self._watch.stop()
        await send({"type": "http.response.body", "body": b""})
        self._finish_stream(watch)
        return None

    def _said(self, error: object, response: UpstreamResponse) -> Failure:
        """Read an error that came with status 200, with the keys in it blacked out."""
        if isinstance(error, dict):
            error = {name: self._without_keys(value) for name, value in error.items()}
        request_id = _text_headers(response.headers).get("x-request-id")
        return replace(failure_from_event(self._without_keys(error)), request_id=request_id)

    def _without_keys(self, said: object) -> object:
        if not isinstance(said, str):
            return said
        data = said.encode(errors="surrogatepass")
        return without_keys(self._service.settings, self._headers, data).decode(errors="replace")

    def _finish_stream(self, watch: StreamWatch) -> None:
        usage = watch.usage or Usage(
            round(self._plan.profile.prompt_tokens), watch.deltas, estimated=True
        )
        self._plan.finished(usage, finish_reason=watch.finish_reason)
        self._outcome = "answered"

    async def _begin(
        self, send: Send, response: UpstreamResponse, length: int | None = None
    ) -> None:
        headers = downstream_headers(response.headers)
        if length is not None:
            headers.append((b"content-length", b"%d" % length))
        headers += answer_headers(self.request_id, self._plan.record())
        # until its end has been sent
        self._status, self._outcome = response.status, "broken"
        await send({"type": "http.response.start", "status": response.status, "headers": headers})

    async def _break_off(self, send: Send, reason: str) -> None:
        """Tell the client that the answer is not whole, and do not end it properly."""
        self._plan.broke(Failure.broken(reason))
        event = dump_json(Problem(502, f"the answer broke off: {reason}", code="broken").to_dict())
        # the blank line ends an event that was cut short
        await send(
            {
                "type": "http.response.body",
                "body": b"\n\ndata: " + event + b"\n\n",
                "more_body": True,
            }
        )

    def _keep(self) -> None:
        """Count and log the call; whatever goes wrong with that is no concern of the client."""
        service, plan = self._service, self._plan
        settings = service.settings
        try:
            record: Dispatched = plan.record()
            count_call(service.metrics, record, self._times, self._outcome)
            if settings.log is not None:
                messages = self._body["messages"]
                line = log_record(
                    self.request_id,
                    record,
                    mark_prompt(messages),
                    self._times,
                    self._outcome,
                    self._status,
                    asked=plan.asked,
                    stream=plan.profile.stream,
                    run_name=None if record.model is None else service.run_name(record.model),
                    prompt=messages if settings.log_prompts else None,
                )
                service.keep(line)
            trace_call(service.tracer, self._headers, record, self._times, self._outcome)
        except Exception:
            service.not_recorded()


def _failure(error: UpstreamFailure) -> Failure:
    if isinstance(error, UpstreamTimeoutError):
        return Failure.timeout(str(error))
    return Failure.connection(str(error))


def _text_headers(headers: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}


def _finish_reason(choices: list[Any]) -> str | None:
    first = choices[0] if choices and isinstance(choices[0], dict) else {}
    reason = first.get("finish_reason")
    return reason if isinstance(reason, str) else None
