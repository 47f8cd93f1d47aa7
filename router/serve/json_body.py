"""What a client may send: bodies of bounded size, JSON of bounded depth, fields of known types."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from router.serve.problems import Problem

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

__all__ = [
    "ClientDisconnected",
    "check_chat",
    "check_json",
    "dump_json",
    "finite",
    "parse_object",
    "read_body",
]

MAX_DEPTH = 100

_JSON_TYPES = {
    bool: "a boolean",
    int: "an integer",
    str: "a string",
    list: "an array",
    dict: "an object",
}
# the fields of a chat request that decide its route; all others are the upstream's to check
_CHAT_FIELDS: dict[str, type] = {
    "stream": bool,
    "stream_options": dict,
    "n": int,
    "max_tokens": int,
    "max_completion_tokens": int,
    "tools": list,
    "functions": list,
    "response_format": dict,
    "user": str,
    "wattroute": dict,
}
_LIMITS = {"n": 128, "max_tokens": 2**31 - 1, "max_completion_tokens": 2**31 - 1}

# the functions of the module would make one for each request
_ENCODER = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


class ClientDisconnected(Exception):
    """The client closed the connection before its request was complete."""


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """Read the body of a request.

    Parameters
    ----------
    scope, receive
        The ASGI request.
    limit : int
        The most bytes to take.

    Returns
    -------
    bytes
        The body.

    Raises
    ------
    Problem
        413 if it is longer; what follows is not read.
    ClientDisconnected
        If the client goes away.
    """
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value[:19]) > limit:
            raise _too_large(limit)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnected
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > limit:
            raise _too_large(limit)
        return body
    pieces, size = [body], len(body)
    while message.get("more_body", False):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > limit:
            raise _too_large(limit)
    return b"".join(pieces)


def _too_large(limit: int) -> Problem:
    return Problem(
        413,
        f"the request is larger than {limit:,} bytes: send less, or raise --max-body-mb",
        code="request_too_large",
        headers=[(b"connection", b"close")],
    )


def check_json(headers: Sequence[tuple[bytes, bytes]], *others: bytes) -> None:
    """Refuse a body that does not call itself JSON.

    A web page may send a form or plain text anywhere in its visitor's name, JSON it may not.

    Parameters
    ----------
    headers : sequence of tuple of bytes
        The request's headers; without a content type it counts as JSON.
    *others : bytes
        Content types that will do as well, in lower case.

    Raises
    ------
    Problem
        415.
    """
    for name, value in headers:
        if name == b"content-type":
            kind = value.partition(b";")[0].strip().lower()
            if kind != b"application/json" and kind not in others:
                raise Problem(
                    415,
                    f"the body is {kind.decode('latin-1')[:100]!r}: send application/json",
                    code="unsupported_media_type",
                )


def parse_object(body: bytes) -> dict[str, Any]:
    r"""Parse a body that must be a JSON object.

    Parameters
    ----------
    body : bytes
        UTF-8 text, read as RFC 8259 has it: no NaN, no number beyond a double.

    Returns
    -------
    dict
        The object.

    Raises
    ------
    Problem
        400 if it is something else, or nested deeper than 100 levels.

    Examples
    --------
    >>> parse_object(b'{"model": "auto"}')
    {'model': 'auto'}
    """
    if not body:
        raise _invalid("the request has no body: send a JSON object")
    try:
        value = _DECODER.decode(body.decode())
    except UnicodeDecodeError as error:
        raise _invalid(f"the body is not UTF-8 (byte {error.start})") from error
    except RecursionError as error:
        raise _invalid(f"the JSON is nested deeper than {MAX_DEPTH} levels") from error
    except ValueError as error:
        raise _invalid(f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise _invalid(f"the body must be a JSON object, not {_kind(value)}")
    # only what has that many brackets can be that deep
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        _check_depth(value)
    return value


def dump_json(value: Any) -> bytes:
    """Return JSON of what `parse_object` gave, without blanks.

    Parameters
    ----------
    value : object
        JSON types. Lone surrogates stay the escapes that they came as.
    """
    return _ENCODER.encode(value).encode()


def finite(value: Any) -> Any:
    """Return JSON types in which numbers that JSON lacks are null.

    Parameters
    ----------
    value : object
        Dicts, lists, tuples and plain values.

    Examples
    --------
    >>> finite({"probability": float("nan"), "attempts": (1,)})
    {'probability': None, 'attempts': [1]}
    """
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def check_chat(body: dict[str, Any]) -> None:
    """Check the fields of a chat request that routing reads.

    Parameters
    ----------
    body : dict
        The request. Whole numbers written as 5.0 become 5.

    Raises
    ------
    Problem
        400 if one has another type than OpenAI's API gives it; the field is named.
    """
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise _wrong("model", "must be a model's id or 'auto'")
    for name, kind in _CHAT_FIELDS.items():
        value = body.get(name)
        if value is not None and not _is(value, kind):
            raise _wrong(name, f"must be {_JSON_TYPES[kind]}, not {_kind(value)}")
    for name, limit in _LIMITS.items():
        value = body.get(name)
        if value is None:
            continue
        if not 1 <= value <= limit:
            raise _wrong(name, f"must be from 1 to {limit:,}")
        body[name] = int(value)  # 5.0 is the same number, but not to every server
    messages = body.get("messages")
    if not isinstance(messages, list):
        raise _wrong("messages", f"must be an array of messages, not {_kind(messages)}")
    if not messages:
        raise _wrong("messages", "is empty: send at least one message")
    for i, message in enumerate(messages):
        _check_message(message, f"messages[{i}]")


def _is(value: object, kind: type) -> bool:
    if kind is int:
        whole = isinstance(value, float) and value.is_integer()
        return whole or (isinstance(value, int) and not isinstance(value, bool))
    return isinstance(value, kind)


def _check_message(message: object, where: str) -> None:
    if not isinstance(message, dict):
        raise _wrong(where, f"must be an object, not {_kind(message)}")
    if not isinstance(message.get("role"), str):
        raise _wrong(f"{where}.role", "must be a string such as 'user'")
    content = message.get("content")
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise _wrong(f"{where}.content", f"must be a string or an array, not {_kind(content)}")
    for j, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise _wrong(f"{where}.content[{j}]", "must be an object with a 'type'")
        if part["type"] == "text" and not isinstance(part.get("text"), str):
            raise _wrong(f"{where}.content[{j}].text", "must be a string")


def _check_depth(value: object) -> None:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for container in level:
            items = container.values() if isinstance(container, dict) else container
            inner += [item for item in items if isinstance(item, (dict, list))]
        if not inner:
            return
        level = inner
    raise _invalid(f"the JSON is nested deeper than {MAX_DEPTH} levels")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:40]} is too large")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def _kind(value: object) -> str:
    if value is None:
        return "null"
    return _JSON_TYPES.get(type(value), "a number")


def _invalid(message: str) -> Problem:
    return Problem(400, message, code="invalid_json")


def _wrong(param: str, message: str) -> Problem:
    return Problem(400, f"{param} {message}", code="invalid_value", param=param)
