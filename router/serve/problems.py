"""Errors in the shape that OpenAI's API and its clients use.

Every answer of the proxy with a status of 400 or more has the body
``{"error": {"message": ..., "type": ..., "param": ..., "code": ...}}``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import Send

    from router.dispatch import Failure

__all__ = ["Problem", "problem_of_failure", "send_json", "send_problem"]

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_MAX_MESSAGE = 2_000


class Problem(Exception):
    """A request that gets an error for an answer.

    Parameters
    ----------
    status : int
        HTTP status.
    message : str
        What is wrong and what to do.
    code : str, optional
        What a program tells it by.
    param : str, optional
        The field that is wrong.
    headers : sequence of tuple of bytes
        Further headers of the answer.
    extra : mapping, optional
        Further fields of the error.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Sequence[tuple[bytes, bytes]] = (),
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message: str = message[:_MAX_MESSAGE]
        self.code = code
        self.param = param
        self.headers: tuple[tuple[bytes, bytes], ...] = tuple(headers)
        self.extra: dict[str, Any] = dict(extra or {})

    def to_dict(self) -> dict[str, Any]:
        """Return the body of the answer as JSON types."""
        kind = "invalid_request_error" if self.status < 500 else "api_error"
        return {
            "error": {
                "message": self.message,
                "type": _TYPES.get(self.status, kind),
                "param": self.param,
                "code": self.code,
                **self.extra,
            }
        }


def problem_of_failure(failure: Failure) -> Problem:
    """Return what the client is told when no attempt gave an answer.

    Parameters
    ----------
    failure : Failure
        The last attempt's.

    Returns
    -------
    Problem
        With the upstream's own status where it gave one.
    """
    headers = []
    if failure.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % max(1, round(failure.retry_after_s))))
    extra = {"daily_limit": failure.daily_limit, "required_plan": failure.required_plan}
    return Problem(
        failure.http_status,
        failure.message,
        code=failure.code or failure.kind,
        headers=headers,
        extra={name: value for name, value in extra.items() if value is not None},
    )


async def send_json(
    send: Send, status: int, value: Any, headers: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """Send a whole JSON answer.

    Parameters
    ----------
    send : callable
        The ASGI channel.
    status : int
        HTTP status.
    value : object
        JSON types.
    headers : sequence of tuple of bytes
        Further headers.
    """
    body = json.dumps(value, separators=(",", ":")).encode()
    start: list[tuple[bytes, bytes]] = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})


async def send_problem(
    send: Send, problem: Problem, headers: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """Send an error.

    Parameters
    ----------
    send : callable
        The ASGI channel.
    problem : Problem
        What to tell the client.
    headers : sequence of tuple of bytes
        Further headers.
    """
    await send_json(send, problem.status, problem.to_dict(), (*problem.headers, *headers))
