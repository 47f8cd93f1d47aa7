"""What went wrong with one try, in terms of what to do next."""

from __future__ import annotations

import json
import math
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any, Literal, TypeAlias

from router.errors import UpstreamError

__all__ = ["Failure", "FailureKind", "failure_from_event", "failure_from_response"]

FailureKind: TypeAlias = Literal[
    "auth",
    "bad_request",
    "broken",
    "capability",
    "connection",
    "forbidden",
    "invalid_response",
    "not_found",
    "quota",
    "rate_limit",
    "timeout",
    "unavailable",
]
"""What went wrong with one try."""

_MAX_MESSAGE = 500
_SECRET = re.compile(
    r"(?i)\b(?:bearer\s+\S+|sk[-_][a-z0-9_\-]{6,}|(?:key|oxlo|pk)[-_][a-z0-9_\-]{16,})"
)
_QUOTA_CODES = frozenset({"insufficient_quota", "quota_exceeded", "billing_hard_limit_reached"})
_LIMIT_CODES = frozenset({"rate_limit_exceeded", "daily_limit_exceeded"})
_CAPABILITY_CODES = frozenset({"context_length_exceeded", "unsupported_parameter"})
_CAPABILITY = re.compile(
    r"(?i)(?:not support|unsupported|does not allow|not enabled).{0,80}"
    r"(?:tool|function|image|vision|audio|json|response_format)"
    r"|(?:tool|function|image|vision|audio|json|response_format).{0,80}"
    r"(?:not support|unsupported|not allowed|not enabled)"
    r"|maximum context length|context (?:window|length|size)|too many tokens"
)
_LIMIT = re.compile(
    r"(?i)\b(?:daily|plan|usage|request) limit|limit (?:was |has been )?(?:reached|exceeded)|quota"
)
_GATEWAY_STATUS = {"timeout": 504, "connection": 502, "invalid_response": 502, "broken": 502}
_TRANSIENT: frozenset[FailureKind] = frozenset(
    {"broken", "connection", "invalid_response", "rate_limit", "timeout", "unavailable"}
)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one try gave no answer.

    Attributes
    ----------
    kind : str
        What to do about it: ``"auth"`` (401), ``"quota"`` (402 or a daily limit) and
        ``"bad_request"`` stop; ``"forbidden"`` (403), ``"not_found"`` (404) and
        ``"capability"`` (the model cannot do what is asked) go to the next candidate;
        ``"rate_limit"`` (429), ``"unavailable"`` (408, 409, 425, 5xx), ``"timeout"``,
        ``"connection"`` and ``"invalid_response"`` are tried again; ``"broken"`` ends an
        answer that had begun.
    message : str
        What the server said, shortened and without anything that looks like a key.
    status : int, optional
        HTTP status; None where no response came.
    code : str, optional
        The server's own code, such as ``"model_access_denied"``.
    retry_after_s : float, optional
        Seconds that the server asks to wait, 0 or more.
    daily_limit : int, optional
        Requests a day of the key's plan, where the server names it.
    required_plan : str, optional
        Plan that the model needs, where the server names it.
    request_id : str, optional
        The server's id of the request.
    """

    kind: FailureKind
    message: str
    status: int | None = None
    code: str | None = None
    retry_after_s: float | None = None
    daily_limit: int | None = None
    required_plan: str | None = None
    request_id: str | None = None

    @classmethod
    def timeout(cls, message: str = "no answer within the time limit") -> Failure:
        """Return the failure of a request that took too long."""
        return cls("timeout", _shown(message))

    @classmethod
    def connection(cls, message: str = "connection failed") -> Failure:
        """Return the failure of a connection that could not be made or broke before an answer."""
        return cls("connection", _shown(message))

    @classmethod
    def invalid_response(cls, message: str, status: int | None = 200) -> Failure:
        """Return the failure of a response that is no chat completion."""
        return cls("invalid_response", _shown(message), status)

    @classmethod
    def broken(cls, message: str = "the answer broke off") -> Failure:
        """Return the failure of an answer that began and did not end."""
        return cls("broken", _shown(message))

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.kind in _TRANSIENT

    @property
    def http_status(self) -> int:
        """The status for a caller: the server's own, or the gateway's where there is none."""
        if self.kind in _GATEWAY_STATUS:
            return _GATEWAY_STATUS[self.kind]
        return 502 if self.status is None else self.status

    def upstream_error(self) -> UpstreamError:
        """Return the exception that says the same."""
        return UpstreamError(
            self.message,
            status=self.status,
            request_id=self.request_id,
            retryable=self.retryable,
        )

    def to_openai(self) -> dict[str, Any]:
        """Return the failure as OpenAI's error object, for an HTTP body."""
        extra = {"daily_limit": self.daily_limit, "required_plan": self.required_plan}
        return {
            "error": {
                "message": self.message,
                "type": f"upstream_{self.kind}",
                "param": None,
                "code": self.code or self.kind,
                **{key: value for key, value in extra.items() if value is not None},
            }
        }


def failure_from_response(
    status: int,
    headers: Mapping[str, str] | None = None,
    body: object = None,
    *,
    now: Callable[[], float] = time.time,
) -> Failure:
    """Read an error response.

    Understands OpenAI's ``{"error": {"message", "type", "code"}}``, Oxlo's ``{"error":
    "model_access_denied", "message", "required_plan", "daily_limit"}``, FastAPI's
    ``{"detail"}`` and text.

    Parameters
    ----------
    status : int
        HTTP status.
    headers : mapping, optional
        Response headers, any case.
    body : bytes, str or parsed JSON, optional
        Response body.
    now : callable
        Unix time in seconds, for a ``Retry-After`` that is a date.

    Returns
    -------
    Failure
        What to do about it.

    Examples
    --------
    >>> failure_from_response(
    ...     403, {}, b'{"error": "model_access_denied", "required_plan": "premium"}'
    ... ).kind
    'forbidden'
    >>> failure_from_response(429, {"Retry-After": "7"}).retry_after_s
    7.0
    """
    lowered = {key.lower(): value for key, value in (headers or {}).items()}
    content = _parsed(body)
    fields: dict[str, Any] = content if isinstance(content, dict) else {}
    error = fields.get("error", fields)
    inner: dict[str, Any] = error if isinstance(error, dict) else {}
    code = _text(inner.get("code")) or _text(inner.get("type"))
    if isinstance(error, str):
        code = error
    message = (
        _text(inner.get("message"))
        or _text(fields.get("message"))
        or _text(fields.get("detail"))
        or (error if isinstance(error, str) else None)
        or (content.strip() if isinstance(content, str) else None)
    )
    retry_after_s = _retry_after_s(lowered, now)
    daily_limit = _count(fields.get("daily_limit", inner.get("daily_limit")))
    return Failure(
        kind=_kind(status, code, message or "", daily_limit, retry_after_s),
        message=_shown(message or f"HTTP {status}"),
        status=status,
        code=None if code is None else _shown(code),
        retry_after_s=retry_after_s,
        daily_limit=daily_limit,
        required_plan=_text(fields.get("required_plan", inner.get("required_plan"))),
        request_id=lowered.get("x-request-id"),
    )


def failure_from_event(error: object) -> Failure:
    """Read an error that came with status 200: in the body, or as an event of a stream.

    Parameters
    ----------
    error : object
        The value of ``error``. Its ``code`` is taken as the status where it is one.

    Returns
    -------
    Failure
        What to do about it, as long as nothing of an answer was passed on.
    """
    code = error.get("code") if isinstance(error, Mapping) else None
    status = _count(code) or 0
    if isinstance(code, str) and code.isdecimal():
        status = int(code[:4])
    status = status if 400 <= status <= 599 else 502
    failure = failure_from_response(status, None, {"error": error})
    return replace(failure, code=failure.code or (str(status) if code is not None else None))


def _kind(
    status: int,
    code: str | None,
    message: str,
    daily_limit: int | None,
    retry_after_s: float | None,
) -> FailureKind:
    # a limit of a minute names the wait; a limit of a day only the limit
    spent = code in _QUOTA_CODES or (daily_limit is not None and retry_after_s is None)
    if status == 401:
        return "auth"
    if status == 402:
        return "quota"
    if status == 403:
        limited = spent or code in _LIMIT_CODES or _LIMIT.search(message[:2000])
        return "quota" if limited else "forbidden"
    if status == 404:
        return "not_found"
    if status == 429:
        return "quota" if spent else "rate_limit"
    if status in (408, 409, 425) or status >= 500:
        return "unavailable"
    if status >= 400:
        able = code not in _CAPABILITY_CODES and not _CAPABILITY.search(message[:2000])
        return "bad_request" if able else "capability"
    return "invalid_response"


def _parsed(body: object) -> object:
    if isinstance(body, (bytes, bytearray)):
        body = bytes(body[:100_000]).decode("utf-8", "replace")
    if isinstance(body, str):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return body
    return body


def _retry_after_s(headers: Mapping[str, str], now: Callable[[], float]) -> float | None:
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) / unit
        except ValueError:
            try:
                seconds = parsedate_to_datetime(value).timestamp() - now()
            except (TypeError, ValueError, OverflowError):
                continue
        if math.isfinite(seconds):
            return max(seconds, 0.0)
    return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _count(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value)


def _shown(message: str) -> str:
    clean = _SECRET.sub("***", " ".join(message.split()))
    return clean if len(clean) <= _MAX_MESSAGE else clean[: _MAX_MESSAGE - 3] + "..."
