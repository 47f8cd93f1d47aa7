"""One chat request to an OpenAI-compatible API, and what comes back."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from router.dispatch.failure import Failure, failure_from_event, failure_from_response
from router.errors import ConfigError, MissingExtraError
from router.eval.collect.settings import AskSettings, is_local

if TYPE_CHECKING:
    import httpx

__all__ = ["ChatClient", "Reply", "key_headers", "read_reply"]

_CONNECT_S = 10.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A finished answer as a server sent it.

    Attributes
    ----------
    text : str
        The answer.
    finish_reason : str, optional
        Why it ended.
    prompt_tokens, completion_tokens, reasoning_tokens : int, optional
        As the server counted them; None where it does not say.
    reasoning : str, optional
        Reasoning beside the answer.
    served_model : str, optional
        The model that the server names.
    latency_s : float
        Seconds until it was complete.
    """

    text: str
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    reasoning_tokens: int | None = None
    reasoning: str | None = None
    served_model: str | None = None
    latency_s: float = 0.0


class ChatClient:
    """Sends requests, each once, and never raises for what a server does.

    Parameters
    ----------
    timeout_s : float
        Seconds for a request from the connection to its last byte.
    key_envs : mapping of str to str
        By model, the environment variable with its API key; read at the first request.
    """

    def __init__(self, timeout_s: float, key_envs: Mapping[str, str]) -> None:
        self._timeout_s = timeout_s
        self._key_envs = key_envs
        self._clients: dict[bool, httpx.AsyncClient] = {}
        self._headers: dict[str, dict[str, str]] = {}

    async def ask(self, settings: AskSettings, messages: list[dict[str, Any]]) -> Reply | Failure:
        """Ask a model and return its answer, or why there is none."""
        import httpx

        if settings.model not in self._headers:
            self._headers[settings.model] = key_headers(
                self._key_envs.get(settings.model), settings.base_url
            )
        local = is_local(settings.base_url)
        if local not in self._clients:
            # a proxy of the environment is for servers elsewhere
            self._clients[local] = _async_client(trust_env=not local)
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._clients[local].post(
                    settings.url,
                    content=json.dumps(settings.body(messages)).encode(),
                    headers=self._headers[settings.model],
                )
        except (TimeoutError, httpx.TimeoutException):
            return Failure.timeout()
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return Failure.connection(f"{type(error).__name__}: {error}")
        latency_s = time.perf_counter() - started
        return read_reply(
            response.status_code, response.headers, response.content, latency_s=latency_s
        )

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()


def key_headers(variable: str | None, base_url: str) -> dict[str, str]:
    """Return the headers of a request, with the key that an environment variable holds.

    Parameters
    ----------
    variable : str or None
        Name of the variable.
    base_url : str
        Whom the key is for; a server on this machine may need none.

    Raises
    ------
    ConfigError
        If the variable is not set and the server is elsewhere, or the key cannot be sent.
    """
    headers = {"content-type": "application/json"}
    key = os.environ.get(variable or "", "").strip()
    if key:
        if not key.isascii() or not key.isprintable():
            raise ConfigError(f"the key in {variable} has characters that no key has")
        headers["authorization"] = f"Bearer {key}"
    elif not is_local(base_url):
        raise ConfigError(f"{base_url} needs a key: set {variable}, or name another --key-env")
    return headers


def read_reply(
    status: int, headers: Mapping[str, str], content: bytes, *, latency_s: float = 0.0
) -> Reply | Failure:
    """Read a response.

    Parameters
    ----------
    status : int
        HTTP status.
    headers : mapping
        Its headers.
    content : bytes
        Its body.
    latency_s : float
        Seconds that it took.

    Returns
    -------
    Reply or Failure
        The answer, or why there is none.

    Examples
    --------
    >>> body = b'{"choices": [{"message": {"content": "42"}, "finish_reason": "stop"}]}'
    >>> read_reply(200, {}, body).text
    '42'
    >>> read_reply(503, {}, b"busy").kind
    'unavailable'
    """
    if status != 200:
        return failure_from_response(status, headers, content)
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return Failure.invalid_response("the response is no JSON")
    if isinstance(body, dict) and body.get("error") and not body.get("choices"):
        return failure_from_event(body["error"])
    try:
        choice = body["choices"][0]
        message = choice["message"]
        text = message.get("content")
    except (KeyError, IndexError, TypeError, AttributeError):
        return Failure.invalid_response("the response has no answer in it")
    if text is not None and not isinstance(text, str):
        return Failure.invalid_response("the answer is no text")
    usage = body.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("completion_tokens_details")
    details = details if isinstance(details, dict) else {}
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    return Reply(
        text=_clean(text or ""),
        finish_reason=_text(choice.get("finish_reason")),
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
        reasoning_tokens=_count(details.get("reasoning_tokens")),
        reasoning=_text(reasoning),
        served_model=_text(body.get("model")),
        latency_s=latency_s,
    )


def _async_client(*, trust_env: bool) -> httpx.AsyncClient:
    try:
        import httpx
    except ModuleNotFoundError as error:
        raise MissingExtraError("httpx", "collect") from error
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    timeout = httpx.Timeout(None, connect=_CONNECT_S)
    return httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=trust_env)


def _clean(text: str) -> str:
    """Replace half surrogate pairs, which no file can hold."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _text(value: object) -> str | None:
    return _clean(value) if isinstance(value, str) and value else None


def _count(value: object) -> int | None:
    return value if type(value) is int and value >= 0 else None
