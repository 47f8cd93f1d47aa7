"""What the two clients share of a routed call: its body, its tries, its failures."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, get_args

import openai

from router.client.answers import Recorder, finish_reason_of
from router.client.errors import BrokenAnswerError, RoutedCallError
from router.dispatch import (
    Failure,
    Plan,
    Step,
    failure_from_event,
    failure_from_response,
    parse_routing_name,
    usage_of,
)
from router.dispatch.options import EXTENSION

__all__ = [
    "SESSION_HEADER",
    "InvalidAnswer",
    "answered",
    "broken_body",
    "chunk_type",
    "current_plan",
    "failure_of",
    "final_error",
    "header",
    "is_raw",
    "list_options",
    "parser_of",
    "reads_late",
    "routed_body",
    "sending",
    "try_options",
]

SESSION_HEADER = "x-wattroute-session"
"""Header that names the conversation; it is not sent on."""

_RAW_HEADER = "X-Stainless-Raw-Response"
_LIST_TIMEOUT_S = 5.0
_HTTP_PACKAGES = ("h11", "h2", "httpcore", "httpcore2", "httpx", "httpx2")
_PLAN: ContextVar[Plan | None] = ContextVar("wattroute_plan", default=None)


class InvalidAnswer(Exception):
    """A response with status 200 that is no chat completion."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@contextmanager
def sending(plan: Plan | None) -> Iterator[None]:
    """Make `plan` the call that this thread or task is sending; None for one that is not routed."""
    token = _PLAN.set(plan)
    try:
        yield
    finally:
        _PLAN.reset(token)


def current_plan() -> Plan | None:
    """Return the call that this thread or task is sending, or None."""
    return _PLAN.get()


def routed_body(options: Any, extension: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the whole body of a request that asks for routing, or None for any other.

    Parameters
    ----------
    options : FinalRequestOptions
        The request.
    extension : mapping
        Options of the router that hold where the request has none.

    Raises
    ------
    ConfigError
        If the bar in the model's name is not valid.
    """
    body = options.json_data
    if options.method.lower() != "post" or not isinstance(body, Mapping):
        return None
    if not options.url.partition("?")[0].rstrip("/").endswith("/chat/completions"):
        return None
    whole = {**body, **(options.extra_json or {})}
    if parse_routing_name(whole.get("model")) is None:
        return None
    given = whole.get(EXTENSION)
    if given is None or isinstance(given, Mapping):
        whole[EXTENSION] = {**extension, **(given or {})}
    return whole


def header(options: Any, name: str) -> str | None:
    """Return a header that was given with a request, or None."""
    headers = options.headers
    for key, value in headers.items() if isinstance(headers, Mapping) else ():
        if key.lower() == name.lower() and isinstance(value, str):
            return value
    return None


def try_options(options: Any, step: Step, recorder: Recorder) -> Any:
    """Return the options of one try: the caller's, with the step's body and without retries."""
    tried = options.model_copy()
    tried.json_data = step.body
    tried.extra_json = None
    tried.max_retries = 0
    tried.post_parser = recorder
    if isinstance(options.headers, Mapping):
        tried.headers = {
            key: value for key, value in options.headers.items() if key.lower() != SESSION_HEADER
        }
    return tried


def is_raw(response: Any) -> bool:
    """Return whether the caller asked for the response itself."""
    return bool(response.request.headers.get(_RAW_HEADER))


def list_options(options: Any) -> Any:
    """Return the request options for the list of models: quick, once, with the caller's key."""
    key = header(options, "authorization")
    headers = {} if key is None else {"headers": {"Authorization": key}}
    return {"timeout": _LIST_TIMEOUT_S, "max_retries": 0, **headers}


def reads_late(response: Any) -> bool:
    """Return whether the caller reads the body of a response, and when it likes."""
    return bool(response.request.headers.get(_RAW_HEADER) == "stream")


def parser_of(options: Any) -> Callable[[Any], Any] | None:
    """Return the parser that a request came with, or None."""
    parser = options.post_parser
    return parser if callable(parser) else None


def chunk_type(stream_cls: Any) -> Any:
    """Return what the chunks of a stream are parsed into; None where that is not said."""
    return next(iter(get_args(stream_cls)), None)


def answered(plan: Plan, content: bytes) -> None:
    """Note a whole answer that is not streamed.

    Raises
    ------
    InvalidAnswer
        If the body is no chat completion.
    """
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        start = content[:80].decode("utf-8", "replace")
        raise InvalidAnswer(Failure.invalid_response(f"no JSON: {start!r}")) from None
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list) or not choices:
        error = body.get("error") if isinstance(body, dict) else None
        if error:
            raise InvalidAnswer(failure_from_event(error))
        raise InvalidAnswer(Failure.invalid_response("a chat completion without choices"))
    plan.began()
    plan.finished(usage_of(body), finish_reason_of(body))


def broken_body(plan: Plan, response: Any, error: Exception) -> BrokenAnswerError:
    """Note an answer whose body broke off, and return the error that says so."""
    failure = Failure.broken(f"the answer broke off: {error or type(error).__name__}")
    plan.began()
    plan.broke(failure)
    return BrokenAnswerError(failure, response.request, plan.record())


def failure_of(error: BaseException) -> Failure | None:
    """Return what an exception says about the upstream, or None if it says nothing about it."""
    if isinstance(error, InvalidAnswer):
        return error.failure
    if isinstance(error, BrokenAnswerError):
        return Failure.connection(error.message)
    if isinstance(error, openai.APIStatusError):
        response = error.response
        return failure_from_response(response.status_code, response.headers, _content(error))
    if isinstance(error, openai.APITimeoutError):
        return Failure.timeout(str(error))
    if isinstance(error, openai.APIConnectionError):
        return Failure.connection(str(error.__cause__ or error))
    if isinstance(error, openai.APIResponseValidationError):
        return Failure.invalid_response(str(error))
    if isinstance(error, openai.APIError):
        return failure_from_event(error.body)
    if isinstance(error, StopIteration | StopAsyncIteration):
        return Failure.connection("the stream ended before its first chunk")
    # the body of an error response, which openai reads without a net
    if type(error).__module__.partition(".")[0] in _HTTP_PACKAGES:
        timeout = "timeout" in type(error).__name__.lower()
        return Failure.timeout(str(error)) if timeout else Failure.connection(str(error))
    if isinstance(error, json.JSONDecodeError):
        return Failure.invalid_response(f"an event is no JSON: {error}")
    return None


def _content(error: openai.APIStatusError) -> object:
    try:
        return error.response.content
    except Exception:  # a response that was closed before it was read
        return error.body


def final_error(plan: Plan, last: BaseException | None, request: Any) -> BaseException:
    """Return the exception for a call that nobody answered.

    openai's own one of the last try, with the record on it; where there is none, a
    `RoutedCallError`.
    """
    record = plan.record()
    if isinstance(last, openai.APIError) and not isinstance(last, BrokenAnswerError):
        last.decision = record  # type: ignore[attr-defined]
        error: BaseException = last
    else:
        failure = plan.failure or Failure.connection("nothing was sent")
        error = RoutedCallError(failure, request, record)
        error.__cause__ = last
    tries = [
        f"{attempt.model}: {attempt.outcome}" + (f" {attempt.status}" if attempt.status else "")
        for attempt in record.attempts
    ]
    error.add_note(f"WattRoute tried {', '.join(tries)}")
    return error
