"""What a chat request needs of a model."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["RequestProfile", "profile_request"]

# English has four to five characters a token, code about three, other scripts one to two of
# two or three bytes each: bytes over 3.5 lies a little above most tokenisers.
_BYTES_PER_TOKEN = 3.5
_TOKENS_PER_MESSAGE = 4
_TOKENS_PER_IMAGE = 1_000
_IMAGE_PARTS = frozenset({"image", "image_url", "input_image"})
_AUDIO_PARTS = frozenset({"audio", "input_audio"})


@dataclass(frozen=True, slots=True)
class RequestProfile:
    """What a chat request needs of a model.

    Attributes
    ----------
    stream : bool
        Whether the answer is streamed.
    n : int
        Answers asked for.
    vision, audio, tools, json_mode : bool
        Whether there are images, audio, tool definitions, or a JSON ``response_format``.
    prompt_tokens : int
        Estimated tokens of the prompt, tool definitions included; a little on the high side.
    max_tokens : int, optional
        Most tokens of an answer, as the request says; None where it does not.
    n_messages : int
        Messages.
    n_characters : int
        Characters of text in them.
    """

    stream: bool
    n: int
    vision: bool
    audio: bool
    tools: bool
    json_mode: bool
    prompt_tokens: int
    max_tokens: int | None
    n_messages: int
    n_characters: int


def profile_request(body: Mapping[str, Any]) -> RequestProfile:
    """Return what a chat request needs; never fails, whatever is in it.

    Parameters
    ----------
    body : mapping
        The JSON object of a request to ``/chat/completions``.

    Examples
    --------
    >>> profile = profile_request({"messages": [{"role": "user", "content": [
    ...     {"type": "text", "text": "What is this?"},
    ...     {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}]}]})
    >>> profile.vision, profile.tools, profile.max_tokens
    (True, False, None)
    """
    messages = body.get("messages")
    listed = messages if isinstance(messages, list) else []
    size = _Size()
    for message in listed:
        if isinstance(message, Mapping):
            size.add_message(message)
    tools = body.get("tools") or body.get("functions")
    response_format = body.get("response_format")
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    json_mode = kind in ("json_object", "json_schema")
    n_bytes = size.n_bytes + (_json_length(tools) if tools else 0)
    if kind == "json_schema":
        n_bytes += _json_length(response_format)
    tokens = math.ceil(n_bytes / _BYTES_PER_TOKEN) + _TOKENS_PER_MESSAGE * len(listed)
    return RequestProfile(
        stream=body.get("stream") is True,
        n=_count(body.get("n")) or 1,
        vision=size.n_images > 0,
        audio=size.n_audio > 0,
        tools=bool(tools),
        json_mode=json_mode,
        prompt_tokens=tokens + _TOKENS_PER_IMAGE * size.n_images,
        max_tokens=_count(body.get("max_completion_tokens")) or _count(body.get("max_tokens")),
        n_messages=len(listed),
        n_characters=size.n_characters,
    )


class _Size:
    """Counts what messages hold."""

    def __init__(self) -> None:
        self.n_bytes = 0
        self.n_characters = 0
        self.n_images = 0
        self.n_audio = 0

    def add_text(self, text: str) -> None:
        self.n_characters += len(text)
        self.n_bytes += len(text) if text.isascii() else len(text.encode("utf-8", "replace"))

    def add_message(self, message: Mapping[str, Any]) -> None:
        content = message.get("content")
        if isinstance(content, str):
            self.add_text(content)
        elif isinstance(content, list):
            for part in content:
                self._add_part(part)
        if calls := message.get("tool_calls"):
            self.n_bytes += _json_length(calls)

    def _add_part(self, part: object) -> None:
        if isinstance(part, str):
            self.add_text(part)
        elif isinstance(part, Mapping):
            kind, text = part.get("type"), part.get("text")
            if isinstance(text, str):
                self.add_text(text)
            self.n_images += kind in _IMAGE_PARTS
            self.n_audio += kind in _AUDIO_PARTS


def _json_length(value: object) -> int:
    try:
        return len(json.dumps(value))
    except (TypeError, ValueError, RecursionError):
        return 0


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
