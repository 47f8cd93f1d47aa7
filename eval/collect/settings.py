"""How a model is asked: where, with which limits, and with which sampling."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from router.errors import ConfigError

__all__ = ["AskSettings", "is_local"]

_OWN_FIELDS = ("model", "messages", "stream", "n", "max_tokens")


@dataclass(frozen=True, slots=True)
class AskSettings:
    """How one model is asked.

    Attributes
    ----------
    model : str
        Its name in the runs.
    api_id : str
        Its id in the API.
    base_url : str
        Base URL of an OpenAI-compatible API, such as ``https://api.oxlo.ai/v1``.
    max_tokens : int
        Most tokens of an answer; always sent, because servers' own defaults are short.
    temperature, top_p : float
        Sampling; always sent.
    seed : int, optional
        Seed of sampling; not sent where None.
    repeat_penalty : float, optional
        Penalty on repeating; not sent where None, for servers that do not know it.
    system : str, optional
        System message that goes before the prompt. It is no part of the prompt in the runs.
    extra : mapping
        Other fields of the request, such as ``{"min_p": 0}``.
    concurrency : int
        Requests to this model at a time.
    requests_per_minute : int, optional
        Most requests to this model in any sixty seconds.

    Raises
    ------
    ConfigError
        If a setting is out of its range.
    """

    model: str
    api_id: str
    base_url: str
    max_tokens: int = 2048
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = 0
    repeat_penalty: float | None = None
    system: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    concurrency: int = 4
    requests_per_minute: int | None = None

    def __post_init__(self) -> None:
        where = f"model {self.model!r}"
        if not self.model.strip() or not self.api_id.strip():
            raise ConfigError("a model's name is blank")
        try:
            parts = urlsplit(self.base_url)
            parts.port  # noqa: B018 - raises where it is no number
        except ValueError as error:
            raise ConfigError(f"{where}: {self.base_url!r} is no URL ({error})") from error
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
            raise ConfigError(
                f"{where}: base URL {self.base_url!r}: use one such as https://api.oxlo.ai/v1"
            )
        if parts.username is not None:
            raise ConfigError(f"{where}: put no key into the base URL: use --key-env")
        for name in ("max_tokens", "concurrency", "requests_per_minute"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ConfigError(f"{where}: {name} is {value!r}: use a whole number above 0")
        for name, least in (("temperature", 0.0), ("top_p", 0.0), ("repeat_penalty", 0.0)):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= least):
                raise ConfigError(f"{where}: {name} is {value!r}: use a number of at least 0")
        if taken := [key for key in self.extra if key in _OWN_FIELDS]:
            raise ConfigError(f"{where}: {taken[0]!r} has an option of its own")

    @property
    def url(self) -> str:
        """Where chat completions are asked for."""
        return f"{self.base_url.rstrip('/')}/chat/completions"

    def deciding(self) -> dict[str, Any]:
        """Return what decides the answers, as JSON types: stored, and compared at each start."""
        return {
            "api_id": self.api_id,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "seed": self.seed,
            "repeat_penalty": self.repeat_penalty,
            "system": self.system,
            "extra": dict(self.extra),
        }

    def body(self, messages: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the request for a prompt.

        Examples
        --------
        >>> AskSettings("m", "m-1", "http://127.0.0.1:1/v1").body([])["max_tokens"]
        2048
        """
        if self.system is not None and not any(m["role"] == "system" for m in messages):
            messages = [{"role": "system", "content": self.system}, *messages]
        optional = {"seed": self.seed, "repeat_penalty": self.repeat_penalty}
        return {
            "model": self.api_id,
            "messages": messages,
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            **{key: value for key, value in optional.items() if value is not None},
            **self.extra,
        }


def is_local(base_url: str) -> bool:
    """Return whether a URL is on this machine.

    Examples
    --------
    >>> is_local("http://127.0.0.1:8080/v1"), is_local("https://api.oxlo.ai/v1")
    (True, False)
    """
    host = urlsplit(base_url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
