"""``POST /v1/chat/completions``: check the request and decide where it goes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from router.dispatch import Plan, parse_routing_name
from router.dispatch.names import AUTO
from router.dispatch.options import OPTION_NAMES, RoutingOptions, read_options
from router.errors import ConfigError, WattRouteError
from router.serve.call_record import CallTimes
from router.serve.forwarding import check_access, upstream_key
from router.serve.json_body import check_chat, check_json, parse_object, read_body
from router.serve.passthrough import pass_on
from router.serve.problems import Problem
from router.serve.routed_call import RoutedCall
from router.serve.service import Service

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = ["answer_chat", "options_of", "plan_of", "read_chat"]

# reading a larger request would keep the other calls waiting
_LARGE_BODY_BYTES = 2**18
_PREFIX = b"x-wattroute-"
_NUMBERS = frozenset({"confidence", "min_probability", "quality"})
_NAMES = frozenset({"group", "session", "task"})
_OPTION_OF_HEADER = {_PREFIX + name.replace("_", "-").encode(): name for name in OPTION_NAMES}


async def answer_chat(service: Service, scope: Scope, receive: Receive, send: Send) -> int:
    """Answer one chat request.

    Parameters
    ----------
    service : Service
        The worker's state.
    scope, receive, send
        The ASGI request.

    Returns
    -------
    int
        HTTP status of the answer; 0 where the client went away before it.

    Raises
    ------
    Problem
        If the request is not valid; nothing was sent.
    """
    unix_s, started = time.time(), time.perf_counter()
    headers: Sequence[tuple[bytes, bytes]] = scope["headers"]
    check_access(service.settings, headers)
    check_json(headers)
    raw = await read_body(scope, receive, service.settings.max_body_bytes)
    large = len(raw) > _LARGE_BODY_BYTES
    body = await asyncio.to_thread(read_chat, raw) if large else read_chat(raw)
    options = options_of(headers, body)
    if options is None:
        return await pass_on(service, scope, receive, send, raw, model=body["model"])
    service.refresh_models(upstream_key(service.settings, headers), headers)
    plan = (
        await asyncio.to_thread(plan_of, service, headers, body, options)
        if large
        else plan_of(service, headers, body, options)
    )
    call = RoutedCall(service, headers, body, plan, CallTimes(unix_s), started)
    return await call.answer(receive, send)


def read_chat(raw: bytes, default_model: str | None = None) -> dict[str, Any]:
    """Parse and check the body of a chat request.

    Parameters
    ----------
    raw : bytes
        The body.
    default_model : str, optional
        What a request without a model names.

    Returns
    -------
    dict
        The request.

    Raises
    ------
    Problem
        If it is not valid.
    """
    body = parse_object(raw)
    if default_model is not None:
        body.setdefault("model", default_model)
    check_chat(body)
    return body


def options_of(
    headers: Sequence[tuple[bytes, bytes]], body: dict[str, Any]
) -> RoutingOptions | None:
    """Return what a chat request asks of the router, None if it names a real model.

    Parameters
    ----------
    headers : sequence of tuple of bytes
        The request's headers.
    body : dict
        The request.

    Raises
    ------
    Problem
        400 if an option is not valid, even one that another goes before.
    """
    try:
        routed = parse_routing_name(body["model"]) is not None
    except ConfigError as error:
        raise Problem(400, str(error), code="invalid_value", param="model") from error
    asked = body if routed else {**body, "model": AUTO}
    try:
        options = read_options(asked, _of_headers(headers))
    except ConfigError as error:
        raise Problem(400, str(error), code="invalid_value") from error
    return options if routed else None


def _of_headers(headers: Sequence[tuple[bytes, bytes]]) -> RoutingOptions | None:
    """Return what the headers ask of the router, None where they say nothing."""
    found: dict[str, Any] = {}
    for name, value in headers:
        option = _OPTION_OF_HEADER.get(name) if name.startswith(_PREFIX) else None
        if option is None:
            continue
        text = value.decode("utf-8", "replace")
        if option not in _NUMBERS:
            # a blank name is none
            found[option] = text if text or option not in _NAMES else None
            continue
        try:
            found[option] = float(text)
        except ValueError:
            message = f"the header {name.decode()} must be a number"
            raise Problem(400, message, code="invalid_value") from None
    return RoutingOptions(**found) if found else None


def plan_of(
    service: Service,
    headers: Sequence[tuple[bytes, bytes]],
    body: dict[str, Any],
    options: RoutingOptions,
) -> Plan:
    """Decide where a chat request goes.

    Parameters
    ----------
    service : Service
        The worker's state.
    headers : sequence of tuple of bytes
        The request's headers.
    body : dict
        The request, checked.
    options : RoutingOptions
        What it asks of the router.

    Returns
    -------
    Plan
        What to try, in order.

    Raises
    ------
    Problem
        413 if the prompt is too long; 503 if nothing can route it.
    """
    limit = service.settings.max_prompt_characters
    if sum(_n_characters(message) for message in body["messages"]) > limit:
        raise Problem(
            413,
            f"the prompt is longer than {limit:,} characters",
            code="context_length_exceeded",
            param="messages",
        )
    try:
        return service.dispatcher.plan(
            body,
            key=upstream_key(service.settings, headers),
            options=options,
        )
    except ConfigError as error:
        raise Problem(400, str(error), code="invalid_value") from error
    except WattRouteError as error:
        raise Problem(503, f"the router is not available: {error}", code="no_router") from error


def _n_characters(message: dict[str, Any]) -> int:
    content = message.get("content")
    if isinstance(content, str):
        return len(content)
    if not isinstance(content, list):
        return 0
    # only text: an image of some megabytes is no long prompt
    return sum(len(part["text"]) for part in content if isinstance(part.get("text"), str))
