"""Requests that are not routed: they go to the upstream and come back as they are."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

from router.serve.client_watch import ClientWatch
from router.serve.forwarding import (
    check_access,
    downstream_headers,
    header,
    upstream_headers,
    without_keys,
)
from router.serve.json_body import check_json, read_body
from router.serve.problems import Problem
from router.serve.service import Service
from router.serve.upstream import (
    Upstream,
    UpstreamFailure,
    UpstreamResponse,
    UpstreamTimeoutError,
)

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = ["pass_on", "pass_through"]

_ROOT = b"/v1"
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
_WITH_BODY = frozenset({"PATCH", "POST", "PUT"})
_MAX_ERROR_BYTES = 2**20


async def pass_through(service: Service, scope: Scope, receive: Receive, send: Send) -> int:
    """Pass on a request to any endpoint of the upstream.

    Parameters
    ----------
    service : Service
        The worker's state.
    scope, receive, send
        The ASGI request; its path begins with ``/v1/``.

    Returns
    -------
    int
        HTTP status of the answer; 0 where the client went away before it.

    Raises
    ------
    Problem
        If the request may not be passed on, or the upstream cannot be reached.
    """
    check_access(service.settings, scope["headers"])
    if scope["method"] not in _METHODS:
        raise Problem(
            405,
            f"{scope['method'][:20]} is not passed on",
            code="method_not_allowed",
            headers=[(b"allow", ", ".join(_METHODS).encode())],
        )
    if scope["method"] in _WITH_BODY:
        check_json(scope["headers"], b"multipart/form-data")  # files come as that
    body = await read_body(scope, receive, service.settings.max_body_bytes)
    return await pass_on(service, scope, receive, send, body)


async def pass_on(
    service: Service,
    scope: Scope,
    receive: Receive,
    send: Send,
    body: bytes,
    *,
    model: str | None = None,
) -> int:
    """Pass on a request whose body has been read, once, and its answer.

    Parameters
    ----------
    service : Service
        The worker's state.
    scope, receive, send
        The ASGI request.
    body : bytes
        Its body.
    model : str, optional
        The model that it names, where that is known.

    Returns
    -------
    int
        HTTP status of the answer; 0 where the client went away before it.

    Raises
    ------
    Problem
        If the request may not be passed on, or the upstream cannot be reached.
    """
    path = _upstream_path(scope)
    given: Sequence[tuple[bytes, bytes]] = scope["headers"]
    upstream, with_key = (service.upstream, True) if model is None else service.upstream_of(model)
    headers = upstream_headers(
        service.settings,
        given,
        with_key=with_key,
        encoding=header(given, b"accept-encoding") or b"identity",
    )
    status = 0
    async with ClientWatch(receive) as watch:
        response = await _ask(upstream, scope["method"].encode(), path, headers, body)
        try:
            if response.status >= 400:
                status = await _pass_error(service, given, response, send, watch)
            else:
                status = await _pass_back(response, send, watch)
        finally:
            response.close()
    return status


async def _ask(
    upstream: Upstream,
    method: bytes,
    path: bytes,
    headers: Sequence[tuple[bytes, bytes]],
    body: bytes,
) -> UpstreamResponse:
    try:
        return await upstream.request(method, path, headers, body)
    except UpstreamTimeoutError as error:
        raise Problem(504, str(error), code="timeout") from error
    except UpstreamFailure as error:
        raise Problem(502, str(error), code="connection") from error


async def _pass_error(
    service: Service,
    given: Sequence[tuple[bytes, bytes]],
    response: UpstreamResponse,
    send: Send,
    watch: ClientWatch,
) -> int:
    if response.get(b"content-encoding") not in (None, b"identity"):
        return await _pass_back(response, send, watch)
    try:
        data = without_keys(service.settings, given, await response.read(_MAX_ERROR_BYTES))
    except UpstreamFailure as error:
        raise _broken(error) from error
    data = _openai_error(response.status, data)
    headers = [h for h in downstream_headers(response.headers) if h[0] != b"content-type"]
    headers.append((b"content-type", b"application/json"))
    headers.append((b"content-length", b"%d" % len(data)))
    watch.stop()
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": data})
    return response.status


async def _pass_back(response: UpstreamResponse, send: Send, watch: ClientWatch) -> int:
    try:
        piece = await response.next_piece()
    except UpstreamFailure as error:
        raise _broken(error) from error
    headers = downstream_headers(response.headers)
    length = response.get(b"content-length")
    if length is not None and response.status != 304:  # which has the length of what it lacks
        headers.append((b"content-length", length))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    try:
        while piece and not response.ended:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            piece = await response.next_piece()
    except UpstreamFailure:
        return response.status  # without its end: the client sees that it is not whole
    watch.stop()
    await send({"type": "http.response.body", "body": piece})
    return response.status


def _broken(error: UpstreamFailure) -> Problem:
    return Problem(502, f"the upstream's answer broke off: {error}", code="broken")


def _openai_error(status: int, data: bytes) -> bytes:
    """Return an error in OpenAI's shape, as it is if it has that."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        body = None
    fields = body if isinstance(body, dict) else {}
    if isinstance(fields.get("error"), dict):
        return data
    texts = (fields.get("message"), fields.get("detail"), fields.get("error"))
    message = next((text for text in texts if isinstance(text, str)), None)
    code = fields["error"] if isinstance(fields.get("error"), str) else "upstream_error"
    problem = Problem(status, message or f"the upstream answered {status}", code=code)
    return json.dumps(problem.to_dict() | {"upstream": body}).encode()


def _upstream_path(scope: Scope) -> bytes:
    """Return the path below ``/v1`` with its query, as the client wrote it."""
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    path = path.partition(b"?")[0]
    below = path[len(_ROOT) :]
    segments = unquote_to_bytes(below).replace(b"\\", b"/").split(b"/")
    if not path.startswith(_ROOT + b"/") or b".." in segments or b"." in segments:
        # the upstream might see another folder in it
        raise Problem(404, "there is no such endpoint", code="not_found")
    query: bytes = scope["query_string"]
    whole = below + b"?" + query if query else below
    if any(byte <= 32 or byte == 127 for byte in whole):
        raise Problem(400, "the path has a blank in it", code="invalid_value")
    return whole
